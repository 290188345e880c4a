//! What holds for any client of the command socket: it is answered, refused or closed, and never waited for.

use std::os::fd::{AsFd, OwnedFd};

use lxc_core::monitor::server::{Connection, Reply, Step};
use lxc_core::protocol::wire::{
    CgroupFd, Command, ConsoleLogRequest, DeviceRequest, decode_states, decode_string,
};
use lxc_sys::socket;
use rustix::net::{RecvFlags, SocketType};

/// Panics if it does not hold for what a client sends: the first byte says in pieces of which length.
pub fn holds(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let (client, server) = socket::pair(SocketType::STREAM).expect("a pair of sockets");
    rustix::net::sockopt::set_socket_passcred(&server, true).expect("credentials");
    let mut connection = Connection::new(server);
    for piece in bytes.chunks(usize::from(piece).max(1)) {
        // With a descriptor, which only one command takes.
        if socket::send(client.as_fd(), piece, &[client.as_fd()], true).is_err()
            || step(&mut connection, &client)
        {
            return;
        }
    }
    drop(client);
    for _ in 0..8 {
        if matches!(connection.readable(), Step::Close) {
            return;
        }
    }
}

/// One look at the connection. True: it is to be closed.
fn step(connection: &mut Connection, client: &OwnedFd) -> bool {
    let next = match connection.readable() {
        Step::Answer(request) => {
            let payload = request.payload;
            assert!(payload.len() <= 64 * 1024, "{}", payload.len());
            let _ =
                (Command::from_number(request.command), decode_states(&payload), CgroupFd::decode(&payload));
            let _ = (ConsoleLogRequest::decode(&payload), DeviceRequest::decode(&payload));
            let text = decode_string(&payload).map(str::to_string);
            let reply = match request.command % 3 {
                0 => Reply::payload(text.map(String::into_bytes).unwrap_or(payload)),
                1 => Reply::fd(Some(client.as_fd())),
                _ => Reply::value(request.data),
            };
            connection.answer(reply)
        }
        other => other,
    };
    let _ = socket::receive(client.as_fd(), &mut [0; 4096], RecvFlags::DONTWAIT);
    matches!(next, Step::Close | Step::Deny)
}
