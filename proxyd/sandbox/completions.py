"""OpenAI's completions of text, the oldest endpoint: a text goes in, and it is written on.

Shapes: `Completion` of the openai package; a stream has the same shape, piece by piece.
"""

from collections.abc import Iterator

import orjson

from proxyd.sandbox import reading
from proxyd.sandbox.openai import CHAT, DONE
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.speech import progress, tokens
from proxyd.sandbox.values import Document, Event, Heard, Operation, Telling

LIMIT = 16  # where none is set


def hear(document: Document, path_model: str | None, query: str) -> Heard:  # noqa: ARG001 - one signature for all
    """Read a request: one prompt or many, each completed `n` times, of `best_of` that are made."""
    prompt = document.get("prompt")
    given = prompt if isinstance(prompt, list) else [prompt]
    prompts = [each for each in given if isinstance(each, str)]
    if not prompts or len(prompts) < len(given):
        raise Refusal(400, "Missing required parameter: 'prompt'.", param="prompt")
    options = document.get("stream_options")
    limit = reading.count(document, "max_tokens", least=0)
    made = max(reading.choices(document, "n"), reading.choices(document, "best_of"))
    return Heard(
        model=reading.string(document, "model"),
        prompt=prompts[0],
        input_tokens=sum(tokens(each) for each in prompts),
        limit_tokens=LIMIT if limit is None else limit,
        choices=made * len(prompts),
        stream=document.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _chunk(telling: Telling, choices: list[Document], usage: Document | None = None) -> Document:
    return {
        "id": f"cmpl-{telling.id}",
        "object": "text_completion",
        "created": telling.created,
        "model": telling.model,
        "choices": choices,
        **({} if usage is None else {"usage": usage}),
    }


def _choice(index: int, text: str, finish: str | None) -> Document:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _usage(telling: Telling) -> Document:
    return {
        "prompt_tokens": telling.heard.input_tokens,
        "completion_tokens": telling.speech.output_tokens,
        "total_tokens": telling.reported_tokens,
    }


def _finish(telling: Telling) -> str:
    return "length" if telling.speech.truncated else "stop"


def whole(telling: Telling) -> Document:
    """A completion in one piece."""
    text, finish = telling.speech.text, _finish(telling)
    choices = [_choice(index, text, finish) for index in range(telling.speech.choices)]
    return _chunk(telling, choices, _usage(telling) if telling.usage else None)


def events(telling: Telling) -> Iterator[Event]:
    """The same as a stream; the usage comes last, where it was asked for."""
    total = telling.speech.output_tokens
    for piece, choice, produced in progress(telling.speech):
        yield _event(_chunk(telling, [_choice(choice, piece, None)]), produced, paced=True)
    for choice in range(telling.speech.choices):
        yield _event(_chunk(telling, [_choice(choice, "", _finish(telling))]), total)
    if telling.heard.include_usage and telling.usage:
        yield _event(_chunk(telling, [], _usage(telling)), total)
    yield Event(DONE, total)


def _event(chunk: Document, produced: int, *, paced: bool = False) -> Event:
    return Event(b"data: " + orjson.dumps(chunk) + b"\n\n", produced, paced=paced)


COMPLETIONS = Operation(hear=hear, whole=whole, events=events, error_event=CHAT.error_event, owns_up="nothing")
