"""Frames of a WebSocket through the router: as they come, as nobody may send them, and slower than the other side."""

import threading
import time

import pytest
from harness import Router, eventually
from raw_http import Ended, Heard, Line, ScriptedProvider
from websockets.frames import Opcode
from wire_kit import PATHS, echo, frame, received, sent, sent_until_it_waits, session, switched


@pytest.fixture
def key(stage: Router) -> str:
    return stage.create_key(name="wire")[1]


def test_frames_pass_both_ways_as_they_come(stage: Router, provider: ScriptedProvider, key: str) -> None:
    provider.play(echo)
    event = b'{"type":"response.novelty","text":"gr\xc3\xbc\xc3\x9fe"}'
    with session(stage, key, first=frame(event)) as line:  # a frame that comes with the handshake
        assert received(line) == (0x81, event)
        parts = frame(event[:30], fin=False) + frame(b"here?", Opcode.PING) + frame(event[30:], Opcode.CONT)
        line.send(parts, bytewise=True)
        assert received(line) == (0x8A, b"here?")
        assert received(line) == (0x81, event)
        line.send(frame(event, Opcode.BINARY))
        assert received(line) == (0x82, event)
        line.send(frame(b"\x0f\xa1done", Opcode.CLOSE))
        assert received(line) == (0x88, b"\x0f\xa1done")
        assert line.closed()


def test_fragments_of_the_provider_go_on_at_once(stage: Router, provider: ScriptedProvider, key: str) -> None:
    def script(line: Line, heard: Heard) -> None:
        switched(line, heard)
        line.sock.sendall(frame(b'{"type":', fin=False, mask=False))
        line.exactly(2 + 4 + 4)  # the client's word that it has it
        line.sock.sendall(frame(b'"x"}', Opcode.CONT, mask=False))
        line.exactly(2)

    provider.play(script)
    with session(stage, key) as line:
        assert received(line) == (0x01, b'{"type":')
        line.send(frame(b"ping", Opcode.BINARY)[:0] + frame(b'{"a":1}'))
        first, data = received(line)
        assert (first, data) == (0x80, b'"x"}') or first == 0x81


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"{}", mask=False), 1002),
        (frame(b"\xff\xfe"), 1007),
        (b"\xc1\x80aaaa", 1002),
        (frame(b"x", Opcode.CONT), 1002),
        (b"\x81\xff" + (40 * 1024 * 1024).to_bytes(8, "big") + b"aaaa", 1009),
    ],
    ids=["unmasked", "no utf-8", "extension", "stray continuation", "oversize"],
)
def test_what_no_client_may_send_ends_the_session(
    stage: Router, provider: ScriptedProvider, key: str, data: bytes, code: int
) -> None:
    provider.play(echo)
    with session(stage, key) as line:
        line.send(data)
        first, content = received(line)
        assert (first, int.from_bytes(content[:2], "big")) == (0x88, code)
        assert line.closed()


@pytest.mark.parametrize(
    "data",
    [frame(b"{}", mask=True), frame(b"\xff", mask=False), b"\xc1\x00", b"HTTP/1.1 200 OK\r\n\r\n", b""],
    ids=["masked", "no utf-8", "extension", "http", "end"],
)
def test_a_provider_that_breaks_the_protocol_is_told_apart(
    stage: Router, provider: ScriptedProvider, key: str, data: bytes
) -> None:
    def script(line: Line, heard: Heard) -> None:
        switched(line, heard)
        line.sock.sendall(data)
        raise Ended

    provider.play(script)
    with session(stage, key) as line:
        first, content = received(line)
        assert first == 0x81
        assert b'"provider_unreachable"' in content
        first, content = received(line)
        assert (first, content) == (0x88, (1014).to_bytes(2, "big") + b"provider_unreachable")


def test_the_credential_is_in_no_message_that_goes_back(stage: Router, provider: ScriptedProvider, key: str) -> None:
    credential = stage.credentials["openai"].encode()

    def script(line: Line, heard: Heard) -> None:
        switched(line, heard)
        line.sock.sendall(frame(b'{"type":"error","error":{"message":"key %b"}}' % credential, mask=False))
        line.sock.sendall(frame(b"\x03\xf0" + credential, Opcode.CLOSE, mask=False))
        line.rest()

    provider.play(script)
    with session(stage, key) as line:
        data = line.rest()
    assert credential not in data
    assert data.count(b"[provider credential]") == 2


def test_a_slow_reader_slows_the_provider_down(stage: Router, provider: ScriptedProvider, key: str) -> None:
    """Who does not read holds back whoever writes; what is on its way is a few buffers of the kernel's."""
    event = frame(b'{"type":"response.novelty","text":"%b"}' % (b"x" * 100_000), mask=False)
    told: list[int] = []

    def script(line: Line, heard: Heard) -> None:
        switched(line, heard)
        told.append(sent_until_it_waits(line, event))
        raise Ended

    provider.play(script)
    with session(stage, key) as line:
        eventually(lambda: bool(told), 20, "the provider's wait")
        assert 0 < told[0] < 500
        assert len(line.rest()) >= told[0] * len(event)


def test_nothing_is_lost_of_what_waits_for_a_slow_provider(stage: Router, provider: ScriptedProvider, key: str) -> None:
    told: list[int] = []

    def script(line: Line, heard: Heard) -> None:
        switched(line, heard)
        time.sleep(1.5)  # the case in question needs bytes that wait in the kernel; without them this passes as well
        told.extend(len(sent(line)[1]) for _ in range(100))
        line.sock.sendall(frame(b'{"type":"done"}', mask=False))

    provider.play(script)
    event = b'{"type":"input_audio_buffer.append","audio":"%b"}' % (b"A" * 200_000)
    with session(stage, key, PATHS[1]) as line:
        line.send(frame(event) * 100)
        assert received(line) == (0x81, b'{"type":"done"}')
    assert told == [len(event)] * 100


def test_a_slow_provider_slows_the_client_down(stage: Router, provider: ScriptedProvider) -> None:
    _, key = stage.create_key(name="writer")
    over = threading.Event()

    def script(line: Line, heard: Heard) -> None:
        switched(line, heard)
        over.wait(30)
        raise Ended

    provider.play(script)
    with session(stage, key, PATHS[1]) as line:
        event = frame(b'{"type":"input_audio_buffer.append","audio":"%b"}' % (b"A" * 100_000))
        count = sent_until_it_waits(line, event)
        over.set()
    assert 0 < count < 500
