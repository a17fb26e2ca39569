"""Large bodies are parsed in a process of their own, one at a time per worker; here is the worker's end of it.

The law of this module: whoever waits, waits for a bounded time. A process that does not answer in time is killed and
the next body gets a new one; one that had nothing to do for a while is ended, so that its memory goes back.
"""

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gevent
from gevent import get_hub
from gevent.lock import BoundedSemaphore
from gevent.monkey import get_original
from gevent.os import make_nonblocking, nb_read, nb_write

from proxyd.bodies.parser_process import LENGTH, LENGTHS, Of, Question, Spans, Translating
from proxyd.providers import BadBody, Parsed
from proxyd.providers.body import Checking
from proxyd.providers.later_answers import Reading

COMMAND = (sys.executable, "-m", "proxyd.bodies.parser_process")
PARSE_SECONDS = 20.0  # for one body, when all cores have other things to do
IDLE_SECONDS = 30.0
PIPE_BYTES = 256 * 1024
# What a Python needs of its environment. Settings and their secrets are none of its business.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")

_waitpid: Callable[[int, int], tuple[int, int]] = get_original("os", "waitpid")
_close: Callable[[int], None] = get_original("os", "close")


class ParserBusy(Exception):
    """Nobody could look at the body in time."""


class _Process:
    """One parser process and the two pipes to it."""

    def __init__(self, command: Sequence[str]) -> None:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        opened: list[int] = []
        try:
            opened += os.pipe()
            opened += os.pipe()
            theirs_in, self._input, self._output, theirs_out = opened
            # Not forked: it shall have neither our memory nor our locks. Pipes and sockets are not inherited.
            self.pid = os.posix_spawn(
                command[0],
                list(command),
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs_in, 0), (os.POSIX_SPAWN_DUP2, theirs_out, 1)],
            )
            self._handle = os.pidfd_open(self.pid)
        except OSError:
            for descriptor in opened:
                _close(descriptor)
            raise
        _close(theirs_in)
        _close(theirs_out)
        make_nonblocking(self._input)
        make_nonblocking(self._output)

    def ask(self, question: Of, body: bytes) -> Any:
        """Raises OSError or EOFError when it has ended."""
        told = pickle.dumps(question)
        self._write(LENGTHS.pack(len(told), len(body)) + told)
        self._write(body)
        (size,) = LENGTH.unpack(self._read(LENGTH.size))
        return pickle.loads(self._read(size))  # noqa: S301 - from our own program

    def end(self) -> None:
        """Kill it; it has nothing to lose."""
        _close(self._input)
        _close(self._output)
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            _waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # The event loop was told first that it had ended, and has taken its status.
        _close(self._handle)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[nb_write(self._input, rest[:PIPE_BYTES]) :]

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = nb_read(self._output, size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data


class BodyParser:
    """Parses large bodies for one worker. To be used in one hub."""

    def __init__(
        self, command: Sequence[str] = COMMAND, *, seconds: float = PARSE_SECONDS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._command = command
        self._seconds = seconds
        self._idle_seconds = idle_seconds
        self._turn = BoundedSemaphore(1)
        self._turns: dict[str, tuple[BoundedSemaphore, int]] = {}  # by key: its own turn, and how many want it
        self._process: _Process | None = None
        self._idle: Any = None  # the timer that ends a process without work

    @property
    def pid(self) -> int:
        """The process id of the parser; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    def parse(self, key_id: str, question: Question, body: bytes) -> Parsed:
        """What `body` asks for. Raises BadBody, and ParserBusy when its turn does not come."""
        parsed: Parsed = self._found(key_id, question, body)
        parsed.raw = body
        return parsed

    def translate(self, key_id: str, question: Translating, body: bytes) -> Parsed:
        """What is sent for `body` to a provider of another dialect. Raises as `parse` does."""
        parsed: Parsed
        parsed, parsed.raw = self._found(key_id, question, body)
        return parsed

    def model_named(self, key_id: str, body: bytes) -> str | None:
        """The one model that `body` names. Raises as `parse` does."""
        model: str | None = self._found(key_id, "model", body)
        return model

    def check(self, key_id: str, question: Checking, body: bytes) -> None:
        """Nothing, where `body` is read in one way only. Raises as `parse` does."""
        self._found(key_id, question, body)

    def look(self, key_id: str, question: Reading, body: bytes) -> Any:
        """What is read of an answer that tells of work that is billed later. Raises as `parse` does."""
        return self._found(key_id, question, body)

    def members(self, key_id: str, body: bytes) -> Spans:
        """Where the values of the members of `body`, which has been parsed before, stand. Raises as `parse` does."""
        spans: Spans = self._found(key_id, "members", body)
        return spans

    def _found(self, key_id: str, question: Of, body: bytes) -> Any:
        """A key has one body looked at at a time, so that one with many waits for itself."""
        with self._turn_of(key_id), self._taken(self._turn):
            found = self._ask(question, body)
        if isinstance(found, BadBody):
            # Not `raise found`: an error that its own traceback leads to would keep the body until the next collection.
            raise BadBody(found.message, found.param)
        return found

    def close(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.stop()
            self._idle.close()
            self._idle = None
        process, self._process = self._process, None
        if process is not None:
            process.end()

    def _ask(self, question: Of, body: bytes) -> Any:
        if self._idle is not None:
            self._idle.stop()
        answered = False
        try:
            if self._process is None:
                self._process = _Process(self._command)
            with gevent.Timeout(self._seconds, TimeoutError()):
                found = self._process.ask(question, body)
            answered = True
        except TimeoutError:
            raise BadBody("The body takes longer to be read than it may.") from None
        except (OSError, EOFError) as error:
            raise ParserBusy("the process that reads large bodies has ended") from error
        finally:
            if not answered:
                self.close()  # in the middle of a body nobody knows what it says next
        if self._idle is None:
            # By its repeat: a timer that was stopped and is started again would go on where it was.
            self._idle = get_hub().loop.timer(0.0, self._idle_seconds, ref=False)
        self._idle.again(self.close, update=True)
        return found

    @contextmanager
    def _turn_of(self, key_id: str) -> Iterator[None]:
        turn, wanted = self._turns.get(key_id) or (BoundedSemaphore(1), 0)
        self._turns[key_id] = (turn, wanted + 1)
        try:
            with self._taken(turn):
                yield
        finally:
            turn, wanted = self._turns[key_id]
            if wanted == 1:
                del self._turns[key_id]
            else:
                self._turns[key_id] = (turn, wanted - 1)

    @contextmanager
    def _taken(self, turn: BoundedSemaphore) -> Iterator[None]:
        if not turn.acquire(timeout=self._seconds):
            raise ParserBusy("too many large bodies are waiting to be read")
        try:
            yield
        finally:
            turn.release()
