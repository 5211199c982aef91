"""terminal.py QUESTION ANSWER PROGRAM [ARGS...]: runs a program on a terminal of its own, waits for the question and until
nothing typed would be shown, and types the answer (^C is Ctrl-C). Prints what the terminal showed; the last line is the
wait status and whether the terminal shows what is typed again."""
import os, pty, signal, sys, termios, time

question, answer, argv = sys.argv[1], sys.argv[2], sys.argv[3:]
signal.alarm(60)
# The slave's end stays open here, too: without any, the terminal could not be looked at afterwards.
terminal, slave = pty.openpty()
pid = os.fork()
if pid == 0:
    os.close(terminal)
    os.login_tty(slave)
    # Whoever runs in the background of a shell without jobs has these ignored; who sits at a terminal has not.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(argv[0], argv)


def echoes():
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


shown = b""
while question.encode() not in shown:
    shown += os.read(terminal, 1024)
while echoes():
    time.sleep(0.01)
os.write(terminal, b"\x03" if answer == "^C" else answer.encode() + b"\r")
_, status = os.waitpid(pid, 0)
after = echoes()
os.set_blocking(terminal, False)
try:
    while piece := os.read(terminal, 1024):
        shown += piece
except BlockingIOError:
    pass
sys.stdout.write(shown.decode().replace("\r\n", "\n"))
print(os.waitstatus_to_exitcode(status), "shown again" if after else "still hidden")
