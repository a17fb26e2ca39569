"""What providers tell of work that is billed later: which job began, where its results are, what each result used.

Sources: the types `Batch` and `Response` of the openai SDK 3, `MessageBatch` and `MessageBatchIndividualResponse` of
the anthropic SDK 2, `BatchJob` of google-genai 3 with ai.google.dev/api/batch-api. What a result used is read by the
dialect of the endpoint that it is an answer of, as if it had been answered at once.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from msgspec.structs import replace

from proxyd.providers import DIALECTS, Parsed
from proxyd.providers.openai_images import asked_for
from shared.catalog import PROVIDERS, Endpoint, Kind
from shared.pricing import Size, Usage

MAX_NAME = 255
_DIGITS = 16  # of a number that JSON takes
# Of responses of OpenAI's and interactions of Gemini's that change no more.
_ENDED = frozenset({"completed", "incomplete", "failed", "cancelled", "requires_action", "budget_exceeded"})
_OUTPUT_FREE = frozenset({Kind.EMBEDDINGS, Kind.EMBED})
_GEMINI_WORK = {"batchGenerateContent": "generateContent", "asyncBatchEmbedContent": "embedContent"}


class Begun(NamedTuple):
    """A job that an answer names."""

    name: str
    works_as: str | None  # the path of the endpoint whose answers its results are
    model: str | None  # of all its requests, if the path has it


class Result(NamedTuple):
    """One result of a job."""

    id: str  # within the job
    usage: Usage


class Told(NamedTuple):
    """What an answer tells of a job."""

    name: str
    file: str | None  # in which its results come
    results: tuple[tuple[str, dict[str, Any]], ...] = ()  # that stand in the answer itself: id within the job, body
    link: str | None = None  # to its results, past us
    model: str | None = None  # that made them: answers with pictures do not name it


def begun(slug: str, path: str, path_model: str | None, document: Mapping[str, Any]) -> Begun | None:
    """The job that the answer to a request at `path` names; None: it names none."""
    name = _text(document.get("name" if slug == "gemini" else "id"))
    if name is None:
        return None
    if slug == "openai":
        works_as = _text(document.get("endpoint"))
        known = works_as if _endpoint(slug, works_as) is not None else None
        return Begun(name, known, _text(document.get("model")))
    if slug == "anthropic":
        return Begun(name, "/v1/messages", None)
    before, _, method = path.rpartition(":")
    version = before.split("/")[1]
    return Begun(name, f"/{version}/models/{{model}}:{_GEMINI_WORK.get(method, method)}", path_model)


def told(slug: str, document: Mapping[str, Any]) -> list[Told]:
    """What an answer tells of one job or of a list of them."""
    listed = document.get("operations" if slug == "gemini" else "data")
    found = [_TOLD[slug](one) for one in (listed if isinstance(listed, list) else [document]) if isinstance(one, dict)]
    return [one for one in found if one is not None]


def _told_openai(batch: Mapping[str, Any]) -> Told | None:
    name = _text(batch.get("id"))
    return None if name is None else Told(name, _text(batch.get("output_file_id")), model=_text(batch.get("model")))


def _told_anthropic(batch: Mapping[str, Any]) -> Told | None:
    name, link = _text(batch.get("id")), batch.get("results_url")
    return None if name is None else Told(name, None, link=link if isinstance(link, str) else None)


def _told_gemini(operation: Mapping[str, Any]) -> Told | None:
    name = _text(operation.get("name"))
    if name is None:
        return None
    metadata = operation.get("metadata")
    outputs = [metadata.get("output") if isinstance(metadata, dict) else None, operation.get("response")]
    file = None
    results: dict[str, dict[str, Any]] = {}  # both places may hold the same ones
    for output in outputs:
        if not isinstance(output, dict):
            continue
        file = file or _text(output.get("responsesFile"))
        for field in ("inlinedResponses", "inlinedEmbedContentResponses"):
            held = output.get(field)
            inlined = held.get("inlinedResponses") if isinstance(held, dict) else None
            for number, one in enumerate(inlined if isinstance(inlined, list) else ()):
                if isinstance(one, dict) and isinstance(one.get("response"), dict):
                    results[str(number)] = one["response"]
    return Told(name, file, tuple(results.items()))


_TOLD = {"openai": _told_openai, "anthropic": _told_anthropic, "gemini": _told_gemini}


def result_in_line(slug: str, number: int, line: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The id of a result and the answer that it is, of a line of a file of results; None: it is not billed.

    `number` is that of the line, which stays the same where nothing else tells lines apart.
    """
    if slug == "openai":
        response = line.get("response")
        body = response.get("body") if isinstance(response, dict) else None
        if not isinstance(body, dict) or not isinstance(response, dict) or response.get("status_code") != 200:
            return None
        return _text(line.get("id")) or str(number), body
    if slug == "anthropic":
        result = line.get("result")
        message = result.get("message") if isinstance(result, dict) else None
        if not isinstance(message, dict):
            return None  # errored, canceled and expired ones are not billed
        return f"{line.get('custom_id')} {message.get('id')}", message
    body = line.get("response")
    return (str(number), body) if isinstance(body, dict) else None


def result(slug: str, works_as: str | None, model: str | None, id_: str, body: Mapping[str, Any]) -> Result | None:
    """What a result used, by the answer that it is; None: nothing is billed for such a one."""
    endpoint = _endpoint(slug, works_as)
    if endpoint is None or endpoint.flavor is None:
        free = endpoint is not None and endpoint.kind is Kind.FREE
        return None if free else Result(id_, Usage({}, _text(body.get("model")), unmetered=True))
    count = body.get("tokenCount")
    if isinstance(count, str) and len(count) < _DIGITS and count.isdecimal():
        count = int(count)  # protocol buffers write large numbers as text
    if endpoint.kind is Kind.EMBED and count is not None and "usageMetadata" not in body:
        body = {"usageMetadata": {"promptTokenCount": count, "totalTokenCount": count}}
    size = Size(0, overhead_tokens=0, output_free=endpoint.kind in _OUTPUT_FREE)
    named = _text(body.get("model")) or model
    if endpoint.kind is Kind.IMAGES:
        parsed = asked_for(named, body)
    else:
        parsed = Parsed(endpoint.kind, named, stream=False, size=size, wants_usage=True, document={}, raw=b"")
    meter = DIALECTS[endpoint.dialect].meter(endpoint, parsed, streaming=False, content_encoding=None)
    meter.feed(orjson.dumps(body))
    meter.end()
    usage = meter.usage()
    if usage is None:
        if meter.failed:
            return None
        usage = meter.delivered()
    return Result(id_, usage)


def answer(slug: str, works_as: str | None, model: str | None, body: Mapping[str, Any]) -> Result | None:
    """What an answer that was made in the background used; None: it has not ended, or nothing is billed."""
    status = body.get("status")
    if not isinstance(status, str) or status not in _ENDED or not isinstance(body.get("usage"), dict):
        return None
    return result(slug, works_as, model, "", body)


def of_batch(usage: Usage) -> Usage:
    """The same, at the prices of batches."""
    return replace(usage, batch=True, parts=tuple(of_batch(part) for part in usage.parts))


@lru_cache(maxsize=64)
def _endpoint(slug: str, works_as: str | None) -> Endpoint | None:
    found: Iterator[Endpoint] = (
        endpoint for endpoint in PROVIDERS[slug].endpoints if (endpoint.method, endpoint.path) == ("POST", works_as)
    )
    return next(found, None)


def _text(value: object) -> str | None:
    """A name that a database takes."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable() else None
