"""What the gateway refuses and changes for the sake of what a query says, and of links, waits and pages in an answer."""

import pytest
from gateway_kit import GOOD, Gate, Provider

GENERATE = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 9}}
FLASH = "/v1beta/models/gemini-2.5-flash:generateContent"


@pytest.mark.parametrize("query", ["model=gpt-5-pro", "a=b&mod%65l=gpt-5-pro", "model=gpt-4o-mini&model=gpt-5-pro"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/openai/v1/chat/completions"])
def test_k18_a_query_names_no_other_model_than_the_body(gate: Gate, provider: Provider, query: str, path: str) -> None:
    gate.open(provider.url)
    gate.store(GOOD)
    refused = gate.ask(path=path, query=query)
    assert (refused.status, refused.json["error"]["param"]) == (400, "model")
    assert provider.seen == []
    assert gate.ask(path=path, query="model=gpt-4o-mini").status == 200


def test_k18_nor_than_the_path(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(GOOD, provider="gemini")
    refused = gate.ask(GENERATE, path=FLASH, query="model=gemini-2.5-pro")
    assert (refused.status, refused.headers["x-router-error"]) == (400, "invalid_request")
    assert gate.ask(GENERATE, path=FLASH, query="model=models/gemini-2.5-flash").status == 200
