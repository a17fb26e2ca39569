"""A provider that answers as the real ones do: it thinks, says so, and calls a tool, whole or in pieces."""

import json

import orjson
from harness import Json, Router
from raw_http import Heard, Line, events, ledger_rows, reply

CLAUDE, GPT = "claude-sonnet-4-6", "gpt-4o-mini"
PNG = "iVBORw0KGgo="
USAGE: Json = {"prompt_tokens": 40, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 10}}
CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
THOUGHT: Json = {"type": "thinking", "thinking": "They want the weather.", "signature": "c2ln"}
USE: Json = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
SPENT: Json = {"input_tokens": 30, "cache_read_input_tokens": 10, "output_tokens": 7}


def _chunk(delta: Json, finish: str | None = None, usage: Json | None = None) -> Json:
    choices = [] if usage else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": GPT, "choices": choices, "usage": usage}


def openai_calls(line: Line, heard: Heard) -> None:
    """Calls the tool, in pieces where they are wanted."""
    if orjson.loads(heard.body).get("stream"):
        first = {"index": 0, **CALL, "function": {"name": "weather", "arguments": ""}}
        rest = [{"index": 0, "function": {"arguments": text}} for text in ('{"city"', ':"Bern"}')]
        chunks = [_chunk({"role": "assistant", "content": "Let me see."}), _chunk({"tool_calls": [first]})]
        chunks += [_chunk({"tool_calls": [piece]}) for piece in rest]
        chunks += [_chunk({}, "tool_calls"), _chunk({}, usage=USAGE)]
        line.sock.sendall(events(*chunks, b"[DONE]"))
        return
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    document = {"id": "chatcmpl-1", "object": "chat.completion", "model": GPT, "choices": [choice], "usage": USAGE}
    line.sock.sendall(reply(200, orjson.dumps(document)))


def anthropic_thinks(line: Line, heard: Heard) -> None:
    """Thinks, says so, and calls the tool."""
    message: Json = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE, "stop_sequence": None}
    if not orjson.loads(heard.body).get("stream"):
        content = [THOUGHT, {"type": "text", "text": "Let me see."}, USE]
        whole = message | {"content": content, "stop_reason": "tool_use", "usage": SPENT}
        line.sock.sendall(reply(200, orjson.dumps(whole)))
        return
    blocks: list[tuple[Json, list[Json]]] = [
        ({"type": "thinking", "thinking": "", "signature": ""}, [{"type": "thinking_delta", "thinking": THOUGHT["thinking"]}, {"type": "signature_delta", "signature": "c2ln"}]),
        ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Let me "}, {"type": "text_delta", "text": "see."}]),
        (USE | {"input": {}}, [{"type": "input_json_delta", "partial_json": text} for text in ("", '{"city":', '"Bern"}')]),
    ]  # fmt: skip
    told: list[Json] = [
        {"type": "message_start", "message": message | {"content": [], "stop_reason": None, "usage": SPENT | {"output_tokens": 1}}},
        {"type": "ping"},
    ]  # fmt: skip
    for index, (block, deltas) in enumerate(blocks):
        told.append({"type": "content_block_start", "index": index, "content_block": block})
        told += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        told.append({"type": "content_block_stop", "index": index})
    told.append({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}})
    line.sock.sendall(events(*told, {"type": "message_stop"}, named=True))


def both(line: Line, heard: Heard) -> None:
    (anthropic_thinks if heard.first.startswith("POST /v1/messages ") else openai_calls)(line, heard)


def priced(router: Router, key: tuple[str, str], count: int) -> None:
    """All were billed by the figures that the provider told."""
    router.wait_for_ledger(key[0], count)
    for row in ledger_rows(router, key[0]):
        usage = json.loads(row["usage"])
        assert (usage["input_tokens"], usage["cache_read_tokens"], usage["output_tokens"]) == (40, 10, 7)
        assert (row["cost_nanos"] > 0, row["flags"], row["outcome"]) == (True, [], "ok")
