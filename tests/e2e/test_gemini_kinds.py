"""Gemini beside generateContent: interactions by its SDK, pictures and films by hand; each costs what is on the invoice."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from calls import marker
from google import genai
from harness import Json, Router, eventually
from raw_http import ledger_rows

GEMINI = "gemini-2.5-flash"


@pytest.fixture
def key(router: Router) -> tuple[str, str]:
    return router.create_key(name="capped", spend_limit_usd="5")


@pytest.fixture
def client(router: Router, key: tuple[str, str]) -> Iterator[genai.Client]:
    client = genai.Client(api_key=key[1], http_options={"base_url": router.proxy_url})
    yield client
    client.close()


def row_of(router: Router, key_id: str) -> Json:
    eventually(lambda: ledger_rows(router, key_id) != [], what="the row")
    (row,) = ledger_rows(router, key_id)
    return row


def test_an_interaction_costs_its_tokens(router: Router, key: tuple[str, str], client: genai.Client) -> None:
    text = marker()
    found: Any = client.interactions.create(model=GEMINI, input=text, generation_config={"max_output_tokens": 64})
    assert found.status == "completed"
    row, (line,) = row_of(router, key[0]), router.attempts(text)
    assert (row["cost_nanos"], row["flags"]) == (line["cost_nanos"], [])
    assert (row["input_tokens"], row["output_tokens"]) == (
        line["usage"]["input_tokens"],
        line["usage"]["output_tokens"],
    )


def test_an_interaction_costs_the_same_as_a_stream(router: Router, key: tuple[str, str], client: genai.Client) -> None:
    text = marker()
    events = list(client.interactions.create(model=GEMINI, input=text, stream=True))
    assert events[-1].event_type == "interaction.completed"
    row, (line,) = row_of(router, key[0]), router.attempts(text)
    assert (row["cost_nanos"], row["flags"], row["streamed"]) == (line["cost_nanos"], [], 1)


def test_an_interaction_in_the_background_is_booked_when_it_is_fetched(router: Router, client: genai.Client) -> None:
    with pytest.raises(Exception, match="background"):
        client.interactions.create(model=GEMINI, input="x", background=True)
    key_id, key = router.create_key(name="owner")
    text = marker()
    owner = genai.Client(api_key=key, http_options={"base_url": router.proxy_url})
    begun: Any = owner.interactions.create(model=GEMINI, input=text, background=True)
    owner.close()
    for _ in range(2):
        assert client.interactions.get(id=begun.id or "").status == "completed"
    eventually(lambda: len(ledger_rows(router, key_id)) == 2, what="the booking")
    (line,) = router.attempts(text)
    costs = {tuple(row["flags"]): row["cost_nanos"] for row in ledger_rows(router, key_id)}
    assert costs == {("unmetered",): 0, ("booked_later",): line["cost_nanos"]}


def predict(router: Router, key: str, model: str, text: str, *, method: str = "predict", **parameters: Any) -> int:
    url = f"{router.proxy_url}/v1beta/models/{model}:{method}"
    body = {"instances": [{"prompt": text}], "parameters": parameters}
    return requests.post(url, json=body, headers={"x-goog-api-key": key}, timeout=10).status_code


@pytest.mark.parametrize(
    ("model", "prompt", "parameters", "nanos"),
    [
        ("imagen-4.0-generate-001", "", {"sampleCount": 3}, 120_000_000),
        ("imagen-4.0-fast-generate-001", "", {}, 80_000_000),
        ("imagen-4.0-ultra-generate-001", "blocked", {"sampleCount": 2}, 60_000_000),
    ],
)
def test_pictures_cost_by_the_piece(
    router: Router, key: tuple[str, str], model: str, prompt: str, parameters: dict[str, Any], nanos: int
) -> None:
    text = f"{marker()} {prompt}"
    assert predict(router, key[1], model, text, **parameters) == 200
    row, (line,) = row_of(router, key[0]), router.attempts(text)
    assert row["cost_nanos"] == line["cost_nanos"] == nanos
    assert row["flags"] == []


@pytest.mark.parametrize(
    ("model", "parameters", "nanos"),
    [
        ("veo-3.1-generate-preview", {}, 3_200_000_000),
        ("veo-3.1-generate-preview", {"durationSeconds": 4, "resolution": "4k"}, 2_400_000_000),
        ("veo-3.1-fast-generate-preview", {"durationSeconds": 6, "resolution": "1080p"}, 720_000_000),
    ],
)
def test_films_cost_by_the_second(
    router: Router, key: tuple[str, str], model: str, parameters: dict[str, Any], nanos: int
) -> None:
    assert predict(router, key[1], model, "a fox", method="predictLongRunning", **parameters) == 200
    assert row_of(router, key[0])["cost_nanos"] == nanos


def test_what_does_not_fit_or_has_no_price_is_refused(router: Router) -> None:
    _, key = router.create_key(name="small", spend_limit_usd="0.10")
    url = f"{router.proxy_url}/v1beta/models/imagen-4.0-generate-001:predict"
    refused = requests.post(url, json={"instances": [{"prompt": "x"}]}, headers={"x-goog-api-key": key}, timeout=10)
    assert refused.headers["x-router-error"] == "spend_exceeded"
    unpriced = f"{router.proxy_url}/v1beta/models/veo-3.1-lite-generate-preview:predictLongRunning"
    body = {"instances": [{"prompt": "x"}], "parameters": {"resolution": "4k"}}
    refused = requests.post(unpriced, json=body, headers={"x-goog-api-key": key}, timeout=10)
    assert refused.headers["x-router-error"] == "model_not_priced"
    assert "video seconds 4k" in refused.text
