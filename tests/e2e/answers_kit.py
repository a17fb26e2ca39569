"""A scripted provider that answers in all three dialects as the official SDKs expect it: text, streams, calls of tools.

Every answer is billed alike, `INPUT` and `OUTPUT` tokens, so that its cost can be said by hand.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from harness import Json
from raw_http import Heard, Line, events, reply

INPUT, OUTPUT = 1_000, 100
TEXT = "It is sunny."
TOOL, ARGUMENTS = "get_weather", {"city": "Paris"}
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-6", "gemini": "gemini-2.5-flash"}
_MILLION = Decimal(1_000_000)
# By the providers' price lists of November 2026: dollars for a million tokens of input and of output.
COST = {
    "openai": (INPUT * Decimal("0.15") + OUTPUT * Decimal("0.60")) / _MILLION,
    "anthropic": (INPUT * Decimal(3) + OUTPUT * Decimal(15)) / _MILLION,
    "gemini": (INPUT * Decimal("0.30") + OUTPUT * Decimal("2.50")) / _MILLION,
}


def answer(line: Line, heard: Heard) -> None:
    """What the provider says to a request, by its path and body."""
    path, _, query = heard.first.split(" ")[1].partition("?")
    body = json.loads(heard.body or b"{}")
    if path.endswith(("/count_tokens", "/input_tokens", ":countTokens")):
        line.send(reply(200, json.dumps({"input_tokens": INPUT, "totalTokens": INPUT}).encode()))
    elif path.endswith("/chat/completions"):
        line.send(_chat(body))
    elif path.endswith("/responses"):
        line.send(_responses(body))
    elif path.endswith("/messages"):
        line.send(_messages(body))
    elif "streamGenerateContent" in path:
        line.send(events(*_generate(body)) if "alt=sse" in query else _json(_generate(body)))
    elif "generateContent" in path:
        line.send(_json(_generate(body)[-1]))
    else:
        line.send(_json({}))


def _json(document: object) -> bytes:
    return reply(200, json.dumps(document).encode())


def _calls(body: Json, last: Any) -> bool:
    """Whether the model calls its tool: it has one, and has not been told what that found."""
    told = json.dumps(last)
    return bool(body.get("tools")) and not any(
        word in told for word in ("tool_result", "_output", '"tool"', "functionResponse")
    )


def _chat(body: Json) -> bytes:
    usage = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
    call = {"id": "call_1", "type": "function", "function": {"name": TOOL, "arguments": json.dumps(ARGUMENTS)}}
    calls = _calls(body, body["messages"][-1])
    said: Json = (
        {"role": "assistant", "content": None, "tool_calls": [call]}
        if calls
        else {"role": "assistant", "content": TEXT}
    )
    reason = "tool_calls" if calls else "stop"
    head = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        choice = {"index": 0, "message": said, "finish_reason": reason, "logprobs": None}
        return _json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    head["object"] = "chat.completion.chunk"
    if calls:
        said["tool_calls"] = [{"index": 0, **call}]
    chunks = [
        {**head, "choices": [{"index": 0, "delta": said, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        {**head, "choices": [], "usage": usage},
    ]
    return events(*chunks, b"[DONE]")


def _responses(body: Json) -> bytes:
    given = body["input"]
    item: Json
    if _calls(body, given[-1]):
        item = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": TOOL,
            "arguments": json.dumps(ARGUMENTS),
            "status": "completed",
        }
    else:
        part = {"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    usage = {
        "input_tokens": INPUT, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": OUTPUT, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": INPUT + OUTPUT,
    }  # fmt: skip
    done = {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": body["model"], "output": [item],
        "usage": usage, "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "tools": [],
        "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "top_p": 1.0,
    }  # fmt: skip
    if not body.get("stream"):
        return _json(done)
    told = [{**event, "sequence_number": number} for number, event in enumerate(_of_response(done, item))]
    return events(*told, named=True)


def _of_response(done: Json, item: Json) -> Iterator[Json]:
    begun = {**done, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    place = {"item_id": item["id"], "output_index": 0}
    if item["type"] == "message":
        part = item["content"][0]
        yield {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        }
        yield {"type": "response.content_part.added", **place, "content_index": 0, "part": {**part, "text": ""}}
        yield {"type": "response.output_text.delta", **place, "content_index": 0, "delta": TEXT, "logprobs": []}
        yield {"type": "response.output_text.done", **place, "content_index": 0, "text": TEXT, "logprobs": []}
        yield {"type": "response.content_part.done", **place, "content_index": 0, "part": part}
    else:
        yield {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "arguments": "", "status": "in_progress"},
        }
        yield {"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"], "name": TOOL}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": done}


def _messages(body: Json) -> bytes:
    usage = {
        "input_tokens": INPUT,
        "output_tokens": OUTPUT,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    calls = _calls(body, body["messages"][-1])
    block: Json = (
        {"type": "tool_use", "id": "toolu_1", "name": TOOL, "input": ARGUMENTS}
        if calls
        else {"type": "text", "text": TEXT}
    )
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": [block],
        "stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    if not body.get("stream"):
        return _json(message)
    empty: Json = {**block, "input": {}} if calls else {**block, "text": ""}
    delta = (
        {"type": "input_json_delta", "partial_json": json.dumps(ARGUMENTS)}
        if calls
        else {"type": "text_delta", "text": TEXT}
    )
    return events(
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None}, "usage": {"output_tokens": OUTPUT}},
        {"type": "message_stop"},
        named=True,
    )  # fmt: skip


def _generate(body: Json) -> list[Json]:
    contents = body["contents"]
    calls = _calls(body, contents[-1] if isinstance(contents, list) else contents)
    part = {"functionCall": {"name": TOOL, "args": ARGUMENTS}} if calls else {"text": TEXT}
    usage = {"promptTokenCount": INPUT, "candidatesTokenCount": OUTPUT, "totalTokenCount": INPUT + OUTPUT}
    candidate: Json = {"content": {"role": "model", "parts": [part]}, "index": 0, "finishReason": "STOP"}
    return [{"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODELS["gemini"], "responseId": "1"}]
