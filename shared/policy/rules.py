"""The rules of a key, one function each, in the order in which the contract tells them.

Each takes the key, the query and the time (Unix seconds) and answers with a `Deny` or None. The rate and the spend
are not here: they are charged in the counters, all or none, with what `evaluate` returns.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from shared import money
from shared.catalog import PROVIDERS, spellings
from shared.model_limits import ModelLimits
from shared.money import MAX_BOUND_NANOS
from shared.policy.reasons import Reason
from shared.policy.rule_words import caps, unpriced_words
from shared.policy.values import Address, Allow, Charges, Deny, KeySnapshot, PolicyQuery

RuleFunction = Callable[[KeySnapshot, PolicyQuery, float], Deny | None]
# For a key's head; all; and all that a request which is metered and has a bound can break.
Compiled = tuple[tuple[RuleFunction, ...], tuple[RuleFunction, ...], tuple[RuleFunction, ...]]


@lru_cache(maxsize=10_000)
def _glob(pattern: str) -> re.Pattern[str]:
    """Translate a glob: `*` is any run of characters, `?` any one, everything else itself. Case matters.

    fnmatch is not used: it knows `[...]`, which no one expects in a model name, and normalises case on some systems.
    What stands between two stars is taken where it first fits and never sought again, so that a pattern of many stars
    costs no more than one of few. To look for a later place could not help.
    """
    first, *rest = pattern.split("*")
    translated = _literal(first)
    if rest:
        translated += "".join(f"(?>.*?{_literal(piece)})" for piece in rest[:-1] if piece) + ".*" + _literal(rest[-1])
    return re.compile(translated, re.DOTALL)


def _literal(piece: str) -> str:
    return "".join("." if c == "?" else re.escape(c) for c in piece)


def covers(pattern: str, name: str) -> bool:
    """Whether a glob covers a name as it stands there."""
    return _glob(pattern).fullmatch(name) is not None


def matches_model(pattern: str, provider: str, model: str) -> bool:
    """Whether a glob of `allowed_models` covers a model; a pattern may carry a provider, `anthropic/claude-*`.

    In any of the provider's spellings that a request may use: `google/gemini-*` is `gemini/gemini-*`. A provider of
    the organisation's own may call a model `openai/gpt-4o`: what a pattern has before its slash means none of those.
    """
    glob = _glob(pattern)
    if glob.fullmatch(model) and ("/" not in pattern or provider in PROVIDERS):
        return True
    return "/" in pattern and any(glob.fullmatch(f"{name}/{model}") for name in spellings(provider))


def _matches_any(patterns: tuple[str, ...], provider: str, model: str) -> bool:
    return any(matches_model(pattern, provider, model) for pattern in patterns)


MAX_MODEL_CHARACTERS = 255  # of a name in the ledger
_MAX_CACHED_MODEL = 80  # characters of a model's name; longer ones are rare, and would make a large cache
_matches_any_cached = lru_cache(maxsize=4_096)(_matches_any)


def _matching(limits: ModelLimits, provider: str, model: str) -> ModelLimits:
    return tuple(limit for limit in limits if matches_model(limit.model, provider, model))


_matching_cached = lru_cache(maxsize=4_096)(_matching)


def limits_for(limits: ModelLimits, provider: str, model: str | None) -> ModelLimits:
    """Those limits of a key that a model counts against: by the name that the ledger keeps of it."""
    if not limits or model is None:
        return ()
    name = model[:MAX_MODEL_CHARACTERS].replace("\0", "")
    return (_matching_cached if len(name) <= _MAX_CACHED_MODEL else _matching)(limits, provider, name)


def is_capped_for(key: KeySnapshot, provider: str, model: str | None) -> bool:
    """Whether what a request costs must be known before it is sent. Without a model it may be any."""
    if key.capped or not key.model_limits:
        return key.capped
    return model is None or bool(limits_for(key.model_limits, provider, model))


def _limits_of(key: KeySnapshot, query: PolicyQuery) -> ModelLimits:
    """Those of its limits for models that a request may spend on; all, where it may be for any model."""
    if query.model is None or query.other_models:
        return key.model_limits
    return limits_for(key.model_limits, query.provider, query.model)


def revoked(key: KeySnapshot, query: PolicyQuery, now: float) -> Deny | None:  # noqa: ARG001 - one signature for all rules
    return Deny(Reason.KEY_REVOKED, {"prefix": key.prefix}) if key.revoked else None


def expired(key: KeySnapshot, query: PolicyQuery, now: float) -> Deny | None:  # noqa: ARG001 - one signature for all rules
    if key.expires_at is None or now < key.expires_at:
        return None
    at = datetime.fromtimestamp(key.expires_at, UTC).isoformat().replace("+00:00", "Z")
    return Deny(Reason.KEY_EXPIRED, {"prefix": key.prefix, "expires_at": at})


def paused(key: KeySnapshot, query: PolicyQuery, now: float) -> Deny | None:  # noqa: ARG001 - one signature for all rules
    return Deny(Reason.KEY_PAUSED, {"prefix": key.prefix}) if key.paused else None


def ip_blocked(key: KeySnapshot, query: PolicyQuery, now: float) -> Deny | None:  # noqa: ARG001 - one signature for all rules
    address = query.client_ip
    if not key.allowed_networks or (address is not None and address is key.seen_address):
        return None
    if address is None or not any(address in network for network in key.allowed_networks):
        shown = None if address is None else str(address)
        facts = {"prefix": key.prefix, "client_ip": shown}
        return Deny(Reason.IP_BLOCKED, {**facts}, {"client_ip": shown or "an unknown address"})
    object.__setattr__(key, "seen_address", address)  # a memo: asked twice a request, mostly from the same place
    return None


def provider_not_allowed(key: KeySnapshot, query: PolicyQuery, now: float) -> Deny | None:  # noqa: ARG001 - one signature
    if not key.allowed_providers or query.provider in key.allowed_providers:
        return None
    allowed = sorted(key.allowed_providers)
    facts = {"prefix": key.prefix, "provider": query.provider, "allowed_providers": allowed}
    return Deny(Reason.PROVIDER_NOT_ALLOWED, {**facts})


def model_not_allowed(key: KeySnapshot, query: PolicyQuery, now: float) -> Deny | None:  # noqa: ARG001 - one signature
    if not key.allowed_models:
        return None
    if query.model is not None:
        matches = _matches_any_cached if len(query.model) <= _MAX_CACHED_MODEL else _matches_any
        if matches(key.allowed_models, query.provider, query.model):
            return None
    return refused_model(key, query.model)


def refused_model(key: KeySnapshot, model: str | None) -> Deny:
    """What a key is told that asks for a model outside its list, or for one that nobody can tell."""
    words = {"model": "a request without a model" if model is None else f"the model {model}"}
    facts = {"prefix": key.prefix, "model": model, "allowed_models": list(key.allowed_models)}
    return Deny(Reason.MODEL_NOT_ALLOWED, {**facts}, words)


def endpoint_not_metered(key: KeySnapshot, query: PolicyQuery, now: float) -> Deny | None:  # noqa: ARG001 - one signature
    if query.metered or query.free:
        return None
    if is_capped_for(key, query.provider, query.model):
        told, words = caps(key, _limits_of(key, query))
        return Deny(Reason.ENDPOINT_NOT_METERED, {"prefix": key.prefix, **told}, words)
    if key.rate_limit_tpm is None:
        return None
    words = {
        "limit": f"the proxy key {key.prefix}... is limited to {key.rate_limit_tpm:,} tokens per minute",
        "way_out": "use a key without that limit",
    }
    return Deny(Reason.ENDPOINT_NOT_METERED, {"prefix": key.prefix, "rate_limit_tpm": key.rate_limit_tpm}, words)


def tokens_not_bounded(key: KeySnapshot, query: PolicyQuery, now: float) -> Deny | None:  # noqa: ARG001 - one signature
    if key.rate_limit_tpm is None or query.free or query.tokens is not None:
        return None
    if query.model is None and query.bound_nanos is None:
        what, cure = "a request without a model", "Name the model, or use"
    elif query.unbounded is not None:
        what, cure = f"{query.unbounded} ({query.model}, {query.provider})", "Leave it out, or use"
    else:
        return None  # a session, whose turns are judged by themselves
    facts = {
        "prefix": key.prefix,
        "model": query.model,
        "provider": query.provider,
        "unbounded": query.unbounded,
        "rate_limit_tpm": key.rate_limit_tpm,
    }
    words = {"what": what, "cure": cure, "rate_limit_tpm": f"{key.rate_limit_tpm:,}"}
    return Deny(Reason.TOKENS_NOT_BOUNDED, {**facts}, words)


def model_not_priced(key: KeySnapshot, query: PolicyQuery, now: float) -> Deny | None:  # noqa: ARG001 - one signature
    if query.free or query.bound_nanos is not None:
        return None
    limits = _limits_of(key, query)
    if not (key.capped or limits):
        return None
    facts = {
        "prefix": key.prefix,
        "model": query.model,
        "provider": query.provider,
        "unpriced": query.unpriced,
    }
    told, words = caps(key, limits)
    return Deny(Reason.MODEL_NOT_PRICED, {**facts, **told}, {**unpriced_words(query), **words})


Applies = Callable[[KeySnapshot], bool]

# Each rule beside the question whether it can refuse anything of a key.
KEY_RULES: tuple[tuple[RuleFunction, Applies], ...] = (
    (revoked, lambda key: key.revoked),
    (expired, lambda key: key.expires_at is not None),
    (paused, lambda key: key.paused),
    (ip_blocked, lambda key: bool(key.allowed_networks)),
)
RULES: tuple[tuple[RuleFunction, Applies], ...] = (
    *KEY_RULES,
    (provider_not_allowed, lambda key: bool(key.allowed_providers)),
    (model_not_allowed, lambda key: bool(key.allowed_models)),
    (endpoint_not_metered, lambda key: key.capped or bool(key.model_limits) or key.rate_limit_tpm is not None),
    (model_not_priced, lambda key: key.capped or bool(key.model_limits)),
    (tokens_not_bounded, lambda key: key.rate_limit_tpm is not None),
)
# These refuse nothing that is metered and has a bound.
_WITHOUT_BOUND = frozenset((endpoint_not_metered, model_not_priced))


def check_key(key: KeySnapshot, client_ip: Address | None, now: float) -> Deny | None:
    """The rules that need no more than the request's head, so that a stranger's body is never read."""
    rules = (key.compiled or _compiled(key))[0]
    if rules:
        query = PolicyQuery(client_ip, provider="", model=None, metered=True)
        for rule in rules:
            if (deny := rule(key, query, now)) is not None:
                return deny
    return None


def evaluate(key: KeySnapshot, query: PolicyQuery, now: float) -> Allow | Deny:
    """Judge one request by all rules; the first that refuses answers. `now` is in Unix seconds."""
    _, full, of_bounded = key.compiled or _compiled(key)
    for rule in of_bounded if query.metered and query.bound_nanos is not None else full:
        if (deny := rule(key, query, now)) is not None:
            return deny
    bound_nanos = 0 if query.free or query.bound_nanos is None else query.bound_nanos
    if bound_nanos > MAX_BOUND_NANOS and (key.spend_limit_nanos is None or key.spend_limit_nanos > MAX_BOUND_NANOS):
        return _too_dear(bound_nanos)
    shared = key.organization
    if shared is not None and query.free:
        # What costs nothing may go out whatever is spent, but counts for the rate.
        shared = None if shared.rate_limit_rpm is None else shared._replace(spend_limit_nanos=None)
    charges = Charges(key.rate_limit_rpm, None if query.free else key.spend_limit_nanos, bound_nanos, shared)
    if query.tokens is not None:
        charges.rate_limit_tpm, charges.bound_tokens = key.rate_limit_tpm, query.tokens
    if key.model_limits and not query.free:
        charges.model_limits = limits_for(key.model_limits, query.provider, query.model)
    return Allow(charges)


def _too_dear(bound_nanos: int) -> Deny:
    """Of a key whose own limit admits it: the others' rows would have to hold it as well."""
    needed, most = money.to_usd(bound_nanos), money.to_usd(MAX_BOUND_NANOS)
    detail = f"it may cost up to ${needed}, and one request may cost ${most} at most: set a smaller output limit."
    return Deny(Reason.INVALID_REQUEST, {"detail": detail, "param": "max_tokens"})


@lru_cache(maxsize=1_024)
def _shared(compiled: Compiled) -> Compiled:
    """One object for all keys with the same rules."""
    return compiled


def _compiled(key: KeySnapshot) -> Compiled:
    """The rules of a key, those for its head and all, without those that it leaves empty."""
    head, full = ([rule for rule, applies in rules if applies(key)] for rules in (KEY_RULES, RULES))
    of_bounded = [rule for rule in full if rule not in _WITHOUT_BOUND]
    compiled = _shared((tuple(head), tuple(full), tuple(of_bounded)))
    object.__setattr__(key, "compiled", compiled)  # a memo: it says nothing that the key does not
    return compiled
