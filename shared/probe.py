"""Whether a server answers, found out before anything is started on it, and within ten seconds.

The question is asked by a process of its own (`python -m ...`), which the system's alarm clock ends: a server that
accepts and stays silent, a resolver that hangs or a firewall that swallows packets can hold a thread for ever, each in
another place of the C code below us. The process that asks also keeps clear of the driver, and so may fork and patch
afterwards as it likes.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from shared.config import SettingError

ANSWER_SECONDS = 10
_HOME = Path(__file__).resolve().parent.parent


def ask(module: str, setting: str, url: str, server: str) -> None:
    """Let `python -m module` ask the server at a setting's URL. Raises SettingError with one sentence.

    `server` says what it is and where, without user and password.
    """
    # In the environment, because everybody on the machine can read command lines. Drivers want some of ours, too.
    environ = {**os.environ, setting: url}
    # No time-out and one pipe: so this is a plain read, without an event loop where the standard library is patched.
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", module],
        cwd=_HOME,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode == -signal.SIGALRM:
        raise SettingError(f"{setting}: {server} does not answer within {ANSWER_SECONDS} seconds.")
    if done.returncode != 0:
        reason = done.stdout.decode(errors="replace").strip() or f"the attempt ended with status {done.returncode}"
        raise SettingError(f"{setting}: {server} cannot be used: {reason}.")


def answer(setting: str, problem_of: Callable[[str], str | None]) -> int:
    """The other side of `ask`: look once; what is wrong goes to standard output, without full stop."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.alarm(ANSWER_SECONDS)
    problem = problem_of(os.environ[setting])
    if problem is None:
        return 0
    sys.stdout.write(problem)
    return 2
