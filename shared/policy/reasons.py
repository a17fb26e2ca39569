"""Every answer that is not the provider's: one closed list, one table.

To add a refusal, add a member and its row; the docs test then asks for a section in docs/errors.md. A text may use
the facts of its `Deny` by name; a fact that is missing is a programming error and fails in tests.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The router's own error codes, as they stand in `x-router-error`."""

    INVALID_REQUEST = "invalid_request"
    REQUEST_TIMEOUT = "request_timeout"
    REQUEST_TOO_LARGE = "request_too_large"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    UPGRADE_NOT_SUPPORTED = "upgrade_not_supported"
    UPGRADE_REQUIRED = "upgrade_required"
    INVALID_PROXY_KEY = "invalid_proxy_key"
    KEY_REVOKED = "key_revoked"
    KEY_EXPIRED = "key_expired"
    KEY_PAUSED = "key_paused"
    IP_BLOCKED = "ip_blocked"
    PROVIDER_NOT_ALLOWED = "provider_not_allowed"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    ENDPOINT_NOT_METERED = "endpoint_not_metered"
    MODEL_NOT_PRICED = "model_not_priced"
    TOKENS_NOT_BOUNDED = "tokens_not_bounded"
    RATE_LIMITED = "rate_limited"
    TOKEN_RATE_LIMITED = "token_rate_limited"  # noqa: S105 - of tokens of a model
    TOO_MANY_CONCURRENT = "too_many_concurrent"
    SPEND_EXCEEDED = "spend_exceeded"
    SPEND_HELD = "spend_held"
    MODEL_SPEND_EXCEEDED = "model_spend_exceeded"
    MODEL_SPEND_HELD = "model_spend_held"
    ORGANIZATION_RATE_LIMITED = "organization_rate_limited"
    ORGANIZATION_SPEND_EXCEEDED = "organization_spend_exceeded"
    ORGANIZATION_SPEND_HELD = "organization_spend_held"
    UNKNOWN_ENDPOINT = "unknown_endpoint"
    PROVIDER_NOT_CONFIGURED = "provider_not_configured"
    PROVIDER_DISABLED = "provider_disabled"
    LIMITS_UNAVAILABLE = "limits_unavailable"
    ROUTER_BUSY = "router_busy"
    KEYS_UNAVAILABLE = "keys_unavailable"
    PROVIDER_UNREACHABLE = "provider_unreachable"
    PROVIDER_TIMEOUT = "provider_timeout"
    INTERNAL_ERROR = "internal_error"


MAY_BE_BACK_SECONDS = 1  # what is being rebuilt or does not answer may be back by then: each 503 that a retry can cure

# What tells that a provider gave no answer: nobody has refused anything.
PROVIDER_FAILURES = (Reason.PROVIDER_UNREACHABLE, Reason.PROVIDER_TIMEOUT)


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """How a reason is told: HTTP status, whether a retry can cure it, and the sentence for people."""

    status: int
    retry: bool
    text: str


ERRORS: dict[Reason, ErrorSpec] = {
    Reason.INVALID_REQUEST: ErrorSpec(400, False, "The request is not valid: {detail}"),
    Reason.REQUEST_TIMEOUT: ErrorSpec(408, True, "The rest of the request did not arrive in time."),
    Reason.REQUEST_TOO_LARGE: ErrorSpec(413, False, "The request is larger than {limit_bytes} bytes."),
    Reason.METHOD_NOT_ALLOWED: ErrorSpec(405, False, "{detail}"),
    Reason.UNSUPPORTED_ENCODING: ErrorSpec(
        415, False, "A body with the Content-Encoding {encoding} cannot be read here. Accepted: {accepted}."
    ),
    Reason.UPGRADE_NOT_SUPPORTED: ErrorSpec(426, False, "{detail}"),
    Reason.UPGRADE_REQUIRED: ErrorSpec(426, False, "{detail}"),
    Reason.INVALID_PROXY_KEY: ErrorSpec(401, False, "{detail}"),
    Reason.KEY_REVOKED: ErrorSpec(
        403, False, "The proxy key {prefix}... was revoked and cannot be used any more. Ask for a new key."
    ),
    Reason.KEY_EXPIRED: ErrorSpec(403, False, "The proxy key {prefix}... expired at {expires_at}."),
    Reason.KEY_PAUSED: ErrorSpec(
        403,
        False,
        "The proxy key {prefix}... is paused. It is refused until a member or an administrator of your organisation "
        "resumes it in the router's dashboard.",
    ),
    Reason.IP_BLOCKED: ErrorSpec(
        403,
        False,
        "The proxy key {prefix}... may not be used from {client_ip}: the address is not in its list.",
    ),
    Reason.PROVIDER_NOT_ALLOWED: ErrorSpec(
        403,
        False,
        "The proxy key {prefix}... may not use the provider {provider}. Allowed: {allowed_providers}.",
    ),
    Reason.MODEL_NOT_ALLOWED: ErrorSpec(
        403, False, "The proxy key {prefix}... may not use {model}. Allowed: {allowed_models}."
    ),
    Reason.ENDPOINT_NOT_METERED: ErrorSpec(
        403,
        False,
        "The cost of this endpoint cannot be metered, and {limit}. To reach it, {way_out}.",
    ),
    Reason.MODEL_NOT_PRICED: ErrorSpec(
        403,
        False,
        "{what}, and {limit}. {cure}, or {way_out}.",
    ),
    Reason.TOKENS_NOT_BOUNDED: ErrorSpec(
        403,
        False,
        "Nobody can tell in advance how many tokens {what} uses, and the proxy key {prefix}... is limited to "
        "{rate_limit_tpm} tokens per minute. {cure} a key without that limit.",
    ),
    Reason.RATE_LIMITED: ErrorSpec(
        429,
        True,
        "The proxy key {prefix}... is limited to {rate_limit_rpm} requests per minute. "
        "The next one is admitted in {retry_after_seconds} s.",
    ),
    Reason.TOKEN_RATE_LIMITED: ErrorSpec(
        429,
        True,
        "The proxy key {prefix}... is limited to {rate_limit_tpm} tokens per minute. Left: {remaining_tokens}; this "
        "request may need up to {needed_tokens}{made_of}. {admitted}",
    ),
    Reason.TOO_MANY_CONCURRENT: ErrorSpec(
        429,
        True,
        "The proxy key {prefix}... may have {max_concurrent_requests} requests in flight at once, and has "
        "{requests_in_flight}. One more is admitted once one of them has ended.",
    ),
    Reason.SPEND_EXCEEDED: ErrorSpec(
        403,
        False,
        "The proxy key {prefix}... may spend ${limit_usd} ({spend_reset}{raised}). Spent: ${spent_usd}, held by "
        "requests in flight: ${held_usd}, this request may need up to ${needed_usd}{made_of}. {resets}",
    ),
    Reason.SPEND_HELD: ErrorSpec(
        429,
        True,
        "The proxy key {prefix}... may spend ${limit_usd} ({spend_reset}{raised}). Spent: ${spent_usd}, held by "
        "requests in flight: ${held_usd}, this request may need up to ${needed_usd}{made_of}. It may fit once those "
        "end. {resets}",
    ),
    Reason.MODEL_SPEND_EXCEEDED: ErrorSpec(
        403,
        False,
        "The proxy key {prefix}... may spend ${spend_limit_usd} on models matching {model_limit} ({spend_reset}). "
        "Spent: ${spent_usd}, held by requests in flight: ${held_usd}, this request may need up to "
        "${needed_usd}{made_of}. {resets}",
    ),
    Reason.MODEL_SPEND_HELD: ErrorSpec(
        429,
        True,
        "The proxy key {prefix}... may spend ${spend_limit_usd} on models matching {model_limit} ({spend_reset}). "
        "Spent: ${spent_usd}, held by requests in flight: ${held_usd}, this request may need up to "
        "${needed_usd}{made_of}. It may fit once those end. {resets}",
    ),
    Reason.ORGANIZATION_RATE_LIMITED: ErrorSpec(
        429,
        True,
        "All keys of the organisation of the proxy key {prefix}... are limited together to {rate_limit_rpm} requests "
        "per minute. The next one is admitted in {retry_after_seconds} s.",
    ),
    Reason.ORGANIZATION_SPEND_EXCEEDED: ErrorSpec(
        403,
        False,
        "All keys of the organisation of the proxy key {prefix}... may spend ${spend_limit_usd} together "
        "({spend_reset}). Spent: ${spent_usd}, held by requests in flight: ${held_usd}, this request may need up to "
        "${needed_usd}{made_of}. {resets}",
    ),
    Reason.ORGANIZATION_SPEND_HELD: ErrorSpec(
        429,
        True,
        "All keys of the organisation of the proxy key {prefix}... may spend ${spend_limit_usd} together "
        "({spend_reset}). Spent: ${spent_usd}, held by requests in flight: ${held_usd}, this request may need up to "
        "${needed_usd}{made_of}. It may fit once those end. {resets}",
    ),
    Reason.UNKNOWN_ENDPOINT: ErrorSpec(404, False, "{detail}"),
    Reason.PROVIDER_NOT_CONFIGURED: ErrorSpec(
        503, False, "No credential for {provider} is set up in the router. Ask an administrator to add one."
    ),
    Reason.PROVIDER_DISABLED: ErrorSpec(
        503, False, "The provider {provider} is switched off in the router. Ask an administrator when it will be back."
    ),
    Reason.LIMITS_UNAVAILABLE: ErrorSpec(
        503,
        True,
        "The router cannot check or record spending at the moment, so it does not send this request on.",
    ),
    Reason.ROUTER_BUSY: ErrorSpec(503, True, "The router cannot take such a large request at the moment: {detail}."),
    Reason.KEYS_UNAVAILABLE: ErrorSpec(503, True, "The router cannot look up the proxy key at the moment."),
    Reason.PROVIDER_UNREACHABLE: ErrorSpec(502, True, "{provider} could not be reached: {detail}"),
    Reason.PROVIDER_TIMEOUT: ErrorSpec(504, True, "{provider} took too long to answer: {detail}"),
    Reason.INTERNAL_ERROR: ErrorSpec(
        500, True, "The router failed on this request. It is logged under the request id."
    ),
}
