"""The price file is genai-prices' own table, and is read by its rules."""

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime

import orjson
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, TieredPrices

from shared.pricing import regenerate, table

PACKAGE = {provider.id: provider for provider in get_snapshot().providers}
DAYS = [date(2024, 1, 1), date(2025, 6, 10), date(2026, 11, 25), date(2027, 2, 1)]
CONTEXTS: list[dict[str, str]] = [
    {},
    {"service_tier": "priority"},
    {"service_tier": "flex", "speed": "fast"},
    {"service_tier": "batch"},
]


def test_it_works() -> None:
    """Fails when the package was upgraded and the file was not written anew: `python -m shared.pricing.regenerate`."""
    assert orjson.loads(table.PATH.read_bytes()) == orjson.loads(orjson.dumps(regenerate.table()))


@pytest.mark.parametrize("provider", table.PROVIDER_IDS)
def test_every_name_finds_the_same_model(provider: str) -> None:
    for model in PACKAGE[provider].models:
        for name in (model.id, model.id.upper(), f"{model.id}-20251211", f"{model.id}-2025-12-11", f"x-{model.id}"):
            expected = PACKAGE[provider].find_model(name)
            found = table.find_model(provider, name)
            assert (None if found is None else found.id) == (None if expected is None else expected.id), name


def rates_of(model: ModelInfo, day: date, context: Mapping[str, str]) -> dict[str, object]:
    prices = model.get_prices(datetime(day.year, day.month, day.day, tzinfo=UTC), dict(context) or None)
    return {
        key: (price.base, tuple((tier.start, tier.price) for tier in price.tiers))
        if isinstance(price, TieredPrices)
        else (price, ())
        for key, price in vars(prices).items()
        if price is not None
    }


@pytest.mark.parametrize("provider", table.PROVIDER_IDS)
@pytest.mark.parametrize("day", DAYS, ids=str)
def test_every_model_has_the_same_rates(provider: str, day: date) -> None:
    seen = 0
    for model in PACKAGE[provider].models:
        found = table.find_model(provider, model.id)
        if found is None or found.id != model.id:
            continue  # its id is not a name that it answers to
        seen += 1
        for context in CONTEXTS:
            got = {key: (rate.base, rate.steps) for key, rate in found.rates(day, context).items()}
            assert got == rates_of(model, day, context), (model.id, context)
    assert seen > 0.8 * len(PACKAGE[provider].models)


def test_whoever_asks_for_a_price_loads_no_http_client() -> None:
    code = (
        "import sys, shared.pricing as pricing; pricing.load();"
        "pricing.cost('openai', 'gpt-4o', pricing.Usage({'input_tokens': 1}), at=1e9);"
        "sys.exit(', '.join({'genai_prices', 'httpx', 'pydantic'} & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
