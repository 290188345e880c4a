# perl inject.pl TID PATH...: has a thread of x86_64, which waits in a system call, open files for reading, as code that
# got into it would; prints what comes of each. ptrace(2), user_regs_struct of <sys/user.h>.
use strict;
my ($SEIZE, $INTERRUPT, $GETREGS, $SETREGS, $STEP, $DETACH, $WALL) = (0x4206, 0x4207, 12, 13, 9, 17, 0x40000000);
my ($R10, $RAX, $RDX, $RSI, $RDI, $ORIG_RAX, $RIP, $RSP) = (7, 10, 12, 13, 14, 15, 16, 19);
my ($tid, @paths) = (shift() + 0, @ARGV);

# The kernel writes to the caller's own value, not to a copy.
sub ptrace {
    die "ptrace $_[0]: $!\n" if syscall(101, $_[0], $tid, 0, $_[1] // 0) < 0;
}

sub registers {
    my $text = "\0" x 216;
    ptrace($GETREGS, $text);
    return unpack "Q27", $text;
}

my ($memory, @saved);
open $memory, "+<", "/proc/$tid/mem" or die "memory: $!\n";
# Until it waits in a system call: the instruction before is `syscall`.
for my $try (0 .. 99) {
    ptrace($SEIZE);
    ptrace($INTERRUPT);
    waitpid $tid, $WALL;
    @saved = registers();
    sysseek $memory, $saved[$RIP] - 2, 0;
    sysread $memory, my $instruction, 2;
    last if unpack("q", pack "Q", $saved[$ORIG_RAX]) >= 0 && $instruction eq "\x0f\x05";
    die "it waits in no system call\n" if $try == 99;
    ptrace($DETACH);
    select undef, undef, undef, 0.02;
}
# Below what the thread has on its stack.
my $place = $saved[$RSP] - 8192;

# No call is to be begun anew: -1 in orig_rax.
sub call {
    my @regs = @saved;
    @regs[$RAX, $RDI, $RSI, $RDX, $R10, $ORIG_RAX, $RIP] = (@_, ~0, $saved[$RIP] - 2);
    ptrace($SETREGS, pack "Q27", @regs);
    ptrace($STEP);
    waitpid $tid, $WALL;
    return unpack "q", pack "Q", (registers())[$RAX];
}

for my $path (@paths) {
    sysseek $memory, $place, 0;
    syswrite $memory, "$path\0" or die "memory: $!\n";
    my $fd = call(257, unpack("Q", pack "q", -100), $place, 02000000, 0);
    call(3, $fd, 0, 0, 0) if $fd >= 0;
    $! = $fd < 0 ? -$fd : 0;
    print "$path: ", $fd < 0 ? "$!" : "opened", "\n";
}
ptrace($SETREGS, pack "Q27", @saved);
ptrace($DETACH);
