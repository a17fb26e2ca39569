"""How Gemini's callers are answered by the models of others: whole, in events, as one list, and where it breaks off."""

import orjson
import pytest
from translation_kit import Json, way

from proxyd.translation.answer import Answer, Failed, Tokens
from proxyd.translation.conversation import RedactedThinking, Text, Thinking, ToolCall
from shared.catalog import Kind

TO_CLAUDE, TO_GPT = way(Kind.GENERATE_STREAM, "anthropic"), way(Kind.GENERATE_STREAM, "openai")


def test_an_answer_is_told_as_gemini_tells_one() -> None:
    parts = (Thinking("", "s"), RedactedThinking("d"), Text("Well."), ToolCall("c", "f", {"a": 1}))
    told = TO_CLAUDE._written(Answer("id", "m", parts, "tools", None, Tokens(100, 20, 30, 10, 5)), 7)
    assert told == {
        "candidates": [{
            "content": {"role": "model", "parts": [
                {"thought": True, "thoughtSignature": "c2lnbmVkOnM="},
                {"text": "Well.", "thoughtSignature": "cmVkYWN0ZWQ6ZA=="},
                {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}},
            ]},
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 15, "totalTokenCount": 120, "cachedContentTokenCount": 30, "thoughtsTokenCount": 5},
        "modelVersion": "m",
        "responseId": "id",
    }  # fmt: skip


def chunk(delta: Json, finish: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + orjson.dumps({"id": "a", "model": "m", "choices": choices}) + b"\n\n"


def test_a_stream_without_events_is_one_list() -> None:
    """Also where it breaks off, and where nothing came of it."""
    data = b": alive\n\n" + chunk({"content": "a\n\nb"}) + chunk({"content": "c"}) + chunk({}, "stop")
    answering = TO_GPT.answering(7, "req_1", "alt=json&key=x", shows_usage=True)
    told = b"".join(answering.feed(data[at : at + 9]) for at in range(0, len(data), 9)) + answering.end()
    texts = [each["candidates"][0]["content"]["parts"][0]["text"] for each in orjson.loads(told)]
    assert texts == ["a\n\nb", "c", ""]
    for before in (b"", chunk({"content": "a"})):
        answering = TO_GPT.answering(7, "req_1", shows_usage=True)
        told = answering.feed(before) + answering.error(Failed(502, "provider_unreachable", "It broke off."))
        *chunks, last = orjson.loads(told)
        assert (len(chunks), last["error"]["status"], last["error"]["code"]) == (bool(before), "UNAVAILABLE", 502)
    answering = TO_GPT.answering(7, "req_1", shows_usage=True)
    *_, last = orjson.loads(answering.feed(chunk({"content": "a"})) + answering.end())
    assert last["error"]["message"].startswith("The provider's answer cannot be translated")


@pytest.mark.parametrize(
    "told_before",
    [b"data: nonsense\n\n", b'data: {"error": {"message": "Overloaded", "type": "overloaded"}}\n\n'],
)
def test_one_error_is_told_of_a_stream_that_breaks_off_behind_it(told_before: bytes) -> None:
    """Of an answer that could not be read, and of one whose provider said that it failed; a list is closed."""
    for query in ("", "alt=sse"):
        answering = TO_GPT.answering(7, "req_1", query, shows_usage=True)
        told = answering.feed(chunk({"content": "a"}) + told_before)
        rest = answering.error(Failed(502, "provider_unreachable", "It broke off."))
        assert (told + rest).count(b'"error"') == 1
        assert rest == (b"" if query else b"]")
        assert query or len(orjson.loads(told + rest)) == 2


def call(name: str, arguments: str, index: int = 0) -> Json:
    return {"index": index, "id": name, "type": "function", "function": {"name": name, "arguments": arguments}}


def ran(*told: Json) -> list[str]:
    """The calls that Google's SDK would run."""
    candidates = [each["candidates"][0] for each in told if "candidates" in each]
    parts = [part for candidate in candidates for part in candidate["content"]["parts"]]
    return [part["functionCall"]["name"] for part in parts if "functionCall" in part]


@pytest.mark.parametrize("arguments", ["", " ", '{"a": '])
def test_a_call_that_was_cut_by_the_limit_is_left_out(arguments: str) -> None:
    """Google's SDK runs what it is told, and never looks at how the answer ended."""
    calls = [call("f", '{"a": 1}'), call("g", arguments, 1)]
    answering = TO_GPT.answering(7, "req_1", shows_usage=True)
    told = orjson.loads(answering.feed(chunk({"tool_calls": calls}) + chunk({}, "length")) + answering.end())
    choice = {"message": {"tool_calls": calls}, "finish_reason": "length"}
    whole = orjson.loads(TO_GPT.answer(orjson.dumps({"choices": [choice]}), 7))
    for each in (told, [whole]):
        assert (ran(*each), each[-1]["candidates"][0]["finishReason"]) == (["f"], "MAX_TOKENS")
    assert not answering.broken


def test_a_call_of_claude_that_the_limit_ended_is_left_out_of_a_whole_answer() -> None:
    """Whose input is as much as there was of it."""
    blocks = [{"type": "tool_use", "id": name, "name": name, "input": {"a": 1}} for name in "fg"]
    for reason, count in (("max_tokens", 1), ("tool_use", 2)):
        message = {"type": "message", "content": blocks, "stop_reason": reason}
        assert len(ran(orjson.loads(TO_CLAUDE.answer(orjson.dumps(message), 7)))) == count


def test_a_call_that_breaks_off_by_itself_is_none() -> None:
    answering = TO_GPT.answering(7, "req_1", shows_usage=True)
    data = chunk({"tool_calls": [call("f", '{"a": ')]}) + chunk({}, "tool_calls")
    told = orjson.loads(answering.feed(data) + answering.end())
    assert (ran(*told), "error" in told[-1], answering.broken) == ([], True, True)


def test_calls_whose_pieces_take_turns_are_not_told() -> None:
    """Whether a call without arguments is whole is known at the end alone."""
    begun = chunk({"tool_calls": [call("f", "")]}) + chunk({"tool_calls": [call("g", "{}", 1)]})
    more = chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})
    for rest, names in ((more, []), (b"", ["f", "g"])):
        answering = TO_GPT.answering(7, "req_1", shows_usage=True)
        told = orjson.loads(answering.feed(begun + rest + chunk({}, "tool_calls")) + answering.end())
        assert (ran(*told), answering.broken) == (names, bool(rest))


def test_a_call_of_claude_without_arguments_is_told_when_the_next_begins() -> None:
    pieces = [
        {"type": "message_start", "message": {"id": "a", "model": "m"}},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "f", "name": "f", "input": {}}},
        {"type": "content_block_stop"},
        {"type": "content_block_start", "content_block": {"type": "text", "text": "Well."}},
    ]
    answering = TO_CLAUDE.answering(7, "req_1", shows_usage=True)
    told = answering.feed(b"".join(b"data: " + orjson.dumps(piece) + b"\n\n" for piece in pieces))
    assert ran(*orjson.loads(told + b"]")) == ["f"]
