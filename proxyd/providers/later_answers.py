"""Answers that tell of work that is billed later, from their bytes: read here, or in the process beside a worker.

What these functions give is small beside the answers, so that it may come from another process.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from proxyd.providers.base import BadBody
from proxyd.providers.later import Begun, Result, Told, answer, begun, links, result, result_in_line, told

MAX_JOBS = 2_000  # of a list; the longest page of any provider has 1,000
MAX_RESULTS = 50_000  # of one job that stand in an answer; Gemini allows 20 MB of them


class Reading(NamedTuple):
    """One of the functions below, and what it is told before the bytes."""

    read: Callable[..., Any]
    arguments: tuple[object, ...]


class Work(NamedTuple):
    """Of which endpoint of a provider's results are answers, and the model where they do not name it."""

    slug: str
    works_as: str | None
    model: str | None


class Telling(NamedTuple):
    """What an answer tells of jobs."""

    begun: Begun | None
    told: list[Told]  # without their results
    with_results: tuple[str, ...]  # the names of those that have any


def telling(slug: str, begun_at: tuple[str, str | None] | None, data: bytes) -> Telling:
    """What an answer tells. `begun_at` are the path, and the model in it, of a request that begins a job.

    Raises BadBody.
    """
    document = _object(data)
    found = told(slug, document)
    if len(found) > MAX_JOBS:
        raise BadBody(f"it tells of more than {MAX_JOBS} jobs")
    job = None if begun_at is None else begun(slug, *begun_at, document)
    named = dict.fromkeys(one.name for one in found if one.results)
    return Telling(job, [one._replace(results=()) for one in found], tuple(named))


def telling_links(data: bytes) -> Telling:
    """What an answer about something else than a job tells: where that can be fetched. Raises BadBody."""
    return Telling(None, links(_object(data)), ())


def results(slug: str, works: Mapping[str, Work], data: bytes) -> list[tuple[str, Result]]:
    """The results that stand in an answer, which may be a list of jobs, each with the name of its job. Raises BadBody.

    `works` has the jobs by their names; those of others are left out.
    """
    pairs = [(one.name, *pair) for one in told(slug, _object(data)) if one.name in works for pair in one.results]
    if any(count > MAX_RESULTS for count in Counter(name for name, _, _ in pairs).values()):
        raise BadBody(f"it has more than {MAX_RESULTS} results")
    found = [(name, result(*works[name], id_, body)) for name, id_, body in pairs]
    return [(name, one) for name, one in found if one is not None]


def result_of_line(work: Work, number: int, data: bytes) -> Result | None:
    """The result in a line of a file; None: there is none that is billed."""
    found = result_in_line(work.slug, number, _object(data))
    return None if found is None else result(*work, *found)


def result_of_answer(work: Work, data: bytes) -> Result | None:
    """The result that an answer is, which was made in the background."""
    return answer(*work, _object(data))


def result_of_event(work: Work, data: bytes) -> Result | None:
    """The result in an event of such an answer."""
    document = _object(data)
    body = document.get("response", document.get("interaction"))
    return answer(*work, body) if isinstance(body, dict) else None


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object; empty for what is none, of which nothing can be learned."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
