"""The endpoints by which something is begun at a provider that is billed later, and those that tell what it came to.

Data only. Each row stands in `shared.endpoints` as well, with its class: what begins a job is unmetered, what tells of
it is free. A row is spelled as there.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from shared.endpoints import GEMINI_VERSIONS


class Role(StrEnum):
    """What an endpoint has to do with jobs."""

    BEGINS = "begins"  # its answer names a job
    TELLS = "tells"  # of jobs, one or a list, and perhaps where their results are or what they are
    LINKS = "links"  # tells where files can be fetched, whatever made them
    RESULTS = "results"  # of the job in the path, a line each
    FILE = "file"  # that may hold the results of a job, a line each
    ANSWER = "answer"  # of the job in the path, which is a single request


class Later(NamedTuple):
    """A role, and the name of the job or file that the path has; empty where it says of which one nothing is booked."""

    role: Role
    name: str


ROWS: Mapping[str, Mapping[str, Role]] = {
    "openai": {
        "POST /v1/batches": Role.BEGINS,
        "GET /v1/batches": Role.TELLS,
        "GET /v1/batches/{id}": Role.TELLS,
        "POST /v1/batches/{id}/cancel": Role.TELLS,
        "GET /v1/files/{id}/content": Role.FILE,
        "GET /v1/responses/{id}": Role.ANSWER,
        "POST /v1/responses/{id}/cancel": Role.ANSWER,
    },
    "anthropic": {
        "POST /v1/messages/batches": Role.BEGINS,
        "GET /v1/messages/batches": Role.TELLS,
        "GET /v1/messages/batches/{id}": Role.TELLS,
        "POST /v1/messages/batches/{id}/cancel": Role.TELLS,
        "GET /v1/messages/batches/{id}/results": Role.RESULTS,
    },
    "gemini": {
        "POST /{version}/models/{model}:batchGenerateContent": Role.BEGINS,
        "POST /{version}/models/{model}:asyncBatchEmbedContent": Role.BEGINS,
        "GET /{version}/interactions/{id}": Role.ANSWER,
        "POST /{version}/interactions/{id}/cancel": Role.ANSWER,
        "GET /{version}/batches": Role.TELLS,
        "GET /{version}/batches/{id}": Role.TELLS,
        "GET /{version}/files": Role.LINKS,
        "GET /{version}/files/{id}": Role.LINKS,
        "GET /{version}/files/{id}:download": Role.FILE,
        "GET /download/{version}/files/{id}:download": Role.FILE,
    },
}
# What a name in the path is called in the provider's own words.
_KINDS = {("gemini", Role.TELLS): "batches/", ("gemini", Role.FILE): "files/"}


def _pattern(row: str) -> re.Pattern[str]:
    escaped = re.escape(row).replace(r"\{version\}", f"(?:{'|'.join(GEMINI_VERSIONS)})")
    return re.compile(escaped.replace(r"\{model\}", "[^/:]+").replace(r"\{id\}", "(?P<id>[A-Za-z0-9_-]+)"))


_PATTERNS = {slug: [(_pattern(row), role) for row, role in rows.items()] for slug, rows in ROWS.items()}


@lru_cache(maxsize=1024)
def later_role(slug: str, method: str, path: str) -> Later | None:
    """What a request has to do with jobs; None: nothing. `path` is below the provider's base URL."""
    for pattern, role in _PATTERNS.get(slug, ()):
        if (match := pattern.fullmatch(f"{method} {path}")) is not None:
            name = match.groupdict().get("id") or ""
            return Later(role, _KINDS.get((slug, role), "") + name if name and role is not Role.LINKS else "")
    return None
