"""Turning a `Deny` into a response: one envelope a dialect, the same facts in the text, as fields and as headers."""

import math
from dataclasses import dataclass
from decimal import Decimal

from proxyd.gateway import hints
from proxyd.gateway.payload import MAX_JSON_BYTES
from proxyd.gateway.route import NeedsUpgrade, NoUpgrade, Unknown, WrongMethod
from proxyd.messages import (
    Header,
    RequestError,
    RequestTimeout,
    RequestTooLarge,
    Response,
    UpstreamTimeout,
)
from proxyd.providers import DIALECTS
from proxyd.wire.content_coding import ACCEPTED
from shared import money, periods
from shared.counters import RateLimited, SpendExceeded, SpendHeld, SpendState
from shared.policy import ERRORS, Deny, Fact, KeySnapshot, Reason
from shared.pricing import Bound, BoundPart


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refusal and the headers that belong to it beside the common ones."""

    deny: Deny
    headers: tuple[Header, ...] = ()
    status: int | None = None  # more exact than the reason's own


def rejected(reason: Reason, **facts: Fact) -> Rejection:
    return Rejection(Deny(reason, facts))


def rejected_request(error: RequestError) -> Rejection:
    """What is wrong with a request that could not be read."""
    if isinstance(error, RequestTooLarge):
        limit_bytes = MAX_JSON_BYTES if error.limit_bytes is None else error.limit_bytes
        return rejected(Reason.REQUEST_TOO_LARGE, limit_bytes=limit_bytes)
    if isinstance(error, RequestTimeout):
        return rejected(Reason.REQUEST_TIMEOUT)
    reason = Reason.METHOD_NOT_ALLOWED if error.status == 405 else Reason.INVALID_REQUEST
    return Rejection(Deny(reason, {"detail": f"{error}."}), status=error.status)


def nowhere(route: Unknown | WrongMethod | NoUpgrade | NeedsUpgrade) -> Rejection:
    """The address leads nowhere, or not this way."""
    if isinstance(route, WrongMethod):
        allow = ", ".join(route.methods).encode()
        return Rejection(Deny(Reason.METHOD_NOT_ALLOWED, {"detail": route.detail}), ((b"allow", allow),))
    if isinstance(route, NoUpgrade):
        return rejected(Reason.UPGRADE_NOT_SUPPORTED, detail=hints.NO_WEBSOCKET)
    if isinstance(route, NeedsUpgrade):
        return upgrade_required(hints.ONLY_WEBSOCKET)
    return rejected(Reason.UNKNOWN_ENDPOINT, detail=route.detail)


def upgrade_required(detail: str) -> Rejection:
    """RFC 9110, section 15.5.22, and RFC 6455, section 4.4: the answer tells what must be spoken."""
    headers = ((b"upgrade", b"websocket"), (b"sec-websocket-version", b"13"))
    return Rejection(Deny(Reason.UPGRADE_REQUIRED, {"detail": detail}), headers)


def unsupported_encoding(coding: bytes) -> Rejection:
    """RFC 9110, section 15.5.16: the answer tells what would have been accepted."""
    shown = coding[:80].decode("latin-1")
    facts: dict[str, Fact] = {"encoding": shown, "accepted": ACCEPTED.decode()}
    return Rejection(Deny(Reason.UNSUPPORTED_ENCODING, facts), ((b"accept-encoding", ACCEPTED),))


def key_for_model() -> Rejection:
    """Models are written down with the attempt, so that no key may stand there."""
    return rejected(Reason.INVALID_REQUEST, detail="a key stands where the model's name belongs.", param="model")


def upstream_reason(error: Exception) -> Reason:
    """502, or 504 when the provider took too long."""
    return Reason.PROVIDER_TIMEOUT if isinstance(error, UpstreamTimeout) else Reason.PROVIDER_UNREACHABLE


def upstream_failed(provider: str, error: Exception) -> Rejection:
    """No answer, or none that can be passed on."""
    return rejected(upstream_reason(error), provider=provider, detail=str(error))


def public_text(deny: Deny) -> str:
    """The sentence for people."""
    return ERRORS[deny.reason].text.format(**deny.text_values())


def response(refused: Rejection, dialect: str, request_id: str) -> Response:
    """The refusal as its caller's SDK understands it."""
    deny = refused.deny
    spec = ERRORS[deny.reason]
    status = spec.status if refused.status is None else refused.status
    body = DIALECTS[dialect].refusal(status, deny.reason.value, public_text(deny), request_id, deny.facts)
    headers: list[Header] = [
        (b"content-type", b"application/json"),
        (b"x-router-error", deny.reason.value.encode()),
        (b"x-request-id", request_id.encode()),
        (b"request-id", request_id.encode()),
        *refused.headers,
    ]
    if spec.status == 503 and spec.retry:
        headers.append((b"retry-after", b"1"))  # what is being rebuilt or does not answer may be back by then
    if not spec.retry:
        headers.append((b"x-should-retry", b"false"))
    if deny.reason is Reason.INVALID_PROXY_KEY:
        headers.append((b"www-authenticate", b'Bearer realm="Enterprise Router"'))
    return Response(status, headers, body)


def rate_limited(key: KeySnapshot, result: RateLimited) -> Rejection:
    """429: `Retry-After` in whole seconds, rounded up, and the exact wait in milliseconds."""
    seconds = max(1, math.ceil(result.retry_after_seconds))
    facts: dict[str, Fact] = {
        "prefix": key.prefix,
        "limit_rpm": result.rate.limit,
        "remaining": result.rate.remaining,
        "retry_after_seconds": seconds,
        "resets_at": result.rate.resets_at,
    }
    milliseconds = max(1, math.ceil(result.retry_after_seconds * 1000))
    return Rejection(
        Deny(Reason.RATE_LIMITED, facts),
        ((b"retry-after", b"%d" % seconds), (b"retry-after-ms", b"%d" % milliseconds)),
    )


def spend_refused(key: KeySnapshot, result: SpendExceeded | SpendHeld, bound: Bound) -> Rejection:
    """403 when it cannot fit in this period; 429 when it may fit once the requests in flight have ended.

    What the request may need is explained: input, output and fees, how many of each at which price.
    """
    facts: dict[str, Fact] = {
        **spend_facts(key, result.spend),
        "needed_usd": money.to_usd(bound.nanos),
        "bound": {
            "input": _part_facts(bound.input, "tokens"),
            "output": _part_facts(bound.output, "tokens"),
            "fees": {name: _part_facts(part, _UNITS.get(name, "calls")) for name, part in bound.fees.items()},
        },
        "affordable_max_tokens": bound.affordable_output_limit,
    }
    words = {**_spend_words(key, result.spend), "made_of": _made_of(bound)}
    if isinstance(result, SpendExceeded):
        return Rejection(Deny(Reason.SPEND_EXCEEDED, facts, words))
    facts["retry_after_seconds"] = result.retry_after_seconds
    wait = b"%d" % result.retry_after_seconds
    headers = ((b"retry-after", wait), (b"retry-after-ms", wait + b"000"))
    return Rejection(Deny(Reason.SPEND_HELD, facts, words), headers)


# What fees are for that are no calls of a tool, by usage key.
_UNITS = {"audio_seconds": "seconds", "input_characters": "characters", "image_generations": "images"}


def _part_facts(part: BoundPart, unit: str) -> dict[str, Fact]:
    million = 1_000_000 if unit == "tokens" else 1_000
    price = f"usd_per_{'million' if unit == 'tokens' else 'thousand'}"
    return {unit: part.units, price: _decimal(part.usd_per_unit * million), "usd": money.to_usd(part.nanos)}


def _made_of(bound: Bound) -> str:
    """Of what a bound is made, for people, and what would fit."""
    told = [
        f"{part.units:,} tokens of {name} at ${_decimal(part.usd_per_unit * 1_000_000)} a million"
        for name, part in (("input", bound.input), ("output", bound.output))
        if part.units
    ]
    told += [
        f"{part.units:,} {name.replace('_', ' ')} at ${_decimal(part.usd_per_unit * 1_000)} a thousand"
        for name, part in bound.fees.items()
        if part.units
    ]
    fits = bound.affordable_output_limit
    ends = "" if not fits else f"; with an output limit of {fits:,} tokens it fits"
    return f" ({', '.join(told)}{ends})" if told else ""


def _decimal(value: Decimal) -> str:
    return format(value.normalize(), "f")


def spend_facts(key: KeySnapshot, spend: SpendState) -> dict[str, Fact]:
    """The facts of a spend limit."""
    return {
        "prefix": key.prefix,
        "limit_usd": None if spend.limit_nanos is None else money.to_usd(spend.limit_nanos),
        "spend_reset": key.spend_reset,
        "spent_usd": money.to_usd(spend.spent_nanos),
        "held_usd": money.to_usd(spend.held_nanos),
        "remaining_usd": None if spend.remaining_nanos is None else money.to_usd(spend.remaining_nanos),
        "period_start": None if spend.period_start == periods.FIRST_DAY else spend.period_start.isoformat(),
        "resets_at": _resets_at(spend),
    }


def _spend_words(key: KeySnapshot, spend: SpendState) -> dict[str, str]:
    resets_at = _resets_at(spend)
    return {
        "spend_reset": key.spend_reset if key.spend_reset != "never" else "in all",
        "resets": "It never resets." if resets_at is None else f"It resets at {resets_at}.",
    }


def _resets_at(spend: SpendState) -> str | None:
    return None if spend.resets_on is None else f"{spend.resets_on.isoformat()}T00:00:00Z"
