"""What receivers are told: the body of a webhook and its signature, the subject and the text of a mail. Pure.

Webhooks are signed as https://www.standardwebhooks.com says (version 1.0.0), so that its libraries verify them: the id
of the message, the second of the attempt and the body, each with a point between them, by HMAC-SHA256.
"""

import base64
import hmac
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

from shared.catalog import PROVIDERS
from webapp.actions.webhooks import SECRET_TAG
from webapp.schemas.alerts import CREDENTIAL, EVENTS, EXPIRING, REFUSALS, SPEND, UNUSED
from webapp.schemas.values import to_json_moment

PRODUCT = "Enterprise Router"
WINDOW_MINUTES = 10  # in which refusals are counted
FEW = 10  # things; a mail about more says first how many of what
_GAP = "\N{ZERO WIDTH SPACE}"
# In the order in which they are replaced. Slack: https://docs.slack.dev/messaging/formatting-message-text#escaping
_HARMLESS = (
    ("&", "&amp;"),
    ("<", "&lt;"),  # <!channel>, <@user>, <https://...|words>
    (">", "&gt;"),
    ("@", f"@{_GAP}"),  # @everyone and @here, of Discord and others
    ("://", f":{_GAP}//"),  # what would become a link
    ("](", f"]{_GAP}("),  # [words](address) of Markdown
)


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert as it is told."""

    id: str
    org_id: str
    event: str
    at: datetime
    facts: Mapping[str, Any]


def body_of(alert: AlertView) -> bytes:
    """What a webhook is sent: the same bytes at every attempt. `text` is what chat services show.

    They also take it for commands, so names that people chose are made harmless there. In `data` they are as they are.
    """
    facts = {name: _harmless(fact) if isinstance(fact, str) else fact for name, fact in alert.facts.items()}
    told = {
        "type": alert.event,
        "timestamp": to_json_moment(alert.at),
        "id": alert.id,
        "organization_id": alert.org_id,
        "text": sentence_of(replace(alert, facts=facts)),
        "data": dict(alert.facts),
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def signature_headers(secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers by which a receiver knows who sent this, and that it is no older message that is sent again."""
    second = str(int(at.timestamp()))
    signed = b".".join((message_id.encode(), second.encode(), body))
    signatures = [hmac.digest(base64.b64decode(one.removeprefix(SECRET_TAG)), signed, "sha256") for one in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": second,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in signatures),
    }


def mail_of(
    message_id: str,
    alerts: Sequence[AlertView],
    more: Mapping[str, int],
    sender: str,
    recipient: str,
    organization: str,
    url: str | None,
) -> EmailMessage:
    """A mail about some alerts, and how many `more` there were of each event.

    Its Message-ID is the same at every attempt, so that a second copy is known as one.
    """
    first, others = alerts[0], len(alerts) - 1 + sum(more.values())
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, recipient
    mail["Subject"] = f"{PRODUCT}: {_title(first.event)}" + (f" (and {others:,} more)" if others else "")
    mail["Date"] = format_datetime(first.at)
    mail["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence is told to us
    lines = [f"- {sentence_of(alert)}" for alert in alerts]
    if others >= FEW:
        counts = Counter(alert.event for alert in alerts) + Counter(more)
        head = [f"- {count:,} times: {_title(event)}" for event, count in counts.most_common()]
        which = f"The first {len(alerts):,} of them" if more else "One by one"
        lines = [f"{others + 1:,} things happened:", *head, "", f"{which}:", *lines]
    foot = f"Organisation: {organization}"
    link = "" if url is None else f"\n{url.rstrip('/')}/settings/alerts"
    mail.set_content("\n".join((*lines, "", foot)) + link + "\n", cte="quoted-printable")
    return mail


def _title(event: str) -> str:
    return EVENTS.get(event, "This is a test")


def sentence_of(alert: AlertView) -> str:
    """What happened, in a sentence or two."""
    facts = alert.facts
    if alert.event == SPEND:
        reset = "The limit never resets." if facts["resets_at"] is None else f"It resets at {facts['resets_at']}."
        return (
            f"{_key(facts)} has reached {facts['threshold_percent']} % of its spend limit{_for_models(facts)}: "
            f"${facts['spent_usd']} of ${facts['spend_limit_usd']}. {reset}"
        )
    if alert.event == UNUSED:
        since = facts["last_used_at"]
        never = f"{_key(facts)} was never used since it was made at {facts['created_at']}."
        return never if since is None else f"{_key(facts)} was not used since {since}."
    if alert.event == EXPIRING:
        return f"{_key(facts)} expires at {facts['expires_at']}; its requests are refused from then on."
    if alert.event == CREDENTIAL:
        return _refused_credential(facts)
    if alert.event == REFUSALS:
        return f"{facts['refusals']:,} requests were refused within {WINDOW_MINUTES} minutes."
    return f"This is a test of {PRODUCT}, sent by {facts.get('by', 'somebody')}. Alerts arrive here."


def _for_models(facts: Mapping[str, Any]) -> str:
    """For which models the limit is, if it is for some alone."""
    return f" for models matching {facts['model_limit']}" if "model_limit" in facts else ""


def _harmless(text: str) -> str:
    """A text in which a chat sees no mention and no link."""
    for sign, shown in _HARMLESS:
        text = text.replace(sign, shown)
    return text


def _refused_credential(facts: Mapping[str, Any]) -> str:
    name, label, last = _provider(facts["provider"]), facts["label"], f"last at {facts['last_at']}"
    which = "that is stored for it" if label is None else f"“{label}”"
    if facts["status"] == 403:  # which is often about one model or one region only
        return (
            f"{name} answered 403 to a request with the credential {which} ({last}). "
            "It may lack a right, such as to a model."
        )
    refused = f"{name} refuses the credential {which} ({facts['status']}, {last}). "
    if label is None:
        return f"{refused}Requests for it fail until another one is stored."
    return f"{refused}Requests that are sent with it fail, or go on with another one."


def _key(facts: Mapping[str, Any]) -> str:
    return f"The key “{facts['key_name']}” ({facts['key_prefix']}…)"


def _provider(slug: str) -> str:
    known = PROVIDERS.get(slug)
    return slug if known is None else known.label
