//! lxc-unshare.

use lxc_testkit::net::{HostDevices, sh};
use lxc_testkit::{Output, Suite, needs};

fn unshare(suite: &Suite, arguments: &[&str]) -> Output {
    suite.run("lxc-unshare", arguments)
}

#[test]
fn what_it_makes_is_the_peers() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let say = |arguments: &[&str]| {
            let output = unshare(suite, arguments);
            (output.code, output.stdout)
        };
        vec![
            say(&["-s", "USER", "id"]),
            say(&["-s", "USER", "-u", "1000", "--", "id", "-u"]),
            say(&["-s", "USER|UTSNAME", "-u", "0", "-H", "inside", "hostname"]),
            say(&["-s", "UTSNAME", "--", "sh", "-c", "hostname elsewhere; hostname"]),
            say(&["-s", "NETWORK", "--", "cat", "/proc/net/dev"]),
            say(&["-s", "PID", "--", "sh", "-c", "echo $$"]),
            say(&["-s", "IPC", "--", "cat", "/proc/sysvipc/shm"]),
            say(&["-s", "UTSNAME", "false"]),
            say(&["-s", "UTSNAME", "--", "sh", "-c", "exit 7"]),
            say(&["-s", "UTSNAME", "/nonexistent"]),
            say(&["-d", "-s", "UTSNAME", "true"]),
        ]
    });
}

#[test]
fn what_it_refuses_is_the_peers() {
    needs!(root, ours);
    Suite::compare(|suite| {
        let say = |arguments: &[&str]| {
            let output = unshare(suite, arguments);
            (output.code, output.stdout.clone(), output.messages())
        };
        vec![
            say(&[]),
            say(&["-s", "UTSNAME"]),
            say(&["true"]),
            say(&["-s", "BOGUS", "true"]),
            say(&["-s", "UTSNAME", "-u", "nosuchuser", "true"]),
            say(&["-s", "PID", "-H", "x", "true"]),
            say(&["-s", "PID", "-M", "true"]),
            say(&["-s", "PID", "-i", "lo", "true"]),
        ]
    });
}

/// The host's processes and shared memory are not there. (The peer's option leaves /proc empty.)
#[test]
fn the_usual_file_systems_anew() {
    needs!(root, ours);
    let look = "cd /proc; echo [0-9]*; ls /dev/shm | wc -l; echo $$";
    let output = unshare(&Suite::ours(), &["-s", "MOUNT|PID|IPC", "-M", "--", "sh", "-c", look]);
    // The shell alone.
    assert_eq!(output.ok(), "1\n0\n1\n");
    assert!(sh("cd /proc; echo [0-9]*").split_whitespace().count() > 3, "the host's own is as it was");
}

#[test]
fn an_interface_goes_there() {
    needs!(root, ours, program "ip");
    Suite::compare(|suite| {
        let device = HostDevices::pair(&format!("u{}", &suite.to_string()[..1]));
        // The peer moves it when the command has begun.
        let look = format!(
            "n=0; until grep {0} /proc/net/dev || [ $n = 200 ]; do n=$((n+1)); sleep 0.05; done",
            device.name()
        );
        let output = unshare(suite, &["-s", "NETWORK", "-i", device.name(), "--", "sh", "-c", &look]);
        (output.code, output.stdout.contains(device.name()))
    });
}

#[test]
fn the_status_is_passed_on_when_asked_for() {
    needs!(root, ours);
    let suite = Suite::ours();
    for (script, status) in [("exit 7", 7), ("kill -9 $$", 137), ("true", 0)] {
        unshare(&suite, &["--exit-status", "-s", "UTSNAME", "--", "sh", "-c", script]).exits(status);
    }
    let output = unshare(&suite, &["-s", "NETWORK", "-i", "nodev0", "--", "touch", "/nonexistent/x"]);
    assert!(output.code == 1 && output.stderr.contains("nodev0"), "{output}");
}

/// A user namespace is for everybody; without one, nothing is.
#[test]
fn of_an_ordinary_user() {
    needs!(root, ours, userns, ordinary_user);
    let script = "call() { lxc-unshare \"$@\"; echo \"= $?\"; }; exec 2>/dev/null
         call -s USER -- id -u; call -s 'USER|UTSNAME' -H inside -- hostname
         call -s 'USER|NETWORK' -- cat /proc/net/dev; call -s 'USER|PID' -- sh -c 'echo $$'
         call -s UTSNAME -- echo WENT; call -s NETWORK -- echo WENT";
    Suite::compare(|suite| {
        let text = lxc_testkit::OrdinaryUser::new().sh(suite, script).exits(0).stdout;
        let lines: Vec<&str> = text.lines().filter(|l| !l.contains('|')).collect();
        assert!(lines[4].trim_start().starts_with("lo:"), "{suite}: {text}");
        assert_eq!(lines[..4], ["65534", "= 0", "inside", "= 0"], "{suite}: {text}");
        assert_eq!(lines[5..], ["= 0", "1", "= 0", "= 1", "= 1"], "{suite}: {text}");
        text
    });
}
