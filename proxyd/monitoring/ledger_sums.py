"""From what is in the ledger to sums: requests, how long they took, tokens, dollars."""

from collections.abc import Iterable
from functools import lru_cache

from proxyd.accounting.records import EndRecord
from proxyd.monitoring import names
from proxyd.monitoring.names import OTHER
from proxyd.monitoring.sums import Sums
from shared.catalog import PROVIDERS
from shared.pricing.table import PRICES_IDS, find_model

_TOKENS = "_tokens"


def add_ends(sums: Sums, ends: Iterable[EndRecord]) -> None:
    """Add what ended. What was not sent to anybody is no request here."""
    for _, _, attempt, settlement in ends:
        if settlement is None:
            continue
        dialect = dialect_of(attempt.provider, attempt.endpoint)
        provider = attempt.provider if attempt.provider in PROVIDERS else OTHER  # of which there is no end
        sums.add((names.REQUESTS.name, dialect, provider, settlement.outcome), 1)
        if settlement.duration_ms:  # it is not known of what a crash ended, or a provider reported later
            sums.observe((names.DURATION.name, dialect, provider), names.DURATION_STEPS, settlement.duration_ms)
        if settlement.first_byte_ms is not None:
            streamed = "true" if attempt.streamed else "false"
            series = (names.FIRST_BYTE.name, dialect, provider, streamed)
            sums.observe(series, names.FIRST_BYTE_STEPS, settlement.first_byte_ms)
        for flag in settlement.flags:
            sums.add((names.FLAGGED.name, flag), 1)
        if not settlement.usage and not settlement.cost_nanos:
            continue
        model = listed_model(provider, settlement.served_model or attempt.requested_model or "")
        sums.add((names.COST.name, provider, model), settlement.cost_nanos)
        for usage_key, count in settlement.usage.items():
            if usage_key.endswith(_TOKENS):
                sums.add((names.TOKENS.name, provider, model, usage_key.removesuffix(_TOKENS)), count)
            else:
                sums.add((names.UNITS.name, provider, model, usage_key), count)


@lru_cache(maxsize=4096)
def dialect_of(provider: str, endpoint: str) -> str:
    """The API that a request spoke, by the endpoint that its row names; that of its provider for what is not listed."""
    known = PROVIDERS.get(provider)
    if known is None:
        return "openai"  # as all that organisations add
    return next((one.dialect for one in known.endpoints if one.path[: len(endpoint)] == endpoint), known.dialect)


@lru_cache(maxsize=4096)
def listed_model(provider: str, model: str) -> str:
    """A model as the price table names it. What it does not know is one series: anybody can make up names."""
    prices_id = PRICES_IDS.get(provider)
    found = None if prices_id is None or not model else find_model(prices_id, model)
    return OTHER if found is None else found.id
