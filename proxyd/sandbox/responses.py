"""OpenAI's Responses API: one answer, or the sequence of events that the SDK expects.

Shapes: https://platform.openai.com/docs/api-reference/responses-streaming and the types of the openai package.
"""

from collections.abc import Iterator
from dataclasses import replace

import orjson

from proxyd.sandbox import reading
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.speech import progress
from proxyd.sandbox.values import Document, Event, Heard, Operation, Telling


def hear(document: Document, path_model: str | None, query: str) -> Heard:  # noqa: ARG001 - one signature for all
    """Read a request; `input` is a text or a list of items."""
    given = document.get("input")
    if not isinstance(given, str | list) or not given:
        raise Refusal(400, "Missing required parameter: 'input'.", param="input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else reading.objects(document, "input")
    return Heard(
        model=reading.string(document, "model"),
        prompt=reading.last_user_text(items, "content"),
        input_tokens=sum(reading.tokens_of(item.get("content")) for item in items)
        + reading.tokens_of(document.get("instructions"))
        + reading.tokens_of_tools(document),
        limit_tokens=reading.count(document, "max_output_tokens"),
        stream=document.get("stream") is True,
        document=document,
    )


def _message(telling: Telling, status: str, content: list[Document]) -> Document:
    return {
        "id": f"msg_{telling.id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _part(text: str) -> Document:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _response(telling: Telling, status: str, output: list[Document]) -> Document:
    asked = telling.heard.document
    ended = status in ("completed", "incomplete")
    return {
        "id": f"resp_{telling.id}",
        "object": "response",
        "created_at": telling.created,
        "completed_at": telling.created if status == "completed" else None,
        "status": status,
        "background": asked.get("background") is True,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "metadata": asked.get("metadata") or {},
        "model": telling.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": asked.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _usage(telling) if ended and telling.usage else None,
    }


def _usage(telling: Telling) -> Document:
    return {
        "input_tokens": telling.heard.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": telling.speech.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": telling.reported_tokens,
    }


def whole(telling: Telling) -> Document:
    """The response in one piece."""
    status = _status(telling)
    return _response(telling, status, [_message(telling, status, [_part(telling.speech.text)])])


def queued(telling: Telling) -> Document:
    """The response as it stands before the background has come to it."""
    return _response(telling, "queued", [])


def _status(telling: Telling) -> str:
    return "incomplete" if telling.speech.truncated else "completed"


def events(telling: Telling) -> Iterator[Event]:
    """The response as events, numbered from 0."""
    speech, status, number = telling.speech, _status(telling), 0

    def event(kind: str, produced: int, **fields: object) -> Event:
        nonlocal number
        data = orjson.dumps({"type": kind, "sequence_number": number, **fields})
        number += 1
        return Event(
            b"event: %s\ndata: %s\n\n" % (kind.encode(), data), produced, paced=kind == "response.output_text.delta"
        )

    place = {"item_id": f"msg_{telling.id}", "output_index": 0, "content_index": 0}
    yield event("response.created", 0, response=_response(telling, "in_progress", []))
    yield event("response.in_progress", 0, response=_response(telling, "in_progress", []))
    yield event("response.output_item.added", 0, output_index=0, item=_message(telling, "in_progress", []))
    yield event("response.content_part.added", 0, **place, part=_part(""))
    for piece, _, produced in progress(speech):
        yield event("response.output_text.delta", produced, **place, delta=piece, logprobs=[])
    total, part = speech.output_tokens, _part(speech.text)
    message = _message(telling, status, [part])
    yield event("response.output_text.done", total, **place, text=speech.text, logprobs=[])
    yield event("response.content_part.done", total, **place, part=part)
    yield event("response.output_item.done", total, output_index=0, item=message)
    yield event(f"response.{status}", total, response=_response(telling, status, [message]))


def compacted(telling: Telling) -> Document:
    """A conversation made short: what the user said, and a summary that only the provider could read."""
    given = telling.heard.document.get("input")
    items = given if isinstance(given, list) else [{"type": "message", "role": "user", "content": given}]
    own = [item for item in items if isinstance(item, dict) and item.get("role") == "user"]
    summary = {"id": f"cmp_{telling.id}", "type": "compaction", "encrypted_content": telling.speech.text}
    return {
        "id": f"resp_{telling.id}",
        "object": "response.compaction",
        "created_at": telling.created,
        "output": [*own, summary],
        "usage": _usage(telling) if telling.usage else None,
    }


_FAILED = {
    "type": "error",
    "sequence_number": 0,
    "code": "server_error",
    "message": "The server had an error while processing your request.",
    "param": None,
}

RESPONSES = Operation(
    hear=hear,
    whole=whole,
    events=events,
    error_event=b"event: error\ndata: " + orjson.dumps(_FAILED) + b"\n\n",
    owns_up="nothing",
    queued=queued,
    prefix="resp_",
)
COMPACT = replace(RESPONSES, whole=compacted)
