"""Stands in for `python`: asks the warm process for a fork that runs the command, and is that command to its parent.

It has the command's exit status, passes signals on to it, and takes it along when it is killed. What the warm process
cannot do (options of Python, other variables than it was imported with, no warm process there) is started for real.

A script of a few milliseconds: standard library only. It is copied beside the socket of the warm process, under a first
line that names the real Python with the options -I and -S.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
    signal.SIGALRM,
)


def main():
    words = sys.argv[1:]
    while words[:1] == ["-B"]:  # given by multiprocessing where PYTHONDONTWRITEBYTECODE is set; then it holds there too
        words.pop(0)
    if not words or (words[0].startswith("-") and words[0] not in ("-c", "-m")):
        start_for_real()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until there is somebody to pass them on to
    numbers = open_files()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    alive, _kept_open = os.pipe()
    try:
        connection.connect(str(Path(sys.argv[0]).with_name("socket")))
        job = {"words": words, "environment": dict(os.environ), "folder": str(Path.cwd()), "numbers": numbers}
        data = json.dumps(job).encode()
        socket.send_fds(connection, [len(data).to_bytes(8, "big")], [alive, *numbers])
        connection.sendall(data)
        answers = connection.makefile("rb")
        child = int(answers.readline())
    except (OSError, ValueError):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        start_for_real()
    for number in PASSED_ON:
        signal.signal(number, lambda number, frame: pass_on(child, number))
    os.close(alive)
    for number in numbers:  # the reader of a pipe must see when the command has closed it
        os.close(number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    end_as(int(answers.readline() or -signal.SIGKILL))


def open_files():
    """The numbers of the files that this process has inherited."""
    found = []
    for number in sorted(int(path.name) for path in Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # the one that listed
            os.fstat(number)
            found.append(number)
    return found


def pass_on(child, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def end_as(code):
    if code < 0:
        with contextlib.suppress(OSError):  # of SIGKILL it is always the default
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def start_for_real():
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])


main()
