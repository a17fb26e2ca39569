"""What people are told of a refusal: a title, its cause in plain words, and what to do about it.

The one source of these sentences: pages show them, and `docs/errors.md` repeats them, which a test holds to it. The
sentence that the app was sent has the figures; these have none.
"""

from dataclasses import dataclass
from typing import Literal

from shared.policy import Reason

# What can be done in the dashboard at once, by whoever may change the key.
Cure = Literal["edit", "resume", "none"]


@dataclass(frozen=True, slots=True)
class RefusalHelp:
    """For people who manage keys. `title` has no full stop, and is short enough for a badge.

    `lasting`: until somebody changes the key or the router, such requests are refused again.
    """

    title: str
    cause: str
    remedy: str
    cure: Cure = "none"
    lasting: bool = False


HELP: dict[Reason, RefusalHelp] = {
    Reason.INVALID_REQUEST: RefusalHelp(
        "Not understood",
        "The request could not be read, or could be read in two ways.",
        "The app's developer mends the place that the message names. Where no provider is known for a model, the "
        "provider has to stand before it, as in openai/gpt-4o.",
    ),
    Reason.REQUEST_TIMEOUT: RefusalHelp(
        "Arrived too slowly",
        "The rest of the request did not arrive in time.",
        "Try again. If it stays, look at the network between the app and the router.",
    ),
    Reason.REQUEST_TOO_LARGE: RefusalHelp(
        "Too large",
        "The request is larger than the router takes.",
        "Send fewer or smaller images and files, or upload files first and name them by their id.",
    ),
    Reason.METHOD_NOT_ALLOWED: RefusalHelp(
        "Wrong method",
        "The address exists, but not for this HTTP method.",
        "The app's developer uses one of the methods that the message names. A web page may not call the router "
        "itself: call it from a server, so that the key is in no browser.",
    ),
    Reason.UNSUPPORTED_ENCODING: RefusalHelp(
        "Unknown compression",
        "The request is compressed in a way that is not read here.",
        "Send it plain, or in one of the ways that the message names.",
    ),
    Reason.UPGRADE_NOT_SUPPORTED: RefusalHelp(
        "No WebSocket here",
        "The app asked for a WebSocket where none is spoken, or for a session whose cost cannot be known.",
        "Use the API over HTTP, with streaming where answers should come in pieces.",
    ),
    Reason.UPGRADE_REQUIRED: RefusalHelp(
        "WebSocket only",
        "Only a WebSocket is spoken at this address.",
        "Use the provider's official SDK for it, which opens one.",
    ),
    Reason.INVALID_PROXY_KEY: RefusalHelp(
        "Unknown key",
        "There was no key, a mistyped one, one that was rotated out, or two different ones.",
        "Give the app the whole key, and look for a second key in its environment. If the key is lost, rotate it.",
        lasting=True,
    ),
    Reason.KEY_REVOKED: RefusalHelp(
        "Key revoked",
        "The key was revoked, which is for ever.",
        "Create another key for the app. The history of this one tells who revoked it, and when.",
        lasting=True,
    ),
    Reason.KEY_EXPIRED: RefusalHelp(
        "Key expired",
        "The key's time is over.",
        "Edit the key and set a later expiry, which holds for the next request.",
        "edit",
        lasting=True,
    ),
    Reason.KEY_PAUSED: RefusalHelp(
        "Key paused",
        "Somebody has stopped the key for now.",
        "Resume the key, which holds for the next request.",
        "resume",
        lasting=True,
    ),
    Reason.IP_BLOCKED: RefusalHelp(
        "Address not allowed",
        "The request came from an address that is not in the key's list.",
        "If the address is right, add it to the allowed addresses of the key. If it is that of a load balancer of your "
        "own, an administrator names that one in ROUTER_TRUSTED_PROXIES.",
        "edit",
        lasting=True,
    ),
    Reason.PROVIDER_NOT_ALLOWED: RefusalHelp(
        "Provider not allowed",
        "The app asked for a provider that this key may not use.",
        "Tick the provider among the allowed providers of the key, or have the app use another one.",
        "edit",
        lasting=True,
    ),
    Reason.MODEL_NOT_ALLOWED: RefusalHelp(
        "Model not allowed",
        "The app asked for a model that no pattern of this key covers, or named none.",
        "Add the model to the allowed models of the key (upper and lower case matter), or have the app use one of "
        "them.",
        "edit",
        lasting=True,
    ),
    Reason.ENDPOINT_NOT_METERED: RefusalHelp(
        "Cost cannot be known",
        "Nobody can tell what this endpoint costs, and the key or its organisation has a spend limit, or the key a "
        "limit of tokens per minute.",
        "Use a key without such a limit for it, in an organisation without one.",
        "edit",
        lasting=True,
    ),
    Reason.MODEL_NOT_PRICED: RefusalHelp(
        "No price known",
        "The model, or something that the request asks for, has no known price, and the key or its organisation has a "
        "spend limit.",
        "An administrator adds a price. Or leave the feature out, or use a key without a spend limit.",
        "edit",
        lasting=True,
    ),
    Reason.TOKENS_NOT_BOUNDED: RefusalHelp(
        "Tokens cannot be known",
        "Nobody can tell in advance how many tokens something takes that the request asks for, and the key has a limit "
        "of tokens per minute.",
        "Leave it out, or use a key without a limit of tokens per minute.",
        "edit",
        lasting=True,
    ),
    Reason.RATE_LIMITED: RefusalHelp(
        "Rate limit reached",
        "The last 60 seconds held as many requests as the key may send in them.",
        "Most apps try again by themselves. If it stays, spread the requests or raise the requests per minute; all "
        "apps with this key share them.",
        "edit",
    ),
    Reason.TOKEN_RATE_LIMITED: RefusalHelp(
        "Token limit reached",
        "The last 60 seconds and the most that this request may use hold more tokens than the key may use in them.",
        "Most apps try again by themselves. If it stays, set output limits (max_tokens) near to what is needed, or "
        "raise the tokens per minute; all apps with this key share them. A request that is larger than the whole limit "
        "is never admitted.",
        "edit",
    ),
    Reason.TOO_MANY_CONCURRENT: RefusalHelp(
        "Too many at once",
        "As many requests of the key were in flight as may be at the same time.",
        "Most apps try again by themselves. If it stays, have the app send fewer requests at once, or raise the "
        "requests at once; all apps with this key share them.",
        "edit",
    ),
    Reason.SPEND_EXCEEDED: RefusalHelp(
        "Too little left",
        "What is spent, and the most that this request can cost, are together over the limit.",
        "Raise the spend limit, which holds for the next request, or wait until it resets, if it does. A request with "
        "a smaller output limit (max_tokens) needs less.",
        "edit",
        lasting=True,
    ),
    Reason.SPEND_HELD: RefusalHelp(
        "Limit held for now",
        "It fits once requests that are running now turn out cheaper than they may be at most.",
        "Most apps try again by themselves. If it stays, set output limits (max_tokens) near to what is needed, or "
        "raise the spend limit.",
        "edit",
    ),
    Reason.MODEL_SPEND_EXCEEDED: RefusalHelp(
        "Model limit used up",
        "What is spent on the models of one of its limits, and the most that this request can cost, are together over "
        "that limit.",
        "Raise the limit for these models, which holds for the next request, or wait until it resets. A request with a "
        "smaller output limit (max_tokens) needs less, and other models are not affected.",
        "edit",
        lasting=True,
    ),
    Reason.MODEL_SPEND_HELD: RefusalHelp(
        "Model limit held",
        "It fits the limit for its model once requests that are running now turn out cheaper than they may be at most.",
        "Most apps try again by themselves. If it stays, set output limits (max_tokens) near to what is needed, or "
        "raise the limit for these models.",
        "edit",
    ),
    Reason.ORGANIZATION_RATE_LIMITED: RefusalHelp(
        "Organisation's rate reached",
        "The last 60 seconds held as many requests as all keys of the organisation may send in them together.",
        "Most apps try again by themselves. If it stays, an administrator raises the organisation's requests per "
        "minute, or gives the busiest keys a rate limit of their own.",
    ),
    Reason.ORGANIZATION_SPEND_EXCEEDED: RefusalHelp(
        "Organisation's budget used up",
        "What all keys have spent, and the most that this request can cost, are together over the organisation's spend "
        "limit.",
        "An administrator raises that limit in the settings, which holds for the next request; or wait until it "
        "resets. A request with a smaller output limit (max_tokens) needs less.",
        lasting=True,
    ),
    Reason.ORGANIZATION_SPEND_HELD: RefusalHelp(
        "Organisation's budget held",
        "It fits the organisation's spend limit once requests that are running now turn out cheaper than they may be "
        "at most.",
        "Most apps try again by themselves. If it stays, set output limits (max_tokens) near to what is needed, or "
        "have an administrator raise that limit.",
    ),
    Reason.UNKNOWN_ENDPOINT: RefusalHelp(
        "Wrong address",
        "The path leads nowhere, mostly for a slip in the base address.",
        "Compare the base address of the app with the examples on the page of the key. The message names the path that "
        "would work.",
    ),
    Reason.PROVIDER_NOT_CONFIGURED: RefusalHelp(
        "Provider without a credential",
        "The router has no credential of the provider, or none that it can open.",
        "An administrator adds one.",
        lasting=True,
    ),
    Reason.PROVIDER_DISABLED: RefusalHelp(
        "Provider switched off",
        "An administrator has switched this provider of your own off.",
        "On the page Providers it can be switched on again.",
        lasting=True,
    ),
    Reason.LIMITS_UNAVAILABLE: RefusalHelp(
        "Limits unavailable",
        "The router could not check or record spending at that moment.",
        "Try again. If it stays, an administrator asks the proxy's /readyz, which names what is missing.",
    ),
    Reason.ROUTER_BUSY: RefusalHelp(
        "Too many large requests",
        "The request is large, and for a minute there was no room for it.",
        "Try again, and spread large requests.",
    ),
    Reason.KEYS_UNAVAILABLE: RefusalHelp(
        "Keys unavailable",
        "The router's database did not answer.",
        "Try again. If it stays, an administrator looks at the database.",
    ),
    Reason.PROVIDER_UNREACHABLE: RefusalHelp(
        "Provider not reached",
        "There was no connection to the provider, or it broke before an answer began.",
        "Try again. If it stays, look at the provider's status page, and whether the router's machine may connect to "
        "it.",
    ),
    Reason.PROVIDER_TIMEOUT: RefusalHelp(
        "Provider too slow",
        "The provider was too slow to connect, to answer or to go on.",
        "Try again, but the provider may bill the first try. For long answers have the app use streaming.",
    ),
    Reason.INTERNAL_ERROR: RefusalHelp(
        "Fault of the router",
        "The router failed on this request.",
        "Report it with the request id, under which it is logged. Try again.",
    ),
}


def help_of(reason: str) -> RefusalHelp:
    """The words for a reason as the database has it; one of a later release is told by its code."""
    try:
        return HELP[Reason(reason)]
    except ValueError:
        return RefusalHelp(reason, "The message tells the cause.", "Look the code up in docs/errors.md.")
