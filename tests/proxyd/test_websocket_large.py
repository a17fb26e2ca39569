"""Large messages of a session, and those of many values: what is read at once, beside the worker, or not at all."""

import json
from time import process_time
from typing import Any

import pytest
from accounting_kit import Router, Worker
from sqlalchemy import Engine
from talk_kit import COST, USAGE, MakeKey, Open, code, created, done, opener

from shared.sealing import Sealer


@pytest.fixture
def talk(router: Router, engine: Engine, sealer: Sealer, worker: Worker, make_key: MakeKey) -> Open:
    return opener(router, engine, sealer, worker, make_key)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [content]}}
        for content in (
            {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 200_000},
            {"type": "input_text", "text": "a, b: [c]\n" * 40_000},
        )
    ]
    + [
        {"type": "conversation.item.create", "item": {"type": "function_call_output", "output": "1,2,3\n" * 60_000}},
        {"type": "session.update", "session": {"type": "realtime", "instructions": "x" * 200_000}},
        {"type": "input_audio_buffer.append", "audio": "A" * 1_200_000},
    ],
    ids=["picture", "text", "output", "instructions", "sound"],
)
def test_w1_large_events_of_realtime_pass(talk: Open, event: dict[str, Any]) -> None:
    assert talk().says(**event).forward == json.dumps(event).encode()


@pytest.mark.parametrize("text", ["\\u0041" * 40_000, "1,2,3\n" * 60_000])
def test_w1_large_messages_of_live_pass(talk: Open, text: str) -> None:
    session = talk("live")
    session.says(setup={"model": "models/gemini-2.5-flash-native-audio-preview-09-2025"})
    data = json.dumps({"clientContent": {"turns": [{"role": "user", "parts": [{"text": text}]}]}}).encode()
    assert session._said(data.replace(rb"\\u", rb"\u")).forward is not None


def test_w7_an_answer_of_many_values_is_settled_by_its_end(talk: Open) -> None:
    session = talk("responses", spend_limit_nanos=10**9)
    session.says(type="response.create", model="gpt-4o-mini", input="hello")
    session.hears(type="response.created", response={"id": "resp_1"})
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    nested = b"[" + b",".join([b"[]"] * 3_000_000) + b"]"
    event = b'{"type":"response.completed","response":{"id":"resp_1","output":%b,"usage":%b}}'
    began = process_time()
    session.passes(event % (nested, json.dumps(usage).encode()), by_client=False)
    assert process_time() - began < 0.2
    assert (session.money, session.running) == ((100 * 150 + 10 * 600, 0), 0)


@pytest.mark.parametrize("usage", [USAGE, None], ids=["told", "untold"])
def test_w7_a_response_of_many_values_ends_its_turn(talk: Open, usage: object) -> None:
    session = talk(spend_limit_nanos=10**10)
    session.says(type="response.create")
    session.hears(**created("resp_1"))
    nested = b"[" + b",".join([b"[]"] * 300_000) + b"]"
    event = b'{"type":"response.done","response":{"id":"resp_1","output":%b,"usage":%b}}'
    session.passes(event % (nested, json.dumps(usage).encode()), by_client=False)
    spent, held = session.money
    assert (session.running, held) == (0, 0)
    assert spent == COST if usage else spent < COST
    session.says(type="response.create")
    session.hears(**created("resp_2"))
    session.hears(**done("resp_2"))
    assert session.money == (spent + COST, 0)


def test_a_large_turn_is_parsed_beside(talk: Open) -> None:
    session = talk("responses", spend_limit_nanos=10**12)
    text = "x" * 1_200_000
    verdict = session.says(type="response.create", model="gpt-4.1", input=text, stream_id="a", max_output_tokens=20)
    assert verdict.forward is not None
    assert session.running == 1
    assert code(session.says(type="response.steer", input=text)) == "invalid_request"


def test_w1_large_events_that_could_be_read_in_two_ways_go_nowhere(talk: Open) -> None:
    session = talk()
    for data in (
        b'{"type":"response.cancel","list":[' + b"[]," * 60_000 + b"1]}",
        b'{"type":"response.cancel","list":[' + b"[]," * 400_000 + b"1]}",  # which the process beside the worker counts
        b'{"type":"session.update","session":{"max_output_tokens":1,"max_output_tokens":"inf","instructions":"%b"}}'
        % (b"x" * 200_000),
    ):
        verdict = session._said(data)
        assert (verdict.forward, code(verdict)) == (None, "invalid_request"), data[:60]
