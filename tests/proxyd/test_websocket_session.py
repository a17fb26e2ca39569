"""What a session does when nothing is said, when its worker leaves, and when nobody is there any more."""

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event

from proxyd.bodies.memory import BodyMemory
from proxyd.gateway.rejection import Rejection
from proxyd.websocket.conversation import Ends, Verdict
from proxyd.websocket.link import DEAD_SECONDS, PING_SECONDS
from proxyd.websocket.session import IDLE_SECONDS, Session
from proxyd.websocket.watch import SessionWatch
from proxyd.wire.websocket import Piece, WebSocket
from shared.catalog import PROVIDERS
from shared.policy import Deny


class End:
    """One end of a connection: what the session reads is put in, what it writes is read as frames."""

    def __init__(self, *, server: bool) -> None:
        self.peer = WebSocket(server=server, max_message_bytes=10**6)
        self.draining = False
        self.open = True
        self._data = b""
        self._news = Event()
        self.heard: list[bytes] = []
        self.pings = 0

    def recv(self, size: int) -> bytes:
        while not self._data and self.open:
            self._news.clear()
            self._news.wait()
        data, self._data = self._data[:size], self._data[size:]
        return data

    def send_all(self, data: bytes, stall_seconds: float) -> None:
        self.pings += data[:1] == b"\x89"
        self.heard += [piece.data for piece in self.peer.receive(data)]
        self.put(self.peer.take())

    def put(self, data: bytes) -> None:
        self._data += data
        self._news.set()

    def say(self, text: bytes) -> None:
        self.peer.send(Piece(text, True, True, True))
        self.put(self.peer.take())

    def take_buffer(self) -> bytes:
        return b""

    def close(self) -> None:
        self.open = False
        self._news.set()


class Plain:
    """A conversation in which everything passes; `running` is what a test says."""

    def __init__(self) -> None:
        self.running = 0
        self.ended: list[str] = []
        self.told: list[Deny] = []

    def from_client(self, data: bytes) -> Verdict:
        return Verdict(forward=data)

    def from_server(self, data: bytes) -> Ends | None:
        return None

    def error(self, rejection: Rejection) -> bytes:
        self.told.append(rejection.deny)
        return rejection.deny.reason.value.encode()

    def end(self, outcome: str) -> None:
        self.ended.append(outcome)


class Stage:
    """A session between two ends."""

    def __init__(self) -> None:
        self.client, self.provider = End(server=False), End(server=True)
        self.conversation = Plain()
        self.rows: list[str] = []
        context: Any = SimpleNamespace(target=SimpleNamespace(provider=PROVIDERS["openai"]))
        attempt: Any = SimpleNamespace(
            admission=SimpleNamespace(secrets=(b"sk-real",)), context=context, end=self.rows.append
        )
        turns: Any = SimpleNamespace(session=SimpleNamespace(key=None, digest="d", client_ip=None))
        upstream: Any = self.provider
        memory, watch = BodyMemory(), SessionWatch()
        self.session = Session(upstream, b"", attempt, turns, self.conversation, memory, watch)
        client: Any = self.client
        self.greenlet = gevent.spawn(self.session.run, client)
        gevent.sleep(0)

    def tick(self, seconds: float) -> None:
        """So much later."""
        self.session.tick(self.session._active_at + seconds)
        gevent.sleep(0)

    def over(self) -> tuple[tuple[int, str] | None, tuple[int, str] | None]:
        """Why each end was closed."""
        self.greenlet.get(timeout=5)
        assert self.conversation.ended
        return self.client.peer.closed_by_peer, self.provider.peer.closed_by_peer


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_it_works(stage: Stage) -> None:
    stage.client.say(b"there")
    stage.provider.say(b"and back")
    gevent.sleep(0.05)
    assert (stage.provider.heard, stage.client.heard) == ([b"there"], [b"and back"])
    stage.client.peer.close(1000, "done")
    stage.client.put(stage.client.peer.take())
    _, theirs = stage.over()
    assert theirs is not None
    assert (theirs[0], stage.rows, stage.conversation.ended, stage.provider.open) == (
        1000,
        ["ok"],
        ["client_gone"],
        False,
    )


def test_a_silence_is_asked_about_once_and_then_ends_the_session(stage: Stage) -> None:
    stage.tick(PING_SECONDS - 1)
    assert (stage.client.pings, stage.provider.pings) == (0, 0)
    stage.tick(PING_SECONDS + 1)
    stage.tick(PING_SECONDS + 2)
    assert (stage.client.pings, stage.provider.pings) == (1, 1)
    stage.session._client.heard_at -= DEAD_SECONDS + 1  # no answer has come
    stage.tick(0)
    ours, theirs = stage.over()
    assert (ours, theirs) == ((1001, "nothing was heard of the client"), (1001, ""))
    assert (stage.rows, stage.conversation.ended) == (["client_gone"], ["client_gone"])


def test_a_provider_that_falls_silent_has_broken_off(stage: Stage) -> None:
    stage.session._provider.heard_at -= DEAD_SECONDS + 1
    stage.tick(0)
    assert stage.over()[0] == (1014, "provider_unreachable")
    assert (stage.client.heard, stage.conversation.ended) == ([b"provider_unreachable"], ["upstream_truncated"])
    (deny,) = stage.conversation.told
    assert (deny.facts["provider"], "OpenAI" in deny.sentence()) == ("openai", True), "as over HTTP"


def test_who_says_nothing_for_long_is_sent_away(stage: Stage) -> None:
    for link in (stage.session._client, stage.session._provider):
        link.heard_at += IDLE_SECONDS  # their pongs have come
    stage.tick(IDLE_SECONDS - 1)
    assert not stage.greenlet.ready()
    stage.tick(IDLE_SECONDS + 1)
    assert stage.over()[0] == (1001, "no message for fifteen minutes")


def test_a_worker_that_leaves_ends_its_sessions_when_no_turn_runs(stage: Stage) -> None:
    stage.client.draining, stage.conversation.running = True, 1
    stage.tick(0)
    gevent.sleep(0.05)
    assert not stage.greenlet.ready()
    stage.conversation.running = 0
    stage.tick(0)
    ours, _ = stage.over()
    assert ours is not None
    assert ours[0] == 1012


def test_a_client_that_is_gone_without_a_word_ends_it(stage: Stage) -> None:
    stage.client.close()
    assert stage.over()[1] == (1001, "")
    assert stage.rows == ["client_gone"]


def test_a_fault_of_ours_ends_the_session_and_is_said(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.conversation.from_client = lambda data: 1 // 0  # type: ignore[assignment, return-value, method-assign]
    stage.client.say(b"boom")
    assert stage.over()[0] == (1011, "internal_error")
    assert stage.client.heard == [b"internal_error"]
    assert "a session failed" in caplog.text


def test_a_101_that_cannot_be_written_leaves_nothing_open() -> None:
    stage = Stage()
    stage.session.abandon()
    assert (stage.conversation.ended, stage.rows, stage.provider.open) == (["client_gone"], ["client_gone"], False)
    stage.greenlet.kill()


def _part(stage: Stage, data: bytes, *, first: bool = False, final: bool = False) -> None:
    """The provider sends a frame of a message."""
    stage.provider.peer.send(Piece(data, True, first, final))
    stage.provider.put(stage.provider.peer.take())
    gevent.sleep(0.01)


def test_our_own_words_wait_for_the_end_of_a_message(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is refused something while a message comes to it in frames keeps its session, and is told."""
    monkeypatch.setattr(stage.conversation, "from_client", lambda data: Verdict(answer=b"refused"))
    _part(stage, b"one", first=True)
    stage.client.say(b"something else")
    gevent.sleep(0.01)
    _part(stage, b"two")
    assert stage.client.heard == [b"one", b"two"]
    _part(stage, b"three", final=True)
    assert stage.client.heard == [b"one", b"two", b"three", b"refused"]
    assert not stage.conversation.ended
    stage.client.close()
    stage.over()


def test_a_session_that_ends_within_a_message_says_so_by_its_code(stage: Stage) -> None:
    _part(stage, b"one", first=True)
    stage.provider.close()
    ours, _ = stage.over()
    assert ours == (1014, "provider_unreachable")
    assert stage.client.heard == [b"one"]


def test_the_credential_is_in_no_frame(stage: Stage) -> None:
    _part(stage, b"it was sk-real, ", first=True)
    _part(stage, b"yes, sk-real", final=True)
    assert stage.client.heard == [b"it was [provider credential], ", b"yes, [provider credential]"]
    stage.client.close()
    stage.over()


def test_a_session_ends_with_its_credential(stage: Stage) -> None:
    """At once, as with its key; whoever connects again is given another one."""
    stage.conversation.running = 1
    stage.session.lose_credential()
    client, provider = stage.over()
    assert client is not None
    assert client[0] == 1012
    assert client[1].endswith("connect again")
    assert provider is not None
    assert provider[0] == 1001
