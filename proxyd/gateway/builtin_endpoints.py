"""The proxy's own answers: is it alive, which models may this key use, what is left of its limits."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from proxyd.gateway import limit_headers, model_cards
from proxyd.gateway.destinations import Builtin
from proxyd.gateway.limits import LimitsState
from proxyd.gateway.rejection import Rejection
from proxyd.messages import Header, Response
from shared import money
from shared.builtin_paths import BuiltinName
from shared.counters import RateState, SpendState
from shared.judgement import limit_facts, period_start, resets_at
from shared.model_limits import ModelLimit
from shared.policy import Deny, KeySnapshot, Network, Reason
from shared.zones import UTC_NAME

PUBLIC: frozenset[BuiltinName] = frozenset(("home", "health", "ready"))


def public(name: BuiltinName, ready: Callable[[], dict[str, str]], request_id: str) -> Response:
    """Pages that need no key and tell nothing about any."""
    if name == "ready":
        faults = ready()
        return _json(503 if faults else 200, {"ready": not faults, "faults": faults}, request_id)
    if name == "health":
        return _json(200, {"alive": True}, request_id)
    return _json(
        200, {"name": "Enterprise Router", "endpoints": ["/openai", "/anthropic", "/gemini", "/v1"]}, request_id
    )


def for_key(
    endpoint: Builtin,
    key: KeySnapshot,
    configured: frozenset[str],
    models: model_cards.Own,
    limits: LimitsState | None,
    lifetime_nanos: int | None,
    of_models: Sequence[tuple[ModelLimit, SpendState]] | None,
    dialect: str,
    request_id: str,
) -> Response | Rejection:
    """Endpoints about the key itself; None, of its limits and of what it has spent, is what nobody knows."""
    own = limit_headers.limits(*limits, zone=key.zone) if limits is not None else []
    if endpoint.name == "models":
        return _json(200, model_cards.listed(key, configured, dialect, models), request_id, own)
    if endpoint.name == "model":
        return _json(200, model_cards.of(endpoint.model, dialect), request_id, own)
    if limits is None or lifetime_nanos is None or of_models is None:
        return Rejection(Deny(Reason.LIMITS_UNAVAILABLE))
    return _json(200, _about(key, *limits, lifetime_nanos, of_models), request_id, own)


def _about(
    key: KeySnapshot,
    rate: RateState | None,
    spend: SpendState,
    tokens: RateState | None,
    lifetime_nanos: int,
    of_models: Sequence[tuple[ModelLimit, SpendState]],
) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "status": "active",  # a key in any other state was refused before it came here
        "allowed_providers": sorted(key.allowed_providers),
        "allowed_models": list(key.allowed_models),
        "allowed_ips": [_shown(network) for network in key.allowed_networks],
        "expires_at": None if key.expires_at is None else _moment(key.expires_at),
        "rate_limit_rpm": key.rate_limit_rpm,
        "remaining_requests": None if rate is None else rate.remaining,
        "rate_limit_tpm": key.rate_limit_tpm,
        "remaining_tokens": None if tokens is None else tokens.remaining,
        "max_concurrent_requests": key.max_concurrent_requests,
        **limit_facts(key),
        "spend_reset": key.spend_reset,
        "time_zone": key.zone or UTC_NAME,
        "spend": {
            "limit_usd": None if spend.limit_nanos is None else money.to_usd(spend.limit_nanos),
            **_spent(spend, key.zone),
            "lifetime_usd": money.to_usd(lifetime_nanos),
        },
        "model_limits": [
            {
                "model": limit.model,
                "spend_limit_usd": money.to_usd(limit.spend_limit_nanos),
                "spend_reset": limit.spend_reset,
                "spend": _spent(of_model, key.zone),
            }
            for limit, of_model in of_models
        ],
    }


def _spent(spend: SpendState, zone: str | None) -> dict[str, Any]:
    return {
        "spent_usd": money.to_usd(spend.spent_nanos),
        "held_usd": money.to_usd(spend.held_nanos),
        "remaining_usd": None if spend.remaining_nanos is None else money.to_usd(spend.remaining_nanos),
        "period_start": period_start(spend, zone),
        "resets_at": resets_at(spend, zone),
    }


def _shown(network: Network) -> str:
    return str(network.network_address if network.num_addresses == 1 else network)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _json(status: int, document: dict[str, Any], request_id: str, own: Sequence[Header] = ()) -> Response:
    fields = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id.encode()),
        (b"request-id", request_id.encode()),
        *own,
    ]
    return Response(status, fields, orjson.dumps(document))
