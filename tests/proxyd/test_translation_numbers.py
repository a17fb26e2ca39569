"""Whole numbers of more than 64 bits come out of translation as they went in, wherever they may stand."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from translation_kit import ASKED, CHAT, GENERATE, MESSAGES, way

from proxyd.bodies import parser_process
from proxyd.providers import Parsed
from proxyd.translation import exact
from proxyd.translation.exact_json import loads
from shared.catalog import Kind

WEI = b"123456789012345678901234567890"


def translated(caller: Kind, provider: str, document: dict[str, Any]) -> bytes:
    """What is sent for a body in which `0.5` stands for the long number, which no library here would write."""
    body = orjson.dumps(document).replace(b"0.5", WEI)
    return way(caller, provider).request(exact(orjson.loads(body), body), document["model"]).raw


def test_it_works() -> None:
    assert loads(b"1") == 1
    assert orjson.dumps(loads(b'{"a":[' + WEI + b',1,"x"]}')) == b'{"a":[' + WEI + b',1,"x"]}'


@given(st.lists(st.integers() | st.integers(-(10**40), 10**40) | st.text("0123456789", min_size=18, max_size=22)))
def test_every_number_stays_what_it_is(values: list[int | str]) -> None:
    written = "[" + ",".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values) + "]"
    assert orjson.dumps(loads(written.encode())) == written.encode()


@pytest.mark.parametrize(
    ("caller", "provider", "document"),
    [
        (Kind.CHAT, "anthropic", CHAT | {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"maximum": 0.5}}}]}),
        (Kind.MESSAGES, "openai", MESSAGES | {"tools": [{"name": "f", "input_schema": {"maximum": 0.5}}]}),
        (Kind.CHAT, "anthropic", CHAT | {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"maximum": 0.5}}}}),
        (Kind.CHAT, "anthropic", CHAT | {"messages": [ASKED, {"role": "assistant", "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"wei":0.5}'}}]}, {"role": "tool", "tool_call_id": "t", "content": "1"}]}),
        (Kind.MESSAGES, "openai", MESSAGES | {"messages": [ASKED, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"wei": 0.5}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]}]}),
        (Kind.GENERATE, "openai", GENERATE | {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"maximum": 0.5}}]}]}),
        (Kind.GENERATE, "anthropic", GENERATE | {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"wei": 0.5}}}]}, {"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]}),
        (Kind.GENERATE, "openai", GENERATE | {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f"}}]}, {"parts": [{"functionResponse": {"name": "f", "response": {"output": {"wei": 0.5}}}}]}]}),
    ],
)  # fmt: skip
def test_requests(caller: Kind, provider: str, document: dict[str, Any]) -> None:
    sent = translated(caller, provider, document)
    assert sent.count(WEI) == 1
    orjson.loads(sent)


def test_beside_the_worker() -> None:
    body = orjson.dumps(MESSAGES | {"tools": [{"name": "f", "input_schema": {"maximum": 0.5}}]}).replace(b"0.5", WEI)
    found = parser_process.answer((way(Kind.MESSAGES, "openai"), "gpt-5"), body)
    assert isinstance(found, tuple)
    parsed, raw = found
    assert isinstance(parsed, Parsed)
    assert WEI in raw


def test_answers() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"wei":' + WEI.decode() + "}"}}
    choice = {"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}
    told = way(Kind.MESSAGES, "openai").answer(orjson.dumps({"choices": [choice]}), 7)
    assert b'"input":{"wei":' + WEI + b"}" in told
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"wei": 0.5}}
    message = {"type": "message", "id": "m", "model": "m", "content": [use], "stop_reason": "tool_use", "usage": {}}
    given = orjson.dumps(message).replace(b"0.5", WEI)
    assert b'"args":{"wei":' + WEI + b"}" in way(Kind.GENERATE, "anthropic").answer(given, 7)
    for caller in (Kind.CHAT, Kind.RESPONSES):
        assert b'{\\"wei\\":' + WEI + b"}" in way(caller, "anthropic").answer(given, 7)
