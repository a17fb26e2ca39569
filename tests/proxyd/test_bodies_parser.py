"""Large bodies are parsed in a process of their own, with the same result as here, and nobody else waits for it."""

import json
import os
import resource
import socket as native
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from process_kit import descriptors
from socket_kit import until

from proxyd.bodies.parser import BodyParser, ParserBusy
from proxyd.bodies.parser_process import answer
from proxyd.providers import DIALECTS, BadBody, Parsed, for_metering
from proxyd.providers.anthropic_request import code_runs_free
from proxyd.providers.gemini_request import asks_for
from proxyd.providers.openai_tools import search_fee
from shared.catalog import PROVIDERS, Endpoint, Kind


def endpoint(slug: str, kind: Kind) -> Endpoint:
    return next(each for each in PROVIDERS[slug].endpoints if each.kind is kind)


CHAT, RESPONSES = endpoint("openai", Kind.CHAT), endpoint("openai", Kind.RESPONSES)
MESSAGES, GENERATE = endpoint("anthropic", Kind.MESSAGES), endpoint("gemini", Kind.GENERATE)
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


def test_one_that_has_work_stays() -> None:
    """However long it is since its first."""
    parser = BodyParser(idle_seconds=0.4)
    parser.parse("key_1", (CHAT, None, ""), SMALL)
    pid = parser.pid
    for _ in range(8):
        gevent.sleep(0.1)
        parser.parse("key_1", (CHAT, None, ""), SMALL)
    assert parser.pid == pid
    parser.close()


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


@pytest.mark.parametrize(
    ("asked", "document"),
    [
        (RESPONSES, {"input": "x" * 2_000_000, "tools": [{"type": "web_search_preview"}], "background": True}),
        (RESPONSES, {"input": [{"role": "user", "content": "\u00e9"}] * 9_000, "instructions": '"\\', "store": False}),
        (MESSAGES, {"max_tokens": 5, "messages": [], "system": "x" * 1_100_000, "tools": [{"name": "f"}], "top_k": 1}),
        (GENERATE, {"contents": [{"parts": [{"text": "x" * 1_100_000}]}], "tools": [{"googleSearch": {}}]}),
    ],
)
def test_a_provider_is_asked_to_count_the_same_of_a_large_body(
    parser: BodyParser, asked: Endpoint, document: dict[str, object]
) -> None:
    body = json.dumps({"model": "m", **document}).encode()
    dialect = DIALECTS[asked.dialect]
    here = dialect.count_request(asked, dialect.read(asked, body, "m", ""), "/v1/x", "other")
    parsed = parser.parse("key_1", (asked, "m", ""), body)
    parsed.spans = parser.members("key_1", body)
    away = dialect.count_request(asked, parsed, "/v1/x", "other")
    assert here is not None
    assert away is not None
    assert here[0] == away[0]
    assert orjson.loads(b"".join(here[1])) == orjson.loads(b"".join(away[1]))
    assert dialect.rewrite(parsed, model="other", output_limit=9) == dialect.rewrite(
        dialect.read(asked, body, "m", ""), model="other", output_limit=9
    )


def test_what_is_billed_by_a_request_s_tools_is_known_of_a_large_one(parser: BodyParser) -> None:
    def metered(asked: Endpoint, **document: object) -> dict[str, Any]:
        text = {"messages": [], "contents": [], "max_tokens": 1, "model": "m", "user": "x" * 1_100_000}
        parsed = parser.parse("key_1", (asked, "m", ""), json.dumps({**text, **document}).encode())
        assert for_metering(parsed.document).items() <= parsed.document.items()
        return for_metering(parsed.document)

    preview = [{"type": "web_search_preview", "user_location": {"type": "approximate"}}]
    assert search_fee(metered(RESPONSES, tools=preview)["tools"]) == "web_search_previews"
    assert metered(RESPONSES, background=True) == {"background": True}
    assert metered(RESPONSES, prompt={}) == {"prompt": {}}
    assert metered(RESPONSES, prompt="x") == {}
    assert metered(CHAT, audio={"format": "mp3", "voice": {"id": "v"}}) == {"audio": {"format": "mp3"}}
    assert code_runs_free(metered(MESSAGES, tools=[{"type": "web_search_20260209", "name": "web_search"}])["tools"])
    assert not code_runs_free(metered(MESSAGES, tools=[{"type": "web_search_20250305", "name": "web_search"}])["tools"])
    grounded = metered(GENERATE, tools=[{"googleSearch": {}, "urlContext": None}])
    assert asks_for(grounded, "googleSearch")
    assert not asks_for(grounded, "urlContext")
    functions = [{"type": "function", "name": f"f{number}", "parameters": {"a": "x" * 900}} for number in range(300)]
    assert metered(CHAT, tools=functions) == {"tools": [{"type": "function", "name": True, "parameters": True}]}
    with pytest.raises(BadBody, match="tools has kinds"):
        metered(CHAT, tools=[{"type": "function", f"f{number}": 1} for number in range(20_000)])


def test_the_model_of_a_large_body_that_nobody_understands_otherwise(parser: BodyParser) -> None:
    padding = b'"x":"' + b"x" * 2_000_000 + b'"'
    assert parser.model_named("key_1", b'{"model":"a",' + padding + b"}") == "a"
    assert parser.model_named("key_1", b"{" + padding + b"}") is None
    with pytest.raises(BadBody, match="model stands twice"):
        parser.model_named("key_1", b'{"model":"a",' + padding + b',"model":"b"}')
