"""The Anthropic dialect: messages, counting of tokens, lists of models, errors.

Shapes: https://docs.anthropic.com/en/api/messages, .../messages-streaming and the types of the anthropic package.
"""

import base64
import hashlib
from collections.abc import Iterator

import orjson

from proxyd.sandbox import reading
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.speech import progress, tokens
from proxyd.sandbox.values import Document, Event, Heard, Operation, Telling

START_TOKENS = 1  # of output, as the first event of a stream reports it

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error(refusal: Refusal, request_id: str) -> Document:
    """The error envelope."""
    fallback = "api_error" if refusal.status >= 500 else "invalid_request_error"
    kind = _TYPES.get(refusal.status, fallback)
    return {"type": "error", "error": {"type": kind, "message": refusal.message}, "request_id": request_id}


def input_tokens(document: Document) -> int:
    """Tokens of messages, system prompt and tools."""
    messages = reading.objects(document, "messages")
    return (
        sum(reading.tokens_of(message.get("content")) for message in messages)
        + reading.tokens_of(document.get("system"))
        + reading.tokens_of_tools(document)
    )


def hear(document: Document, path_model: str | None, query: str) -> Heard:  # noqa: ARG001 - one signature for all
    """Read a message; `max_tokens` is required."""
    model = reading.string(document, "model")
    limit_tokens = reading.count(document, "max_tokens")
    if limit_tokens is None:
        raise Refusal(400, "max_tokens: Field required", param="max_tokens")
    messages = reading.objects(document, "messages")
    return Heard(
        model=model,
        prompt=reading.last_user_text(messages, "content"),
        input_tokens=input_tokens(document),
        limit_tokens=limit_tokens,
        stream=document.get("stream") is True,
        tools=reading.tools_of(document.get("tools"), "input_schema"),
        answers_tool=_is_result(messages[-1].get("content")),
    )


def _is_result(content: object) -> bool:
    return isinstance(content, list) and any(
        isinstance(one, dict) and one.get("type") == "tool_result" for one in content
    )


def _blocks(telling: Telling) -> list[Document]:
    """A thought with its signature, the text, a call."""
    speech, blocks = telling.speech, []
    if speech.thought:
        signature = base64.b64encode(hashlib.sha256(speech.thought.encode()).digest()).decode()
        blocks.append({"type": "thinking", "thinking": speech.thought, "signature": signature})
    blocks.append({"type": "text", "text": speech.text})
    if speech.call is not None:
        name, arguments = speech.call
        blocks.append({"type": "tool_use", "id": f"toolu_{telling.id}", "name": name, "input": orjson.loads(arguments)})
    return blocks


def _usage(telling: Telling, output_tokens: int) -> Document:
    return {
        "input_tokens": telling.heard.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _message(telling: Telling, content: list[Document], stop_reason: str | None, output_tokens: int) -> Document:
    document: Document = {
        "id": f"msg_{telling.id}",
        "type": "message",
        "role": "assistant",
        "model": telling.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
    }
    if telling.usage:
        document["usage"] = _usage(telling, output_tokens)
    return document


def _stop_reason(telling: Telling) -> str:
    if telling.speech.truncated:
        return "max_tokens"
    return "end_turn" if telling.speech.call is None else "tool_use"


def whole(telling: Telling) -> Document:
    """A message in one piece."""
    return _message(telling, _blocks(telling), _stop_reason(telling), telling.speech.output_tokens)


def events(telling: Telling) -> Iterator[Event]:
    """A message as a stream; the usage of `message_delta` is cumulative, that of `message_start` a beginning."""
    total = telling.speech.output_tokens
    began = min(START_TOKENS, total)
    yield _event("message_start", 0, message=_message(telling, [], None, began))
    index = 0
    if telling.speech.thought:
        thought, index, counted = _blocks(telling)[0], 1, tokens(telling.speech.thought)
        yield _event("content_block_start", 0, index=0, content_block=thought | {"thinking": "", "signature": ""})
        for kind, name in (("thinking_delta", "thinking"), ("signature_delta", "signature")):
            yield _event("content_block_delta", counted, index=0, delta={"type": kind, name: thought[name]})
        yield _event("content_block_stop", counted, index=0)
    yield _event("content_block_start", 0, index=index, content_block={"type": "text", "text": ""})
    yield _event("ping", 0)
    before = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta",'
    before %= index
    for piece, _, produced in progress(telling.speech):
        yield Event(before + b'"text":' + orjson.dumps(piece) + b"}}\n\n", produced, paced=True)
    yield _event("content_block_stop", total, index=index)
    if telling.speech.call is not None:
        call, arguments = _blocks(telling)[-1], telling.speech.call[1]
        yield _event("content_block_start", total, index=index + 1, content_block=call | {"input": {}})
        delta = {"type": "input_json_delta", "partial_json": arguments}
        yield _event("content_block_delta", total, index=index + 1, delta=delta)
        yield _event("content_block_stop", total, index=index + 1)
    usage = _usage(telling, total)
    del usage["cache_creation"], usage["service_tier"]
    ending: Document = {"delta": {"stop_reason": _stop_reason(telling), "stop_sequence": None}}
    if telling.usage:
        ending["usage"] = usage
    yield _event("message_delta", total, **ending)
    yield _event("message_stop", total)


def _event(kind: str, produced: int, **fields: object) -> Event:
    data = orjson.dumps({"type": kind, **fields})
    return Event(b"event: %s\ndata: %s\n\n" % (kind.encode(), data), produced)


_FAILED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

MESSAGES = Operation(
    hear=hear,
    whole=whole,
    events=events,
    error_event=b"event: error\ndata: " + orjson.dumps(_FAILED) + b"\n\n",
    owns_up="start",
)


def model_card(name: str) -> Document:
    """One model in a list."""
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "2025-01-01T00:00:00Z",
        "lifecycle": "active",
    }


def model_list(names: tuple[str, ...]) -> Document:
    """All models, on one page."""
    return {
        "data": [model_card(name) for name in names],
        "has_more": False,
        "first_id": names[0],
        "last_id": names[-1],
    }
