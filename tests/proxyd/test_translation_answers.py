"""Answers from one dialect into another: whole, as events, as errors; and whatever a provider sends instead of one."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from generate_kit import assembled_chunks
from hypothesis import given, settings
from hypothesis import strategies as st
from translation_kit import answers, assembled, pieces_of, read_events, way

from proxyd.providers import DIALECTS
from proxyd.translation import (
    Answering,
    Translation,
    chat_answer_reader,
    chat_answer_writer,
    messages_answer_reader,
    messages_answer_writer,
    responses_answer_writer,
)
from proxyd.translation.answer import Answer, Failed, Tokens, Unreadable
from proxyd.translation.chat_answer_reader import ChatStream
from proxyd.translation.chat_answer_writer import ChatEvents
from proxyd.translation.conversation import Text, Thinking, ToolCall
from proxyd.translation.messages_answer_reader import MessageStream
from proxyd.translation.messages_answer_writer import MessageEvents
from proxyd.wire.sse import EventDecoder
from shared.catalog import Kind
from shared.translated import TRANSLATED

SIZES = st.integers(1, 40)
TO_CLAUDE = way(Kind.CHAT, "anthropic")
TO_GPT = way(Kind.MESSAGES, "openai")


# Google's SDKs would take a comment for a chunk.
ALIVE = {"anthropic": b'event: ping\ndata: {"type":"ping"}\n\n', "gemini": b"\n\n"}


def as_gemini_tells(answer: Answer) -> Answer:
    """Which has no word for what was written to a cache, and of the output thoughts are a part at most."""
    usage = answer.usage or Tokens()
    return replace(answer, usage=replace(usage, cache_written=0, thinking=min(usage.output_tokens, usage.thinking)))


def stream_of(kind: Kind, answer: Answer, size: int) -> bytes:
    """What a provider of this dialect would send."""
    events = MessageEvents() if kind is Kind.MESSAGES else ChatEvents(0, shows_usage=True)
    return b"".join(events.write(piece) for piece in pieces_of(answer, size))


def whole_of(kind: Kind, answer: Answer) -> bytes:
    """The same in one piece."""
    if kind is Kind.MESSAGES:
        return orjson.dumps(messages_answer_writer.write(answer))
    return orjson.dumps(chat_answer_writer.write(answer, 0))


def answered(translation: Translation, data: bytes, size: int = 10**6) -> tuple[bytes, Answering]:
    """What the client gets of a stream that comes so many bytes at a time."""
    answering = translation.answering(7, "req_1", "alt=sse", shows_usage=True)
    shown = b"".join(answering.feed(data[at : at + size]) for at in range(0, len(data), size))
    return shown + answering.end(), answering


def objects_of(data: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(event.data) for event in EventDecoder().feed(data) if event.data not in (None, b"[DONE]")]


@given(answers(thoughts=True), SIZES)
@settings(max_examples=40, deadline=None)
def test_it_works(answer: Answer, size: int) -> None:
    """Messages are read as they were written, whole and event by event."""
    assert messages_answer_reader.read(messages_answer_writer.write(answer)) == answer
    data = stream_of(Kind.MESSAGES, answer, size)
    assert assembled(read_events(MessageStream().read, data)) == answer


@given(answers(thoughts=False), SIZES)
@settings(max_examples=40, deadline=None)
def test_chat_completions_are_read_as_they_were_written(answer: Answer, size: int) -> None:
    assert chat_answer_reader.read(chat_answer_writer.write(answer, 0)) == answer
    data = stream_of(Kind.CHAT, answer, size)
    assert assembled(read_events(ChatStream().read, data)) == answer


@pytest.mark.parametrize(("caller", "provider"), TRANSLATED)
@given(data=st.data(), size=SIZES, cut=st.integers(1, 300))
@settings(max_examples=20, deadline=None)
def test_the_events_of_a_stream_are_the_whole_answer(
    caller: Kind, provider: str, data: st.DataObject, size: int, cut: int
) -> None:
    translation = way(caller, provider)
    kind = translation.endpoint.kind
    answer = data.draw(answers(thoughts=kind is Kind.MESSAGES))
    whole = orjson.loads(translation.answer(whole_of(kind, answer), 7))
    shown, answering = answered(translation, stream_of(kind, answer, size), cut)
    assert not answering.failed
    if caller is Kind.MESSAGES:
        assert assembled(read_events(MessageStream().read, shown)) == messages_answer_reader.read(whole) == answer
    elif caller is Kind.CHAT:
        assert assembled(read_events(ChatStream().read, shown)) == chat_answer_reader.read(whole)
        deltas = [choice["delta"] for chunk in objects_of(shown) for choice in chunk["choices"]]
        blocks = [block for delta in deltas for block in delta.get("thinking_blocks", [])]
        # With an index, by which OpenAI's SDK puts such a list together.
        told = whole["choices"][0]["message"].get("thinking_blocks", [])
        assert blocks == [{"index": number, **block} for number, block in enumerate(told)]
    elif translation.dialect == "gemini":
        expected = as_gemini_tells(answer)
        assert assembled_chunks(objects_of(shown)) == expected
        # Whether the limit cut the input of a call of Claude's is not to be seen in a whole answer.
        last = answer.parts[-1] if answer.parts else None
        if kind is Kind.MESSAGES and answer.finish == "length" and isinstance(last, ToolCall):
            expected = replace(expected, parts=expected.parts[:-1])
        assert assembled_chunks([whole]) == expected
    else:
        events = objects_of(shown)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["response"] == whole
        done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        assert done == whole["output"]
        text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        assert text == "".join(part.text for part in answer.parts if isinstance(part, Text))


def test_usage_is_told_in_the_terms_of_each() -> None:
    answer = Answer("a", "m", (Text("x"),), "end", None, Tokens(100, 20, 30, 10, 5))
    told = messages_answer_writer.write(answer)["usage"]
    assert (told["input_tokens"], told["cache_read_input_tokens"], told["cache_creation_input_tokens"]) == (60, 30, 10)
    assert (told["output_tokens"], told["output_tokens_details"]) == (20, {"thinking_tokens": 5})
    told = chat_answer_writer.write(answer, 0)["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (100, 20, 120)
    assert told["prompt_tokens_details"]["cached_tokens"] == 30
    told = responses_answer_writer.write(answer, 0)["usage"]
    assert (told["input_tokens"], told["output_tokens_details"]["reasoning_tokens"]) == (100, 5)


def test_usage_is_shown_to_who_asked_for_it() -> None:
    answer = Answer("a", "m", (Text("x"),), "end", None, Tokens(1, 1))
    data = stream_of(Kind.MESSAGES, answer, 1)
    answering = TO_CLAUDE.answering(7, "req_1", shows_usage=False)
    chunks = objects_of(answering.feed(data) + answering.end())
    assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)
    assert objects_of(answered(TO_CLAUDE, data)[0])[-1]["usage"]["total_tokens"] == 2


def test_a_call_without_arguments_has_an_empty_object() -> None:
    """Clients parse what they are given."""
    pieces = [
        {"type": "message_start", "message": {"id": "a", "model": "m", "usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]  # fmt: skip
    data = b"".join(b"data: " + orjson.dumps(piece) + b"\n\n" for piece in pieces)
    for caller in (Kind.CHAT, Kind.RESPONSES):
        shown, _ = answered(way(caller, "anthropic"), data)
        assert b'"arguments":"{}"' in shown
    assert objects_of(answered(TO_CLAUDE, data)[0])[-1]["usage"] == chat_answer_writer.usage_of(Tokens(1, 2))


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + orjson.dumps({"id": "a", "model": "m", "choices": choices}) + b"\n\n"


def test_geminis_calls_come_whole_and_signed() -> None:
    """All with the same index, as its compatible endpoint sends them."""
    calls = [
        {"index": 0, "id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for number in range(2)
    ]
    calls[0]["extra_content"] = {"google": {"thought_signature": "s"}}
    data = chunk({"role": "assistant", "tool_calls": calls}, "stop") + b"data: [DONE]\n\n"
    shown, _ = answered(way(Kind.MESSAGES, "gemini"), data)
    answer = assembled(read_events(MessageStream().read, shown))
    assert answer.parts == (Thinking("", "gemini:s"), ToolCall("c0", "f", {}), ToolCall("c1", "f", {}))
    assert answer.finish == "tools"


@pytest.mark.parametrize(("caller", "provider"), TRANSLATED)
@pytest.mark.parametrize("ended", ["\n", "\r\n", "\r"])
def test_signs_of_life_are_passed_on(caller: Kind, provider: str, ended: str) -> None:
    """A comment, or Anthropic's ping: whoever waits for the first word would hang up else. Not behind the end."""
    translation = way(caller, provider)
    data = stream_of(translation.endpoint.kind, Answer("a", "m", (Text("x"),), "end", None, Tokens(1, 1)), 1)
    sign = f": still at it{ended}{ended}".encode()
    alive = ALIVE.get(translation.dialect, b": keep-alive\n\n")
    plain, _ = answered(translation, data)
    assert answered(translation, sign + sign + data + sign)[0] == alive + alive + plain
    if translation.endpoint.kind is Kind.MESSAGES:
        ping = b'event: ping\ndata: {"type": "ping"}\n\n'
        assert answered(translation, ping + data + ping)[0] == alive + plain
    answering = translation.answering(7, "req_1", "alt=sse", shows_usage=False)
    assert answering.feed(sign + b"\n") == alive, "at once, and an empty line tells nothing"


def test_a_refusal_and_a_named_call() -> None:
    shown, _ = answered(TO_GPT, chunk({"refusal": "No."}) + chunk({}, "stop") + b"data: [DONE]\n\n")
    answer = assembled(read_events(MessageStream().read, shown))
    assert (answer.parts, answer.finish) == ((Text("No."),), "refused")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": None, "refusal": None, "tool_calls": [call]}
    document = {"id": "a", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}
    assert orjson.loads(TO_GPT.answer(orjson.dumps(document), 7))["stop_reason"] == "tool_use"


def test_a_call_that_was_cut_has_no_arguments() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}
    choice = {"message": {"tool_calls": [call]}, "finish_reason": "length"}
    told = orjson.loads(TO_GPT.answer(orjson.dumps({"choices": [choice]}), 7))
    assert (told["content"][0]["input"], told["stop_reason"]) == ({}, "max_tokens")
    choice["finish_reason"] = "tool_calls"
    with pytest.raises(Unreadable):
        TO_GPT.answer(orjson.dumps({"choices": [choice]}), 7)


def test_a_server_without_a_last_event() -> None:
    whole, _ = answered(TO_GPT, chunk({"content": "x"}) + chunk({}, "stop"))
    assert assembled(read_events(MessageStream().read, whole)).parts == (Text("x"),)
    shown, answering = answered(TO_GPT, chunk({"content": "x"}))
    assert answering.broken
    assert objects_of(shown)[-1]["error"]["message"].startswith("The provider's answer cannot be translated: ")


ERRORS = [
    (TO_GPT, {"error": {"message": "Slow down.", "type": "requests", "code": "rate_limit_exceeded"}}, "rate_limit_exceeded"),
    (TO_CLAUDE, {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}, "rate_limit_error"),
    (way(Kind.MESSAGES, "gemini"), [{"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}], "RESOURCE_EXHAUSTED"),
]  # fmt: skip


@pytest.mark.parametrize(("translation", "body", "code"), ERRORS)
def test_errors_keep_their_words_and_their_status(translation: Translation, body: object, code: str) -> None:
    told = orjson.loads(translation.error(429, orjson.dumps(body), "req_1"))
    assert (told["error"]["message"], told["error"]["code"]) == ("Slow down.", code)
    assert told["error"]["type"] == "rate_limit_error"
    assert told.get("request_id") == ("req_1" if translation.caller is Kind.MESSAGES else None)
    assert "did not say why" in orjson.loads(translation.error(502, b"<html>", "req_1"))["error"]["message"]


@pytest.mark.parametrize(("caller", "provider"), TRANSLATED)
def test_an_error_inside_a_stream_ends_it(caller: Kind, provider: str) -> None:
    translation = way(caller, provider)
    event = DIALECTS[translation.endpoint.dialect].error_event(503, "overloaded", "Too many.", "req_1")
    shown, answering = answered(translation, event + event)
    assert (answering.failed, answering.broken) == (True, False)
    assert shown == DIALECTS[translation.dialect].error_event(500, "overloaded", "Too many.", "req_1", caller)


def test_the_status_of_an_error_inside_a_stream() -> None:
    event = b'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    assert read_events(MessageStream().read, event) == [Failed(529, "overloaded_error", "Overloaded")]


WORDS = st.sampled_from(
    ["type", "message", "message_start", "content_block_start", "content_block", "content_block_delta", "delta", "tool_use", "text", "thinking", "usage", "choices", "index", "tool_calls", "function", "arguments", "content", "error", "id", "name", "input_json_delta", "partial_json", "message_stop", "message_delta", "finish_reason", "stop"]
)  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**53) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.parametrize(("caller", "provider"), TRANSLATED)
@given(documents=st.lists(ANY, max_size=4))
@settings(max_examples=30, deadline=None)
def test_whatever_a_provider_sends_is_an_answer_or_told_to_be_none(
    caller: Kind, provider: str, documents: list[object]
) -> None:
    translation = way(caller, provider)
    data = b"".join(b"data: " + orjson.dumps(document) + b"\n\n" for document in documents)
    answered(translation, data)
    for document in documents:
        try:
            assert translation.answer(orjson.dumps(document), 7)
        except Unreadable:
            pass
        assert translation.error(500, orjson.dumps(document), "req_1")
