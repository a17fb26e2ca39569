"""What the gateway refuses and changes for the sake of what a query says, and of links, waits and pages in an answer."""

import json

import pytest
from gateway_kit import GOOD, OTHER, Gate, Provider, Reply, Serve

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


@pytest.mark.parametrize(
    ("headers", "delay"),
    [([("retry-after", "20")], "20s"), ([("retry-after", "20"), ("retry-after-ms", "1500")], "2s"), ([], None)],
)
def test_who_speaks_geminis_dialect_is_told_another_providers_wait_as_gemini_tells_it(
    gate: Gate, serve: Serve, headers: list[tuple[str, str]], delay: str | None
) -> None:
    serve(lambda *_: ("429 Wait", headers, b'{"error":{"message":"slow","code":"rate_limit_exceeded"}}'))
    gate.store(GOOD)
    for method in ("generateContent", "streamGenerateContent"):
        answer = gate.ask(GENERATE, path=f"/v1beta/models/gpt-4o-mini:{method}")
        error = answer.json["error"]
        assert (answer.status, error["status"], error["message"]) == (429, "RESOURCE_EXHAUSTED", "slow")
        assert [one.get("retryDelay") for one in error["details"][1:]] == ([] if delay is None else [delay])


def test_an_earlier_wait_without_a_word_is_told_as_ours_are(gate: Gate, serve: Serve) -> None:
    def answer(secret: str, asked_for: str) -> Reply:
        del asked_for
        return ("429 Wait", [("retry-after", "20")], b"") if secret == GOOD else ("401 No", [], b"{}")

    serve(answer)
    gate.store(GOOD)
    gate.store(OTHER, "second", priority=2)
    plain = gate.ask()
    assert (plain.status, plain.json["error"]["retry_after_seconds"]) == (429, 20)
    gate.at += 60
    translated = gate.ask(GENERATE, path="/v1beta/models/gpt-4o-mini:generateContent")
    assert translated.json["error"]["details"][1]["retryDelay"] == "20s"


THERE = "https://generativelanguage.googleapis.com"
HOST = ((b"host", b"router.test:8080"), (b"x-goog-api-client", b"sdk"))


@pytest.mark.parametrize("before", ["", "/gemini"])
@pytest.mark.parametrize("place", ["/v1beta/files/abc:download?alt=media", "/download/v1beta/files/abc:download"])
def test_c6_the_link_of_a_file_leads_through_the_router(gate: Gate, serve: Serve, before: str, place: str) -> None:
    file = {"name": "files/abc", "uri": f"{THERE}/v1beta/files/abc", "downloadUri": f"{THERE}{place}"}
    here = {**file, "downloadUri": f"http://router.test:8080{before}{place}"}
    uploaded = {"name": "files/b", "uri": f"{THERE}/v1beta/files/b", "downloadUri": None}
    serve(
        lambda _, asked: (
            "200 OK",
            [],
            json.dumps({"files": [file, uploaded]} if "abc" not in asked else file).encode(),
        )
    )
    gate.store(GOOD, provider="gemini")
    one = gate.ask(path=f"{before}/v1beta/files/abc", method="GET", more=HOST)
    every = gate.ask(path=f"{before}/v1beta/files", method="GET", more=HOST)
    assert (one.json, every.json) == (here, {"files": [here, uploaded]})


def test_the_address_of_a_film_is_what_googles_clients_take_back(gate: Gate, serve: Serve) -> None:
    """They find the file's name in an https address alone, and have a film continued by it."""
    sample = {"video": {"uri": f"{THERE}/v1beta/files/abc:download?alt=media"}}
    operation = {
        "name": "models/veo/operations/1",
        "response": {"generateVideoResponse": {"generatedSamples": [sample]}},
    }
    serve(lambda *_: ("200 OK", [], json.dumps(operation).encode()))
    gate.store(GOOD, provider="gemini")
    assert gate.ask(path="/v1beta/models/veo/operations/1", method="GET", more=HOST).json == operation
