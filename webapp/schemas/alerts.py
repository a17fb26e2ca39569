"""Alerts: what people may be told of, where to, and what became of each message."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from webapp.schemas import Input, Output, Stored
from webapp.schemas.lists import FOREIGN_CURSOR, Pages, as_text, read_cursor
from webapp.schemas.values import Moment, moment_in, one_of, reachable, read_flag, refuse_secret

SPEND, UNUSED, EXPIRING = "key.spend_threshold", "key.unused", "key.expiring"
CREDENTIAL, REFUSALS, TEST = "provider.credential_refused", "organization.refusals", "test"
# By event: what it is called among people. A test is sent by hand alone, whatever a webhook has chosen.
EVENTS: Mapping[str, str] = {
    SPEND: "A key has used a part of its spend limit",
    UNUSED: "A key was not used for long",
    EXPIRING: "A key expires soon",
    CREDENTIAL: "A provider refuses our credential",
    REFUSALS: "Many requests are refused",
}
DELIVERY_STATES = ("pending", "delivered", "dead")
MAX_RECIPIENTS, MAX_WEBHOOKS, MAX_THRESHOLDS = 20, 20, 10
MAX_DAYS, MAX_REFUSALS = 365, 1_000_000_000
_LONGEST_URL = 500
# What a column holds when nothing was set; the others hold NULL.
_NO_RULES: Mapping[str, Any] = {"recipients": [], "spend_thresholds": [], "credential_refused": False}
_NO_CHOICE: Mapping[str, Any] = {"events": [], "enabled": False}
_NOT_IN_ADDRESSES = frozenset("<>,;:\"'()[]\\ ")


def _listed(raw: object, most: int) -> list[Any]:
    if not isinstance(raw, list | tuple):
        raise ValueError("must be a list")  # noqa: TRY004 - wrong input, not a wrong call
    if len(raw) > most:
        raise ValueError(f"must have at most {most} entries, not {len(raw)}")
    return list(raw)


def read_recipient(raw: object) -> str:
    """An email address, as a mail server takes one."""
    text = raw.strip() if isinstance(raw, str) else ""
    local, at, domain = text.rpartition("@")
    plain = text.isascii() and text.isprintable() and not set(text) & _NOT_IN_ADDRESSES
    if not (local and at and domain and plain) or "@" in local or len(text) > 254:
        raise ValueError("must be an email address, such as ops@example.com")
    refuse_secret(text)
    return text


def read_threshold(raw: object) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not 1 <= raw <= 100:
        raise ValueError("must be whole numbers from 1 to 100, in per cent")
    return raw


def _number(most: int) -> Callable[[object], int]:
    """A reader of a whole number from 1 on."""

    def read(raw: object) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool) or not 1 <= raw <= most:
            raise ValueError(f"must be a whole number from 1 to {most:,}, or null for never")
        return raw

    return read


def read_url(raw: object) -> str:
    """An address that is asked as it stands. Where it leads is judged when it is connected to."""
    text = raw.strip() if isinstance(raw, str) else ""
    if not text or len(text) > _LONGEST_URL or not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(f"must be an http or https address of at most {_LONGEST_URL} characters")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port or of brackets
        usable = False
    if not usable:
        raise ValueError("must be an http or https address, such as https://example.com/alerts")
    if parts.username is not None or "@" in parts.netloc or parts.fragment:
        raise ValueError("must hold neither a user, a password nor a fragment; what is sent is signed instead")
    refuse_secret(text)
    return text


def _read_event(raw: object) -> str:
    if not isinstance(raw, str) or raw not in EVENTS:
        raise ValueError(f"must be a list of some of {', '.join(EVENTS)}")
    return raw


def _once(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _in_order(values: list[str]) -> list[str]:
    return [event for event in EVENTS if event in values]


Recipients = Annotated[
    list[Annotated[str, BeforeValidator(read_recipient)]],
    BeforeValidator(lambda raw: _listed(raw, MAX_RECIPIENTS)),
    Field(max_length=MAX_RECIPIENTS),
    AfterValidator(_once),
]
Thresholds = Annotated[
    list[Annotated[int, BeforeValidator(read_threshold), Field(ge=1, le=100)]],
    BeforeValidator(lambda raw: _listed(raw, MAX_THRESHOLDS)),
    Field(max_length=MAX_THRESHOLDS),
    AfterValidator(lambda values: sorted(set(values))),
]
Events = Annotated[
    list[Annotated[str, BeforeValidator(_read_event), Field(json_schema_extra={"enum": list(EVENTS)})]],
    BeforeValidator(lambda raw: _listed(raw, len(EVENTS))),
    Field(max_length=len(EVENTS)),
    AfterValidator(_in_order),
]
Url = Annotated[
    str,
    BeforeValidator(read_url),
    AfterValidator(reachable("ROUTER_ALERTS_PRIVATE_ADDRESSES", lambda url: urlsplit(url).hostname or "")),
    Field(max_length=_LONGEST_URL),
]
Days = Annotated[int, BeforeValidator(_number(MAX_DAYS)), Field(ge=1, le=MAX_DAYS)]
Refusals = Annotated[int, BeforeValidator(_number(MAX_REFUSALS)), Field(ge=1, le=MAX_REFUSALS)]
_Flag = Annotated[bool, BeforeValidator(read_flag)]


def _has_ended(said: Any, served: Mapping[str, Any]) -> bool:
    """Whether there was an old secret that signs no more."""
    return served["previous_secret_until"] is None and moment_in(said) is not None


class AlertsPatch(Stored):
    """A merge patch: what is absent stays, null is nothing."""

    read_only: ClassVar = frozenset(("mail",))
    nothing = _NO_RULES

    recipients: Recipients | None = Field(default=None, description="Who gets mail about every event.")
    spend_thresholds: Thresholds | None = Field(
        default=None, description="Per cent of a key's spend limit; each is told once a period. Empty: none."
    )
    unused_days: Days | None = Field(default=None, description="Without a request, after which a key is told of.")
    expiring_days: Days | None = Field(default=None, description="Before a key expires.")
    credential_refused: _Flag | None = Field(
        default=None, description="Whether a provider that answers 401 or 403 is told of, once a day."
    )
    refusals_per_10_minutes: Refusals | None = Field(
        default=None, description="Refused requests of all keys, from which on it is told, once an hour."
    )


class AlertsInfo(Output):
    """What the organisation is told of, and by mail to whom."""

    recipients: tuple[str, ...]
    spend_thresholds: tuple[int, ...]
    unused_days: int | None
    expiring_days: int | None
    credential_refused: bool
    refusals_per_10_minutes: int | None
    mail: bool = Field(description="Whether the router has a mail server (ROUTER_SMTP_URL).")


class KeyAlertsPatch(Input):
    """Thresholds of one key, in the place of the organisation's."""

    spend_thresholds: Thresholds | None = Field(description="Null: those of the organisation. Empty: none.")


class KeyAlerts(Output):
    """The thresholds that a key is told of at."""

    spend_thresholds: tuple[int, ...] | None = Field(description="Null: those of the organisation.")


class NewWebhook(Input):
    """An address that is to be told of events."""

    url: Url = Field(description="http or https. Addresses that are not public are refused, unless the router allows.")
    events: Events = Field(default_factory=list, description="Empty: all.")


class WebhookPatch(Stored):
    """A merge patch: what is absent stays."""

    read_only: ClassVar = frozenset(("id", "created_at", "created_by", "previous_secret_until"))
    moving: ClassVar = {"previous_secret_until": _has_ended}
    nothing = _NO_CHOICE

    url: Url = Field(default_factory=str)
    events: Events | None = Field(default=None, description="Empty or null: all.")
    enabled: _Flag | None = Field(default=None, description="False: nothing new is sent there.")


class Webhook(Output):
    """A webhook, without its secret and without its whole address, which may be as good as one."""

    id: str
    url: str = Field(
        description="Where it leads and its last 4 signs. Sent back like this it changes nothing.",
        examples=["https://hooks.example.com/…c1a2"],
    )
    events: tuple[str, ...] = Field(description="Empty: all.")
    enabled: bool
    created_at: Moment
    created_by: str
    previous_secret_until: Moment | None = Field(description="Until then the secret before signs as well.")


class CreatedWebhook(Webhook):
    """A webhook, and its secret at the only moment that it can be seen."""

    secret: str = Field(description="The secret, this once.", examples=["whsec_..."])


class WebhookList(Output):
    """All webhooks, the newest first."""

    data: list[Webhook]


class DeliveryQuery(Pages):
    """Which messages, the newest first."""

    status: (
        Annotated[str, BeforeValidator(one_of(*DELIVERY_STATES)), Field(json_schema_extra={"enum": [*DELIVERY_STATES]})]
        | None
    ) = Field(default=None, description="Only messages in this state.")

    def place(self) -> tuple[str] | None:
        """The id of the last message of the page before."""
        if self.cursor is None:
            return None
        kind, delivery_id = read_cursor(self.cursor)
        if kind != "deliveries":
            raise ValueError(FOREIGN_CURSOR)
        return (as_text(delivery_id),)


class Delivery(Output):
    """A message about one or more alerts to one receiver."""

    id: str = Field(description="The same at every attempt: `webhook-id`, or a part of `Message-ID`.")
    channel: Literal["email", "webhook"]
    target: str = Field(description="An email address, or the id of a webhook.")
    event: str = Field(description="Of the first alert in it.")
    alerts: tuple[str, ...] = Field(description="The ids of the alerts that it tells one by one.")
    more: int = Field(description="How many others a mail about many things tells in numbers alone.")
    status: Literal["pending", "delivered", "dead"]
    attempts: int
    created_at: Moment
    next_at: Moment | None = Field(description="When it is tried next. Null: never.")
    ended_at: Moment | None
    response_status: int | None = Field(description="Of the last attempt. Null: it was not answered.")
    error: str | None


class DeliveryList(Output):
    """A page of messages."""

    data: list[Delivery]
    has_more: bool
    next_cursor: str | None


class SentTest(Output):
    """What was put on its way to try the receivers."""

    data: list[Delivery]
