"""Whether a server answers, found out before anything is started on it, and within ten seconds.

The question is asked by a process of its own (`python -m ...`), which the system's alarm clock ends: a server that
accepts and stays silent, a resolver that hangs or a firewall that swallows packets can hold a thread for ever, each in
another place of the C code below us. The process that asks also keeps clear of the driver, and so may fork and patch
afterwards as it likes.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from shared.config import SettingError
from shared.sentences import ended

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10
ATTEMPTS = 3
_HOME = Path(__file__).resolve().parent.parent


class Finding(NamedTuple):
    """What was found at a server, each in a few words without full stop; None: nothing of that kind."""

    problem: str | None = None  # keeps it from being used
    advice: str | None = None  # does not, but somebody should know


def ask(module: str, setting: str, url: str, server: str, *arguments: str) -> None:
    """Let `python -m module` ask the server at a setting's URL. Raises SettingError with one sentence; logs advice.

    `server` says what it is and where, without user and password.
    """
    # In the environment, because everybody on the machine can read command lines. Drivers want some of ours, too.
    environ = {**os.environ, setting: url}
    for _ in range(ATTEMPTS):
        # No time-out and one pipe: a plain read, without an event loop where the standard library is patched.
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", module, setting, *arguments],
            cwd=_HOME,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        # Ended from outside (an operator, the system when memory is short), it has said nothing about the server, and a
        # start must not fail for that.
        if done.returncode >= 0 or done.returncode == -signal.SIGALRM:
            break
    if done.returncode == -signal.SIGALRM:
        raise SettingError(f"{setting}: {server} does not answer within {ANSWER_SECONDS} seconds.")
    told = done.stdout.decode(errors="replace").strip()
    if done.returncode != 0:
        reason = told or f"the attempt ended with status {done.returncode}"
        raise SettingError(f"{setting}: {server} cannot be used: {ended(reason)}")
    if told:
        log.warning("%s: %s can be used, but %s.", setting, server, told)


def answer(finding_of: Callable[[str], Finding]) -> int:
    """The other side of `ask`: look once, and tell what is found on standard output.

    The first argument names the variable that holds the URL.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.alarm(ANSWER_SECONDS)
    problem, advice = finding_of(os.environ[sys.argv[1]])
    sys.stdout.write(problem or advice or "")
    return 0 if problem is None else 2
