"""Each refusal for the staff of an organisation: its cause in two or three words, and what they can do about it.

What the app is told stands in `shared.policy.reasons`; this is for those who can edit the key. A row for each reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.policy import Reason


@dataclass(frozen=True, slots=True)
class Remedy:
    """`lasting`: until somebody changes the key or the router, such requests are refused again."""

    cause: str
    cure: str
    lasting: bool = False


_APP = "Nothing of the key is wrong: show the message to the developer of the app."
_WAIT = "It passes by itself. If it comes often, tell an administrator of the router."

REMEDIES: Mapping[str, Remedy] = {
    Reason.INVALID_REQUEST: Remedy("Invalid request", _APP),
    Reason.REQUEST_TIMEOUT: Remedy("Request too slow", _APP),
    Reason.REQUEST_TOO_LARGE: Remedy("Request too large", _APP),
    Reason.METHOD_NOT_ALLOWED: Remedy("Wrong method", _APP),
    Reason.UNSUPPORTED_ENCODING: Remedy("Unknown encoding", _APP),
    Reason.UPGRADE_NOT_SUPPORTED: Remedy("No WebSocket here", _APP),
    Reason.UPGRADE_REQUIRED: Remedy("WebSocket only", _APP),
    Reason.UNKNOWN_ENDPOINT: Remedy("Unknown address", "Compare the base address in the app with the snippets."),
    Reason.INVALID_PROXY_KEY: Remedy("Wrong secret", "Give the app the whole secret, or rotate the key.", lasting=True),
    Reason.KEY_REVOKED: Remedy("Revoked", "Create another key if the app still needs one.", lasting=True),
    Reason.KEY_EXPIRED: Remedy("Expired", "Edit the key and set a later expiry.", lasting=True),
    Reason.KEY_PAUSED: Remedy("Paused", "Resume the key when it may work again.", lasting=True),
    Reason.IP_BLOCKED: Remedy(
        "Address not allowed", "Edit the key and add this address, if the app may call from there.", lasting=True
    ),
    Reason.PROVIDER_NOT_ALLOWED: Remedy(
        "Provider not allowed", "Edit the key and tick this provider, if the app may use it.", lasting=True
    ),
    Reason.MODEL_NOT_ALLOWED: Remedy(
        "Model not allowed", "Edit the key and add this model, or have the app use one of the allowed.", lasting=True
    ),
    Reason.ENDPOINT_NOT_METERED: Remedy(
        "Cost unknown",
        "Use a key without a spend limit for this endpoint: nobody can tell what it costs.",
        lasting=True,
    ),
    Reason.MODEL_NOT_PRICED: Remedy(
        "No price known", "Ask an administrator to add a price, or use a key without a spend limit.", lasting=True
    ),
    Reason.RATE_LIMITED: Remedy("Rate limit reached", "Raise its requests per minute, or have the app slow down."),
    Reason.SPEND_EXCEEDED: Remedy(
        "Too little left",
        "Raise the limit, wait until it resets, or have the app set a lower output limit.",
        lasting=True,
    ),
    Reason.SPEND_HELD: Remedy(
        "Limit held", "It fits once requests in flight have ended. Raise the limit if that comes often."
    ),
    Reason.PROVIDER_NOT_CONFIGURED: Remedy(
        "No credential", "An administrator has to add a credential of this provider.", lasting=True
    ),
    Reason.LIMITS_UNAVAILABLE: Remedy("Limits unavailable", _WAIT),
    Reason.ROUTER_BUSY: Remedy("Router busy", _WAIT),
    Reason.KEYS_UNAVAILABLE: Remedy("Keys unavailable", _WAIT),
    Reason.PROVIDER_UNREACHABLE: Remedy("Provider unreachable", _WAIT),
    Reason.PROVIDER_TIMEOUT: Remedy("Provider too slow", _WAIT),
    Reason.INTERNAL_ERROR: Remedy("Error in the router", _WAIT),
}
