"""The launcher's processes: started in groups of their own, watched, and ended without leaving one behind.

A child dies with the launcher even when that is killed outright (`PR_SET_PDEATHSIG`), and a child's own workers die
with its process group.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

from shared.config import Bind

HOME = Path(__file__).resolve().parent.parent
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_TICK_SECONDS = 0.1
_NAME, _PAGE_BYTES = b"Enterprise Router", 65536
_RESTARTS_ALLOWED, _RESTART_WINDOW_SECONDS = 3, 60.0
_PROBE_EVERY_SECONDS, _PROBE_SECONDS, _SILENT_PROBES = 5.0, 1.0, 4


class CouldNotStart(Exception):
    """The router cannot run as it is told to; the text says why."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process to run: Python with `arguments`, ready when `ready_url` answers.

    One that is `probed` is asked again and again, and started anew when it is silent for long: for what does not watch
    over itself, and has nothing under way that such an end would cost.
    """

    name: str
    arguments: list[str]
    ready_url: str
    environ: Mapping[str, str] = field(default_factory=dict)
    probed: bool = False


def is_free(bind: Bind) -> str | None:
    """None when nobody listens there and we may; else the reason in the system's words."""
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind.host, bind.port))
        except OSError as error:
            return (error.strerror or str(error)).lower()
    return None


def is_router(bind: Bind) -> bool:
    """Whether what answers there looks like a dashboard or a proxy of ours: the one at /login, the other at /."""
    for path in ("/login", "/"):
        try:
            answer = requests.get(f"{bind.url}{path}", timeout=2, allow_redirects=False, stream=True)
            with answer:
                if answer.status_code == 200 and _NAME in answer.raw.read(_PAGE_BYTES, decode_content=True):
                    return True
        except (requests.RequestException, HTTPError):
            return False
    return False


def free_port_from(bind: Bind, *, but: Collection[int] = ()) -> Bind:
    """The first free port from this one on, none of `but`. Raises CouldNotStart after a hundred."""
    for port in range(bind.port, bind.port + 100):
        candidate = Bind(bind.host, port)
        if port not in but and is_free(candidate) is None:
            return candidate
    raise CouldNotStart(f"No port from {bind.port} to {bind.port + 99} is free for the sandbox provider.")


class Children:
    """The running processes, in the order in which they were started."""

    def __init__(self, children: Iterable[Child], *, stop_signals: Iterable[int]) -> None:
        self._wanted = list(children)
        self._signals = list(stop_signals)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ends: dict[str, list[float]] = {}
        self._silent: dict[str, int] = {}  # probes without an answer, in a row
        self._probe_at = time.monotonic() + _PROBE_EVERY_SECONDS
        self.stopping = False

    def start(self, timeout_seconds: float) -> None:
        """Start each child once the one before it answers. Raises CouldNotStart when one ends or stays silent."""
        for child in self._wanted:
            self._spawn(child)
            self._until_ready(child, timeout_seconds)
            if self.stopping:
                return

    def watch(self) -> int:
        """Wait for a signal to stop (0), or for a child that will not stay up (1)."""
        while not self.stopping:
            for child in self._wanted:
                if self._running[child.name].poll() is not None and not self._revive(child):
                    return 1
            if time.monotonic() >= self._probe_at:
                self._probe()
            self._pause()
        return 0

    def stop(self, timeout_seconds: float) -> None:
        """End every child, the last one first; at the deadline or at a second signal their groups are killed."""
        self.stopping = False
        deadline = time.monotonic() + timeout_seconds
        for process in reversed(self._running.values()):
            _signal_group(process, signal.SIGTERM, leader_only=True)
            while process.poll() is None and time.monotonic() < deadline and not self.stopping:
                self._pause()
            _signal_group(process, signal.SIGKILL)
            process.wait()
        self._running.clear()

    def _spawn(self, child: Child) -> None:
        self._running[child.name] = subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, *child.arguments],
            cwd=HOME,
            env=dict(child.environ),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
            preexec_fn=_tie_to_parent,  # noqa: PLW1509 - the launcher has no other threads
        )

    def _until_ready(self, child: Child, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not self.stopping:
            status = self._running[child.name].poll()
            if status is not None:
                raise CouldNotStart(f"The {child.name} did not start: it ended with status {status}.")
            if _answers(child, 2.0):
                return
            if time.monotonic() > deadline:
                raise CouldNotStart(f"The {child.name} did not answer within {timeout_seconds:.0f} seconds.")
            self._pause()

    def _probe(self) -> None:
        """Ask who is to be asked; who has been silent for long is killed, and so revived."""
        for child in self._wanted:
            if not child.probed:
                continue
            silent = 0 if _answers(child, _PROBE_SECONDS) else self._silent.get(child.name, 0) + 1
            if silent >= _SILENT_PROBES:
                sys.stderr.write(f"The {child.name} does not answer any more.\n")
                _signal_group(self._running[child.name], signal.SIGKILL)
                self._running[child.name].wait()
                silent = 0
            self._silent[child.name] = silent
        self._probe_at = time.monotonic() + _PROBE_EVERY_SECONDS

    def _revive(self, child: Child) -> bool:
        status = self._running[child.name].returncode
        _signal_group(self._running[child.name], signal.SIGKILL)
        now = time.monotonic()
        ends = [at for at in self._ends.get(child.name, []) if now - at < _RESTART_WINDOW_SECONDS]
        self._ends[child.name] = [*ends, now]
        if len(ends) >= _RESTARTS_ALLOWED:
            sys.stderr.write(f"The {child.name} ended with status {status}, again; everything stops.\n")
            return False
        sys.stderr.write(f"The {child.name} ended with status {status}; it is started again.\n")
        self._spawn(child)
        return True

    def _pause(self) -> None:
        """Sleep for a moment, or until one of the stop signals, which are blocked, arrives."""
        if signal.sigtimedwait(self._signals, _TICK_SECONDS) is not None:
            self.stopping = True


def _answers(child: Child, timeout_seconds: float) -> bool:
    try:
        return requests.get(child.ready_url, timeout=timeout_seconds, allow_redirects=False).status_code == 200
    except requests.RequestException:
        return False


def _signal_group(process: subprocess.Popen[bytes], number: int, *, leader_only: bool = False) -> None:
    try:
        if leader_only:
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left in the group


def _tie_to_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
