"""Which requests name what a provider keeps for one account, so that the weights of credentials do not count."""

import json
from typing import Any

import pytest

from proxyd.providers import DIALECTS, Parsed
from proxyd.providers.kept_names import LOOKED_AT_BYTES, is_of_an_account, names_kept
from proxyd.providers.large_body import for_rewriting
from shared.catalog import PROVIDERS, Endpoint, Kind

Document = dict[str, Any]


def endpoint(slug: str, kind: Kind) -> Endpoint:
    return next(each for each in PROVIDERS[slug].endpoints if each.kind is kind)


def chat(content: object = "hello", **more: object) -> tuple[str, Kind, Document]:
    return "openai", Kind.CHAT, {"model": "gpt-4o", "messages": [{"role": "user", "content": content}], **more}


def responses(**more: object) -> tuple[str, Kind, Document]:
    return "openai", Kind.RESPONSES, {"model": "gpt-4o", "input": "hello", "store": False, **more}


def messages(content: object = "hello", **more: object) -> tuple[str, Kind, Document]:
    asked = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
    return "anthropic", Kind.MESSAGES, {**asked, **more}


def generate(part: Document, **more: object) -> tuple[str, Kind, Document]:
    return "gemini", Kind.GENERATE, {"contents": [{"parts": [part]}], **more}


def interact(given: object = "hello", **more: object) -> tuple[str, Kind, Document]:
    return "gemini", Kind.INTERACT, {"model": "gemini-2.5-flash", "input": given, "store": False, **more}


def read(asked: tuple[str, Kind, Document]) -> Parsed:
    slug, kind, document = asked
    model = "gemini-2.5-flash" if slug == "gemini" and kind is Kind.GENERATE else None
    return DIALECTS[endpoint(slug, kind).dialect].read(endpoint(slug, kind), json.dumps(document).encode(), model, "")


KEPT = [
    chat([{"type": "file", "file": {"file_id": "file-1"}}]),
    chat(store=True),
    chat(extra_body={"google": {"cached_content": "cachedContents/1"}}),
    chat([{"type": "image_url", "image_url": {"url": "https://generativelanguage.googleapis.com/v1beta/files/x"}}]),
    ("openai", Kind.CHAT, {"model": "gpt-4o", "messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
    responses(store=True),
    responses(store=None),
    responses(previous_response_id="resp_1"),
    responses(conversation="conv_1"),
    responses(background=True),
    responses(prompt={"id": "pmpt_1"}),
    responses(input=[{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]),
    responses(tools=[{"type": "file_search", "vector_store_ids": ["vs_1"]}]),
    responses(tools=[{"type": "code_interpreter", "container": "cntr_1"}]),
    responses(tools=[{"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_1"}}]),
    responses(tools=[{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}]),
    messages([{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]),
    messages([{"type": "container_upload", "file_id": "file_1"}]),
    messages(container="container_1"),
    generate({"fileData": {"fileUri": "https://x/1"}}),
    generate({"file_data": {"file_uri": "https://x/1"}}),
    generate({"text": "hello"}, cachedContent="cachedContents/1"),
    generate({"text": "hello"}, cached_content="cachedContents/1"),
    interact(previous_interaction_id="int_1"),
    interact(environment="env_1"),
    interact(store=True),
    interact(store=None),
    interact([{"type": "document", "uri": "https://generativelanguage.googleapis.com/v1beta/files/x"}]),
]
FREE = [
    chat(),
    chat("""write a "file_id" for me""", store=False),
    chat([{"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}]),
    responses(),
    responses(background=False, previous_response_id=None),
    responses(tools=[{"type": "code_interpreter", "container": {"type": "auto"}}]),
    messages([{"type": "document", "source": {"type": "base64", "data": "AA"}}]),
    generate({"inlineData": {"mimeType": "image/png", "data": "AA"}}),
    interact(),
]


@pytest.mark.parametrize("asked", KEPT, ids=str)
def test_it_works(asked: tuple[str, Kind, Document]) -> None:
    parsed = read(asked)
    assert names_kept(parsed, LOOKED_AT_BYTES)
    assert for_rewriting(parsed).names_kept, "nor is it forgotten with the rest of a large body"


@pytest.mark.parametrize("asked", FREE, ids=str)
def test_any_credential_will_do(asked: tuple[str, Kind, Document]) -> None:
    parsed = read(asked)
    assert not names_kept(parsed, LOOKED_AT_BYTES)
    assert not for_rewriting(parsed).names_kept


def test_models_that_an_account_has_tuned() -> None:
    assert is_of_an_account("ft:gpt-4o-mini-2024-07-18:acme::abc")
    assert is_of_an_account("tunedModels/mine")
    assert is_of_an_account("davinci:ft-acme-2023")
    assert not is_of_an_account("gpt-4o-mini")
    assert not is_of_an_account(None)
