"""The OpenAI dialect: chat completions, embeddings, lists of models, errors. Responses are in responses.py.

Shapes: https://platform.openai.com/docs/api-reference and the types of the openai package.
"""

import base64
import hashlib
import struct
from collections.abc import Iterator
from functools import lru_cache

import orjson

from proxyd.sandbox import reading
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.speech import progress, tokens
from proxyd.sandbox.values import Document, Event, Heard, Operation, Telling

DONE = b"data: [DONE]\n\n"
DIMENSIONS = 1536

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "requests"}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


def error(refusal: Refusal) -> Document:
    """The error envelope."""
    fallback = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": refusal.message,
            "type": _TYPES.get(refusal.status, fallback),
            "param": refusal.param,
            "code": refusal.code or _CODES.get(refusal.status),
        }
    }


def hear(document: Document, path_model: str | None, query: str) -> Heard:  # noqa: ARG001 - one signature for all
    """Read a chat completion."""
    messages = reading.objects(document, "messages")
    options = document.get("stream_options")
    return Heard(
        model=reading.string(document, "model"),
        prompt=reading.last_user_text(messages, "content"),
        input_tokens=sum(reading.tokens_of(message.get("content")) for message in messages)
        + reading.tokens_of_tools(document),
        limit_tokens=reading.count(document, "max_completion_tokens", "max_tokens"),
        choices=reading.choices(document, "n"),
        stream=document.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        tools=_tools(document),
        answers_tool=messages[-1].get("role") == "tool",
    )


def _tools(document: Document) -> tuple[tuple[str, object], ...]:
    given = document.get("tools")
    functions = [one.get("function") for one in given if isinstance(one, dict)] if isinstance(given, list) else None
    return reading.tools_of(functions, "parameters")


def _calls(telling: Telling) -> list[Document]:
    if telling.speech.call is None:
        return []
    name, arguments = telling.speech.call
    return [{"id": f"call_{telling.id}", "type": "function", "function": {"name": name, "arguments": arguments}}]


def _usage(telling: Telling) -> Document:
    return {
        "prompt_tokens": telling.heard.input_tokens,
        "completion_tokens": telling.speech.output_tokens,
        "total_tokens": telling.reported_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": tokens(telling.speech.thought) * telling.speech.choices,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def whole(telling: Telling) -> Document:
    """A chat completion in one piece."""
    text, finish = telling.speech.text, _finish(telling)
    message: Document = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if calls := _calls(telling):
        message["tool_calls"] = calls
    document: Document = {
        "id": f"chatcmpl-{telling.id}",
        "object": "chat.completion",
        "created": telling.created,
        "model": telling.model,
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
            for index in range(telling.speech.choices)
        ],
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }
    if telling.usage:
        document["usage"] = _usage(telling)
    return document


def events(telling: Telling) -> Iterator[Event]:
    """A chat completion as a stream; `usage` is null but in the last chunk, and there only when it was asked for."""
    speech, with_usage = telling.speech, telling.heard.include_usage
    head = {
        "id": f"chatcmpl-{telling.id}",
        "object": "chat.completion.chunk",
        "created": telling.created,
        "model": telling.model,
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }
    start = b"data: " + orjson.dumps(head)[:-1] + b',"choices":['
    end = b'],"usage":null}\n\n' if with_usage else b"]}\n\n"
    for choice in range(speech.choices):
        opening = {"role": "assistant", "content": "", "refusal": None}
        yield Event(start + _choice(choice, opening, None) + end, 0)
    before_text = [start + b'{"index":%d,"delta":{"content":' % choice for choice in range(speech.choices)]
    after_text = b'},"logprobs":null,"finish_reason":null}' + end
    for piece, choice, produced in progress(speech):
        yield Event(before_text[choice] + orjson.dumps(piece) + after_text, produced, paced=True)
    for choice in range(speech.choices):
        for call in _calls(telling):
            named = call | {"index": 0, "function": call["function"] | {"arguments": ""}}
            argued = {"index": 0, "function": {"arguments": call["function"]["arguments"]}}
            for part in (named, argued):
                yield Event(start + _choice(choice, {"tool_calls": [part]}, None) + end, speech.output_tokens)
        yield Event(start + _choice(choice, {}, _finish(telling)) + end, speech.output_tokens)
    if with_usage and telling.usage:
        usage = orjson.dumps(_usage(telling))
        yield Event(start + b'],"usage":' + usage + b"}\n\n", speech.output_tokens)
    yield Event(DONE, speech.output_tokens)


def _choice(index: int, delta: Document, finish: str | None) -> bytes:
    return orjson.dumps({"index": index, "delta": delta, "logprobs": None, "finish_reason": finish})


def _finish(telling: Telling) -> str:
    if telling.speech.truncated:
        return "length"
    return "stop" if telling.speech.call is None else "tool_calls"


_FAILED = Refusal(500, "The server had an error while processing your request.", code="server_error")

CHAT = Operation(
    hear=hear,
    whole=whole,
    events=events,
    error_event=b"data: " + orjson.dumps(error(_FAILED)) + b"\n\n",
    owns_up="nothing",
)


@lru_cache(maxsize=1_000)
def vector(text: str, dimensions: int) -> tuple[float, ...]:
    """A unit vector that depends on the text alone."""
    raw = hashlib.shake_128(text.encode()).digest(dimensions)
    length = sum((byte - 127.5) ** 2 for byte in raw) ** 0.5
    return tuple((byte - 127.5) / length for byte in raw)


def embedding_inputs(document: Document) -> list[str | list[int]]:
    """The inputs of an embedding request: one or many, each a text or a list of tokens."""
    value = document.get("input")
    if isinstance(value, str) and value:
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(item, int) for item in value):
            return [value]
        if all(isinstance(item, str | list) and item for item in value):
            return value
    raise Refusal(400, "Missing required parameter: 'input'.", param="input")


def input_tokens(inputs: list[str | list[int]]) -> int:
    """Tokens of embedding inputs: a list of tokens is as long as it is."""
    return sum(tokens(item) if isinstance(item, str) else len(item) for item in inputs)


def embeddings(document: Document, model: str, *, usage: bool) -> Document:
    """The answer to an embedding request, in floats or base64 of little-endian 32-bit floats."""
    dimensions = reading.count(document, "dimensions") or DIMENSIONS
    if dimensions > 4096:
        raise Refusal(400, "Invalid value for 'dimensions': at most 4096.", param="dimensions")
    inputs = embedding_inputs(document)
    packed = document.get("encoding_format") == "base64"
    answer: Document = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(str(item), dimensions, packed=packed)}
            for index, item in enumerate(inputs)
        ],
        "model": model,
    }
    if usage:
        answer["usage"] = {"prompt_tokens": input_tokens(inputs), "total_tokens": input_tokens(inputs)}
    return answer


def _encoded(text: str, dimensions: int, *, packed: bool) -> str | tuple[float, ...]:
    values = vector(text, dimensions)
    return base64.b64encode(struct.pack(f"<{dimensions}f", *values)).decode() if packed else values


def model_card(name: str, owner: str) -> Document:
    """One model in a list."""
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": owner}
