"""Whether the cause of a refusal is there still. Pure; the facts come from the ledger and from what is set."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network

from shared import money
from shared.catalog import PROVIDERS, provider_of_model
from shared.policy import Reason
from shared.policy.rules import matches_model
from webapp.views.keys import KeyView
from webapp.views.model_limits import ModelLimitView
from webapp.views.requests import RefusalView

OF_STATE: Mapping[str, str] = {
    Reason.KEY_REVOKED: "revoked",
    Reason.KEY_EXPIRED: "expired",
    Reason.KEY_PAUSED: "paused",
}
# What the request needed, and whom it was for, stands in the sentence that it was answered with, and nowhere else.
_NOT_ALLOWED = re.compile(r"may not use the provider ([a-z][a-z0-9-]*)\.")
_FOR_MODELS = re.compile(r"has spend limits for models \((.+?)\)[,;.]")
_NEEDED = re.compile(r"this request may need up to \$(\d+\.\d+)")


@dataclass(frozen=True, slots=True)
class Shared:
    """What all keys of an organisation may use together; None is no limit."""

    rate_limit_rpm: int | None = None
    remaining_nanos: int | None = None  # of its spend limit
    limit_nanos: int | None = None
    spent_nanos: int = 0
    held_nanos: int = 0
    resets_at: datetime | None = None


def stands(key: KeyView, refusal: RefusalView, shared: Shared | None = None) -> bool:
    """Whether the cause of a refusal is there still, as far as the key and its organisation can tell."""
    reason, model = refusal.reason, refusal.model
    if reason in OF_STATE:
        return key.status == OF_STATE[reason]
    if reason == Reason.IP_BLOCKED:
        return bool(key.allowed_ips) and not _is_among(refusal.client_ip, key.allowed_ips)
    if reason == Reason.PROVIDER_NOT_ALLOWED:
        slug = _provider_of(refusal)
        return bool(key.allowed_providers) and (slug is None or slug not in key.allowed_providers)
    if reason == Reason.MODEL_NOT_ALLOWED:
        return bool(key.allowed_models) and (model is None or not is_covered(model, key.allowed_models))
    if reason in (Reason.TOKENS_NOT_BOUNDED, Reason.TOKEN_RATE_LIMITED):
        return key.rate_limit_tpm is not None
    if reason == Reason.ENDPOINT_NOT_METERED and key.rate_limit_tpm is not None:
        return True
    if reason in (Reason.ENDPOINT_NOT_METERED, Reason.MODEL_NOT_PRICED):
        capped = key.spend.limit_nanos is not None or bool(_limits_of(key, refusal))
        return capped or (shared is not None and shared.remaining_nanos is not None)
    if reason in (Reason.SPEND_EXCEEDED, Reason.SPEND_HELD):
        return _is_short(key.spend.remaining_nanos, refusal)
    if reason in (Reason.MODEL_SPEND_EXCEEDED, Reason.MODEL_SPEND_HELD):
        limits = _limits_of(key, refusal)
        return any(_is_short(limit.spend.remaining_nanos, refusal) for limit in limits)
    if reason == Reason.TOO_MANY_CONCURRENT:
        return key.max_concurrent_requests is not None
    if reason == Reason.RATE_LIMITED:
        return key.rate_limit_rpm is not None
    return shared is None or _stands_for_all(shared, refusal)


def _stands_for_all(shared: Shared, refusal: RefusalView) -> bool:
    """The same of what all keys share; of any other refusal nothing is known that would have cured it."""
    if refusal.reason == Reason.ORGANIZATION_RATE_LIMITED:
        return shared.rate_limit_rpm is not None
    if refusal.reason in (Reason.ORGANIZATION_SPEND_EXCEEDED, Reason.ORGANIZATION_SPEND_HELD):
        return _is_short(shared.remaining_nanos, refusal)
    return True


def _limits_of(key: KeyView, refusal: RefusalView) -> list[ModelLimitView]:
    """The limits for models that a refused request's counted against, or might have, as they stand."""
    blamed = _FOR_MODELS.search(refusal.message)
    patterns = () if blamed is None else blamed[1].split(", ")
    return [
        limit
        for limit in key.model_limits
        if refusal.model is None or limit.model in patterns or is_covered(refusal.model, (limit.model,))
    ]


def _provider_of(refusal: RefusalView) -> str | None:
    """Which provider a key may not use. Of one that is not built in the model's name tells nothing."""
    if (named := _NOT_ALLOWED.search(refusal.message)) is not None:
        return named[1]
    found = provider_of_model(refusal.model) if refusal.model else None
    return None if found is None else found[0]


def _is_short(left: int | None, refusal: RefusalView) -> bool:
    """Whether what a request needed that was refused for money is still more than what is left."""
    needed = _NEEDED.search(refusal.message)
    return left is not None and (needed is None or money.from_usd(needed[1]) > left)


def is_covered(model: str, patterns: Sequence[str]) -> bool:
    """Under its name as it was asked for or its bare one, whichever provider it was asked of."""
    found = provider_of_model(model)
    names = [(slug, model) for slug in PROVIDERS] + ([] if found is None else [found])
    names += [(pattern.partition("/")[0], model) for pattern in patterns if "/" in pattern]
    return any(matches_model(pattern, slug, name) for pattern in patterns for slug, name in names)


def _is_among(address: str | None, ranges: Sequence[str]) -> bool:
    try:
        return address is not None and any(ip_address(address) in ip_network(one) for one in ranges)
    except ValueError:
        return False
