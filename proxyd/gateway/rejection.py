"""Turning a `Deny` into a response: one envelope a dialect, the same facts in the text, as fields and as headers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from proxyd.gateway.destinations import NeedsUpgrade, NoUpgrade
from proxyd.gateway.payload import MAX_JSON_BYTES
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
from shared import hints, judgement, routing
from shared.catalog import Provider
from shared.counters import (
    ModelRefused,
    OrganizationRefused,
    RateLimited,
    Refusal,
    SpendHeld,
    SpendState,
    TokenRateLimited,
    TooManyConcurrent,
)
from shared.labels import HEADER
from shared.policy import ERRORS, MAY_BE_BACK_SECONDS, Deny, Fact, KeySnapshot, Reason
from shared.pricing import Bound, TokenBound
from shared.routing import Unknown, WrongMethod

# Whose room is taken: of money and of tokens, which a smaller request may still fit, and of requests.
SPEND = (
    Reason.SPEND_EXCEEDED,
    Reason.SPEND_HELD,
    Reason.MODEL_SPEND_EXCEEDED,
    Reason.MODEL_SPEND_HELD,
    Reason.ORGANIZATION_SPEND_EXCEEDED,
    Reason.ORGANIZATION_SPEND_HELD,
)
NEEDS = (*SPEND, Reason.TOKEN_RATE_LIMITED)
RATES = (Reason.RATE_LIMITED, Reason.TOO_MANY_CONCURRENT, Reason.ORGANIZATION_RATE_LIMITED)
# What is found in a request while it is read, before its key is compared with what the counters know of it.
OF_THE_REQUEST = frozenset(
    (
        Reason.INVALID_REQUEST,
        Reason.METHOD_NOT_ALLOWED,
        Reason.REQUEST_TIMEOUT,
        Reason.REQUEST_TOO_LARGE,
        Reason.ROUTER_BUSY,
        Reason.UNKNOWN_ENDPOINT,
        Reason.UNSUPPORTED_ENCODING,
        Reason.UPGRADE_NOT_SUPPORTED,
        Reason.UPGRADE_REQUIRED,
    )
)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refusal and the headers that belong to it beside the common ones."""

    deny: Deny
    headers: tuple[Header, ...] = ()
    status: int | None = None  # more exact than the reason's own


def does_not_fit(result: object, for_want_of: tuple[Reason, ...] = NEEDS) -> TypeGuard[Rejection]:
    """Whether it is a refusal for money, or for tokens: a request that may need less could be admitted."""
    return isinstance(result, Rejection) and result.deny.reason in for_want_of


def rejected(reason: Reason, **facts: Fact) -> Rejection:
    return Rejection(Deny(reason, facts))


def rejected_request(error: RequestError) -> Rejection:
    """What is wrong with a request that could not be read."""
    if isinstance(error, RequestTooLarge):
        limit_bytes = MAX_JSON_BYTES if error.limit_bytes is None else error.limit_bytes
        return rejected(Reason.REQUEST_TOO_LARGE, limit_bytes=limit_bytes)
    if isinstance(error, RequestTimeout):
        return rejected(Reason.REQUEST_TIMEOUT)
    return Rejection(Deny(Reason.INVALID_REQUEST, {"detail": f"{error}."}), status=error.status)


def nowhere(route: Unknown | WrongMethod | NoUpgrade | NeedsUpgrade) -> Rejection:
    """The address leads nowhere, or not this way."""
    if isinstance(route, WrongMethod):
        return Rejection(routing.nowhere(route), ((b"allow", ", ".join(route.methods).encode()),))
    if isinstance(route, NoUpgrade):
        return rejected(Reason.UPGRADE_NOT_SUPPORTED, detail=hints.NO_WEBSOCKET)
    if isinstance(route, NeedsUpgrade):
        return upgrade_required(hints.ONLY_WEBSOCKET)
    return Rejection(routing.nowhere(route))


def bad_label(fault: str) -> Rejection:
    """The client's label of its request cannot be kept; what stands there is not repeated."""
    return rejected(Reason.INVALID_REQUEST, detail=f"the header {HEADER} {fault}.", param=HEADER)


def upgrade_required(detail: str) -> Rejection:
    """RFC 9110, section 15.5.22, and RFC 6455, section 4.4: the answer tells what must be spoken."""
    headers = ((b"upgrade", b"websocket"), (b"sec-websocket-version", b"13"))
    return Rejection(Deny(Reason.UPGRADE_REQUIRED, {"detail": detail}), headers)


def unsupported_encoding(coding: bytes) -> Rejection:
    """RFC 9110, section 15.5.16: the answer tells what would have been accepted."""
    shown = coding[:80].decode("latin-1")
    facts: dict[str, Fact] = {"encoding": shown, "accepted": ACCEPTED.decode().split(", ")}
    return Rejection(Deny(Reason.UNSUPPORTED_ENCODING, facts), ((b"accept-encoding", ACCEPTED),))


def two_models() -> Rejection:
    """The query names another model than what was judged; which of them the provider would heed nobody knows."""
    return rejected(
        Reason.INVALID_REQUEST, detail="the parameter model names another model than the request.", param="model"
    )


def key_for_model() -> Rejection:
    """Models are written down with the attempt, so that no key may stand there."""
    return rejected(Reason.INVALID_REQUEST, detail="a key stands where the model's name belongs.", param="model")


def upstream_reason(error: Exception) -> Reason:
    """502, or 504 when the provider took too long."""
    return Reason.PROVIDER_TIMEOUT if isinstance(error, UpstreamTimeout) else Reason.PROVIDER_UNREACHABLE


def upstream_failed(provider: Provider, error: Exception) -> Rejection:
    """No answer, or none that can be passed on."""
    return provider_failed(provider, upstream_reason(error), str(error))


def provider_failed(provider: Provider, reason: Reason, detail: str) -> Rejection:
    """What is told of a provider that did not do what it was asked for."""
    return Rejection(Deny(reason, {"provider": provider.slug, "detail": detail}, {"provider": provider.label}))


def response(refused: Rejection, dialect: str, request_id: str) -> Response:
    """The refusal as its caller's SDK understands it."""
    deny = refused.deny
    spec = ERRORS[deny.reason]
    status = spec.status if refused.status is None else refused.status
    body = DIALECTS[dialect].refusal(status, deny.reason.value, deny.sentence(), request_id, deny.fields)
    headers: list[Header] = [
        (b"content-type", b"application/json"),
        (b"x-router-error", deny.reason.value.encode()),
        (b"x-request-id", request_id.encode()),
        (b"request-id", request_id.encode()),
        *refused.headers,
    ]
    if spec.status == 503 and deny.retry:
        headers.append((b"retry-after", b"%d" % MAY_BE_BACK_SECONDS))
    if not deny.retry:
        headers.append((b"x-should-retry", b"false"))
    if deny.reason is Reason.INVALID_PROXY_KEY:
        headers.append((b"www-authenticate", b'Bearer realm="Enterprise Router"'))
    return Response(status, headers, body)


def refused(
    key: KeySnapshot,
    result: Refusal,
    bound: Callable[[SpendState], Bound],
    tokens: Callable[[int], TokenBound | None] | None = None,
) -> Rejection:
    """What the counters have refused: 403, or 429 with the wait after which it is worth another try.

    `Retry-After` in whole seconds, rounded up, and the exact wait in milliseconds. What needs more tokens than a minute
    has is 429 as well, and says that no retry cures it.
    """
    refusal = result.refusal if isinstance(result, ModelRefused | OrganizationRefused) else result
    if isinstance(refusal, TokenRateLimited):
        deny = judgement.refused(key, result, bound, tokens)
        if refusal.retry_after_seconds is None:
            return Rejection(deny)
        return Rejection(deny, _wait_headers(refusal.retry_after_seconds))
    if isinstance(refusal, RateLimited | SpendHeld):
        wait: float = refusal.retry_after_seconds
    elif isinstance(refusal, TooManyConcurrent):
        wait = judgement.CONCURRENT_WAIT_SECONDS
    else:
        return Rejection(judgement.refused(key, result, bound))
    return Rejection(judgement.refused(key, result, bound), _wait_headers(wait))


def _wait_headers(wait: float) -> tuple[Header, ...]:
    seconds, milliseconds = max(1, math.ceil(wait)), max(1, math.ceil(wait * 1000))
    return (b"retry-after", b"%d" % seconds), (b"retry-after-ms", b"%d" % milliseconds)
