"""Large bodies are parsed in a process of their own, with the same result as here, and nobody else waits for it."""

import json
import os
import resource
import socket as native
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from process_kit import descriptors
from socket_kit import until

from proxyd.bodies.parser import BodyParser, ParserBusy
from proxyd.bodies.parser_process import answer
from proxyd.providers import DIALECTS, BadBody, Parsed
from shared.catalog import PROVIDERS, Endpoint, Kind


def endpoint(slug: str, kind: Kind) -> Endpoint:
    return next(each for each in PROVIDERS[slug].endpoints if each.kind is kind)


CHAT, MESSAGES, GENERATE = (
    endpoint("openai", Kind.CHAT), endpoint("anthropic", Kind.MESSAGES), endpoint("gemini", Kind.GENERATE)
)  # fmt: skip
SMALL = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'


@pytest.fixture
def parser() -> Iterator[BodyParser]:
    parser = BodyParser()
    yield parser
    parser.close()


def text_of(size: int) -> bytes:
    return b'{"model":"openai/gpt-4o","stream":true,"messages":[{"role":"user","content":"' + b"x" * size + b'"}]}'


def test_it_works(parser: BodyParser) -> None:
    body = text_of(20_000_000)
    parsed = parser.parse("key_1", (CHAT, None, ""), body)
    here = DIALECTS["openai"].read(CHAT, body, None, "")
    assert parsed.size == here.size
    assert parsed.raw is body
    assert parsed.document == {"model": "openai/gpt-4o"}
    changed = DIALECTS["openai"].rewrite(parsed, model="gpt-4o", output_limit=100)
    assert changed == b'{"max_completion_tokens":100,"stream_options":{"include_usage":true},' + body[1:].replace(
        b"openai/gpt-4o", b"gpt-4o"
    )
    pid = parser.pid
    assert parser.parse("key_1", (CHAT, None, ""), SMALL).model == "gpt-4o"
    assert parser.pid == pid != 0


def test_what_is_wrong_with_a_body_is_told_in_the_same_words(parser: BodyParser) -> None:
    for body in (
        b"[]",
        b'{"model":5}',
        b'{"model":"a","model":"b"}',
        b"{",
        b'{"messages":[' + b"[]," * 2_000_000 + b"1]}",
    ):
        with pytest.raises(BadBody) as away:
            parser.parse("key_1", (CHAT, None, ""), body)
        with pytest.raises(BadBody) as here:
            DIALECTS["openai"].read(CHAT, body, None, "")
        assert (away.value.message, away.value.param) == (here.value.message, here.value.param)


@settings(max_examples=200, deadline=None)
@given(
    st.binary()
    | st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([CHAT, MESSAGES, GENERATE]),
)
def test_whatever_comes_is_answered(body: bytes, endpoint: Endpoint) -> None:
    assert isinstance(answer((endpoint, "gemini-2.5-flash", ""), body), Parsed | BadBody)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["a", "ü", '"q"', "x\\", "max_completion_tokens"]),
        st.none(),
        max_size=4,
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.sampled_from([None, "other"]),
    st.sampled_from([None, 7]),
)
def test_a_large_body_is_changed_as_a_small_one_is(
    fields: dict[str, object], indent: int | None, escaped: bool, model: str | None, limit: int | None
) -> None:
    document = {
        **fields,
        "model": "gpt-4o",
        "messages": [{"a": "}{"}],
        "stream": bool(fields),
        "stream_options": {"x": [1, "}"]},
    }
    body = json.dumps(document, indent=indent, ensure_ascii=escaped).encode()
    large = answer((CHAT, None, ""), body)
    assert isinstance(large, Parsed)
    large.raw = body
    dialect = DIALECTS["openai"]
    small = dialect.read(CHAT, body, None, "")
    changed = dialect.rewrite(large, model=model, output_limit=limit)
    assert orjson.loads(changed) == orjson.loads(dialect.rewrite(small, model=model, output_limit=limit))


def test_a_field_to_be_changed_must_not_be_huge() -> None:
    options = json.dumps({"x": "y" * 300_000}).encode()
    told = answer((CHAT, None, ""), b'{"model":"gpt-4o","messages":[],"stream_options":' + options + b"}")
    assert isinstance(told, BadBody)
    assert told.param == "stream_options"


def test_the_event_loop_goes_on_meanwhile(parser: BodyParser) -> None:
    body = b'{"model":"gpt-4o","messages":[],"x":[' + b"[1,2]," * 450_000 + b"1]}"
    longest = [0.0]

    def look() -> None:
        last = time.monotonic()
        while True:
            gevent.sleep(0.001)
            now = time.monotonic()
            longest[0] = max(longest[0], now - last)
            last = now

    parser.parse("key_1", (CHAT, None, ""), SMALL)
    watch = gevent.spawn(look)
    began = time.monotonic()
    parser.parse("key_1", (CHAT, None, ""), body)
    took = time.monotonic() - began
    watch.kill()
    assert longest[0] < took / 2


def test_a_key_with_many_waits_for_itself(parser: BodyParser) -> None:
    ended: list[str] = []

    def one(key_id: str, body: bytes) -> None:
        parser.parse(key_id, (CHAT, None, ""), body)
        ended.append(key_id)

    many = [gevent.spawn(one, "many", text_of(3_000_000)) for _ in range(6)]
    gevent.sleep(0)
    other = gevent.spawn(one, "other", SMALL)
    gevent.joinall([*many, other], raise_error=True)
    assert ended.index("other") <= 2


def test_one_that_hangs_is_killed_and_the_next_body_gets_another() -> None:
    parser = BodyParser((sys.executable, "-c", "import time; time.sleep(60)"), seconds=0.5)
    with pytest.raises(BadBody, match="longer"):
        parser.parse("key_1", (CHAT, None, ""), text_of(1_000_000))
    assert parser.pid == 0


def test_one_that_ends_is_told_and_the_next_body_gets_another(parser: BodyParser) -> None:
    parser.parse("key_1", (CHAT, None, ""), SMALL)
    pid = parser.pid
    os.kill(pid, 9)
    with pytest.raises(ParserBusy):
        parser.parse("key_1", (CHAT, None, ""), SMALL)
    assert parser.parse("key_1", (CHAT, None, ""), SMALL).model == "gpt-4o"
    assert parser.pid not in (0, pid)


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 4])
def test_without_descriptors_it_says_so_and_keeps_none(parser: BodyParser, spare: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    before = descriptors(os.getpid())
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + spare, hard))
    try:
        with pytest.raises(ParserBusy):
            parser.parse("key_1", (CHAT, None, ""), SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert descriptors(os.getpid()) == before
    assert parser.parse("key_1", (CHAT, None, ""), SMALL).model == "gpt-4o"


def test_it_waits_for_a_bounded_time() -> None:
    parser = BodyParser((sys.executable, "-c", "import time; time.sleep(60)"), seconds=0.3)
    first = gevent.spawn(parser.parse, "key_1", (CHAT, None, ""), text_of(1_000_000))
    gevent.sleep(0.1)
    with gevent.Timeout(5), pytest.raises((ParserBusy, BadBody)):
        parser.parse("key_2", (CHAT, None, ""), SMALL)
    first.join()
    parser.close()


def test_one_without_work_goes() -> None:
    parser = BodyParser(idle_seconds=0.2)
    parser.parse("key_1", (CHAT, None, ""), SMALL)
    assert parser.pid
    until(lambda: parser.pid == 0)


def test_it_inherits_neither_sockets_nor_settings(parser: BodyParser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "not for you")
    ours = native.socketpair()
    parser.parse("key_1", (CHAT, None, ""), SMALL)
    process = Path(f"/proc/{parser.pid}")
    assert b"PATH" in (process / "environ").read_bytes()
    assert b"SECRET_KEY" not in (process / "environ").read_bytes()
    theirs = {str(path.readlink()) for path in (process / "fd").iterdir()}
    assert theirs.isdisjoint(f"socket:[{os.fstat(end.fileno()).st_ino}]" for end in ours)
    for end in ours:
        end.close()
