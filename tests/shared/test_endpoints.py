"""Which class each endpoint of a provider is in, and that docs/metering.md says so."""

import re
from pathlib import Path

import pytest

from shared.catalog import NOT_METERED, PROVIDERS, Endpoint, Kind, allowed_methods, find_endpoint
from shared.endpoints import FREE, GEMINI_VERSIONS, UNMETERED
from shared.pricing.table import places

PAGE = Path(__file__).parent.parent.parent / "docs" / "metering.md"


def class_of(endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return "unmetered"
    return endpoint.kind.value if endpoint.kind in NOT_METERED else "metered"


def found(slug: str, method: str, path: str) -> str:
    return class_of((find_endpoint(PROVIDERS[slug], method, path) or (None, None))[0])


@pytest.mark.parametrize("slug", PROVIDERS)
def test_it_works(slug: str) -> None:
    """The page has just the rows of the table, each with its class."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {PROVIDERS[slug].label}\n")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| `([A-Z]+ [^`]+)` \| (\w+) \|", section, re.MULTILINE))
    assert len(told) == section.count("\n| `")
    wanted = {}
    for endpoint in PROVIDERS[slug].endpoints:
        path = re.sub(rf"/({'|'.join(GEMINI_VERSIONS)})/", "/{version}/", endpoint.path) if slug == "gemini" else ""
        wanted[f"{endpoint.method} {path or endpoint.path}"] = class_of(endpoint)
    assert told == wanted


@pytest.mark.parametrize("slug", PROVIDERS)
def test_no_endpoint_is_in_two_classes(slug: str) -> None:
    metered = {f"{e.method} {e.path}" for e in PROVIDERS[slug].endpoints if e.kind not in NOT_METERED}
    rows = [*FREE[slug], *UNMETERED[slug], *metered]
    assert len(rows) == len(set(rows))


def test_every_metered_endpoint_has_an_extraction_table() -> None:
    metered = [e for provider in PROVIDERS.values() for e in provider.endpoints if e.kind not in NOT_METERED]
    assert len(metered) > 10
    for endpoint in metered:
        assert places(endpoint.prices_id, endpoint.flavor or "") is not None, endpoint


@pytest.mark.parametrize(
    ("slug", "method", "path", "kind"),
    [
        ("openai", "GET", "/v1/files/file-1/content", "free"),
        ("openai", "HEAD", "/v1/files/file-1/content", "free"),
        ("openai", "GET", "/v1/batches", "free"),
        ("openai", "POST", "/v1/batches", "unmetered"),
        ("openai", "POST", "/v1/batches/batch_1/cancel", "free"),
        ("openai", "POST", "/v1/fine_tuning/jobs", "unmetered"),
        ("openai", "POST", "/v1/fine_tuning/jobs/ftjob-1/cancel", "free"),
        ("openai", "POST", "/v1/fine_tuning/jobs/ftjob-1/resume", "unmetered"),
        ("openai", "POST", "/v1/uploads/upload_1/parts", "free"),
        ("openai", "POST", "/v1/moderations", "free"),
        ("openai", "POST", "/v1/images/edits", "metered"),
        ("openai", "POST", "/v1/audio/transcriptions", "metered"),
        ("openai", "POST", "/v1/audio/voices", "unmetered"),
        ("openai", "POST", "/v1/responses/compact", "metered"),
        ("openai", "POST", "/v1/videos", "unmetered"),
        ("openai", "POST", "/v1/videos/video_1/remix", "unmetered"),
        ("openai", "POST", "/v1/never/heard/of", "unmetered"),
        ("openai", "PUT", "/v1/files", "unmetered"),
        ("openai", "DELETE", "/v1/files/file-1", "free"),
        ("openai", "DELETE", "/v1/organization/users/user-1", "unmetered"),
        ("openai", "POST", "/v1/filesystem", "unmetered"),
        ("openai", "POST", "/v1/chat/completions/", "unmetered"),
        ("anthropic", "POST", "/v1/messages/batches", "unmetered"),
        ("anthropic", "GET", "/v1/messages/batches/msgbatch_1/results", "free"),
        ("gemini", "POST", "/v1/models/gemini-2.5-flash:countTokens", "free"),
        ("gemini", "POST", "/v1alpha/models/gemini-2.5-flash:generateContent", "metered"),
        ("gemini", "POST", "/v1beta/models/imagen-4:predict", "metered"),
        ("gemini", "POST", "/v1beta/tunedModels/x:generateContent", "unmetered"),
        ("gemini", "POST", "/upload/v1beta/files", "free"),
        ("gemini", "POST", "/upload/v1beta/fileSearchStores/x:uploadToFileSearchStore", "unmetered"),
        ("gemini", "PATCH", "/v1beta/cachedContents/x", "unmetered"),
    ],
)
def test_the_narrowest_row_counts(slug: str, method: str, path: str, kind: str) -> None:
    assert found(slug, method, path) == kind


@pytest.mark.parametrize(
    ("slug", "method", "path", "methods"),
    [
        ("openai", "GET", "/v1/embeddings", ("POST",)),
        ("openai", "PUT", "/v1/chat/completions", ("GET", "POST")),
        ("openai", "GET", "/v1/chat/completions", ()),
        ("openai", "DELETE", "/v1/files", ()),
        ("openai", "GET", "/v1/conversations", ()),
        ("openai", "GET", "/v1/responses/resp_1", ()),
        ("openai", "GET", "/v1/responses/compact", ("POST",)),
        ("openai", "GET", "/v1/moderations", ("POST",)),
        ("openai", "PUT", "/v1/moderations", ("POST",)),
        ("openai", "POST", "/v1/moderations", ()),
        ("anthropic", "GET", "/v1/messages/batches", ()),
        ("anthropic", "GET", "/v1/messages/batches/b/cancel", ("POST",)),
        ("gemini", "GET", "/v1beta/batches/b:cancel", ("POST",)),
        ("anthropic", "GET", "/v1/messages", ("POST",)),
        ("gemini", "GET", "/v1beta/models/g:generateContent", ("POST",)),
        ("gemini", "HEAD", "/v1/models/g:embedContent", ("POST",)),
    ],
)
def test_a_metered_path_and_a_call_say_which_methods_they_take(
    slug: str, method: str, path: str, methods: tuple[str, ...]
) -> None:
    assert allowed_methods(PROVIDERS[slug], method, path) == methods


def test_reads_of_compatible_endpoints_are_free_in_their_own_dialect() -> None:
    endpoint, model = find_endpoint(PROVIDERS["gemini"], "GET", "/v1beta/openai/models/gemini-2.5-pro") or (None, None)
    assert endpoint is not None
    assert (endpoint.kind, endpoint.dialect, model) == (Kind.FREE, "openai", "gemini-2.5-pro")
