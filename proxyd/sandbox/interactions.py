"""Gemini's interactions: one answer, its stream of events, or made in the background.

Shapes: https://ai.google.dev/api/interactions-api and the types of the google-genai package.
"""

from collections.abc import Iterator

import orjson

from proxyd.sandbox import reading
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.speech import progress
from proxyd.sandbox.values import Document, Event, Heard, Operation, Telling

_WHEN = "2025-01-01T00:00:00Z"


def hear(document: Document, path_model: str | None, query: str) -> Heard:  # noqa: ARG001 - one signature for all
    """Read a request; `input` is a text, a content, or a list of contents or steps."""
    given = document.get("input")
    if not isinstance(given, str | list | dict) or not given:
        raise Refusal(400, "input: a required field is not set.", param="input")
    config = document.get("generation_config")
    return Heard(
        model=reading.string(document, "model"),
        prompt=reading.text_of(given),
        input_tokens=reading.tokens_of(given)
        + reading.tokens_of(document.get("system_instruction"))
        + reading.tokens_of_tools(document),
        limit_tokens=reading.count(config if isinstance(config, dict) else {}, "max_output_tokens"),
        stream=document.get("stream") is True,
        document=document,
    )


def _interaction(telling: Telling, status: str, *, whole: bool) -> Document:
    said: Document = {
        "id": f"int_{telling.id}",
        "object": "interaction",
        "status": status,
        "model": telling.model,
        "created": _WHEN,
        "updated": _WHEN,
    }
    if whole:
        said["steps"] = [{"type": "model_output", "content": [{"type": "text", "text": telling.speech.text}]}]
    if status in ("completed", "incomplete") and telling.usage:
        asked, told = telling.heard.input_tokens, telling.speech.output_tokens
        said["usage"] = {
            "total_input_tokens": asked,
            "input_tokens_by_modality": [{"modality": "text", "tokens": asked}],
            "total_cached_tokens": 0,
            "total_output_tokens": told,
            "output_tokens_by_modality": [{"modality": "text", "tokens": told}],
            "total_tool_use_tokens": 0,
            "total_thought_tokens": 0,
            "total_tokens": telling.reported_tokens,
        }
    return said


def _status(telling: Telling) -> str:
    return "incomplete" if telling.speech.truncated else "completed"


def whole(telling: Telling) -> Document:
    """The interaction in one piece."""
    return _interaction(telling, _status(telling), whole=True)


def queued(telling: Telling) -> Document:
    """The interaction as it stands before the background has come to it."""
    return _interaction(telling, "in_progress", whole=False)


def events(telling: Telling) -> Iterator[Event]:
    """The interaction as events."""
    total = telling.speech.output_tokens
    yield _event("interaction.created", 0, interaction=_interaction(telling, "in_progress", whole=False))
    yield _event("step.start", 0, index=0, step={"type": "model_output"})
    for piece, _, produced in progress(telling.speech):
        yield _event("step.delta", produced, index=0, delta={"type": "text", "text": piece})
    yield _event("step.stop", total, index=0)
    yield _event("interaction.completed", total, interaction=_interaction(telling, _status(telling), whole=False))
    yield Event(b"event: done\ndata: [DONE]\n\n", total)


def _event(kind: str, produced: int, **fields: object) -> Event:
    data = orjson.dumps({"event_type": kind, **fields})
    return Event(b"event: %s\ndata: %s\n\n" % (kind.encode(), data), produced, paced=kind == "step.delta")


_FAILED = {"event_type": "error", "error": {"code": "internal", "message": "The model is overloaded."}}

INTERACTIONS = Operation(
    hear=hear,
    whole=whole,
    events=events,
    error_event=b"event: error\ndata: " + orjson.dumps(_FAILED) + b"\n\n",
    owns_up="nothing",
    queued=queued,
    prefix="int_",
)
