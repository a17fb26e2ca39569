"""The words for what happened to a key: one for each refusal, outcome and flag that there is, the same as in the docs."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from dashboard_kit import START

from proxyd.accounting.records import OUTCOMES as TOLD_BY_THE_PROXY
from shared.policy import Reason
from webapp.pages.key_history import history
from webapp.queries.audit import AuditView
from webapp.render import length
from webapp.views.refusal_help import HELP, help_of
from webapp.views.request_words import FLAGS, OUTCOMES

ROOT = Path(__file__).parent.parent.parent
SECTIONS = re.split(r"^## ", (ROOT / "docs" / "errors.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("reason", Reason)
def test_each_refusal_has_words_and_the_docs_have_the_same(reason: Reason) -> None:
    words = HELP[reason]
    (section,) = (text for text in SECTIONS if text.startswith(f"`{reason.value}`\n"))
    assert section.strip().endswith(f"\n\n**In the dashboard.** {words.title}. {words.cause} {words.remedy}")
    assert not words.title.endswith(".")
    assert all(text.endswith(".") and text[0].isupper() for text in (words.cause, words.remedy))
    # The contract's word is limit: these two would be taken for something else.
    assert not re.search("quota|credits", f"{words.title} {words.cause} {words.remedy}", re.IGNORECASE)


def test_no_two_refusals_are_called_the_same() -> None:
    assert len({words.title for words in HELP.values()}) == len(HELP) == len(Reason)
    assert help_of("of_the_future").title == "of_the_future"


def test_each_outcome_and_each_flag_has_words() -> None:
    assert set(OUTCOMES) == set(TOLD_BY_THE_PROXY)
    table = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \|", (ROOT / "docs" / "pricing.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    told = {flag for row in table for flag in re.findall(r"`(\w+)`", row)}
    assert len(told) > 8
    assert told <= set(FLAGS)


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [
        (None, "Never"), (0, "0 ms"), (999, "999 ms"), (1_000, "1.0 s"), (1_449, "1.4 s"), (12_300, "12.3 s"),
        (59_999, "59.9 s"), (60_000, "1 min 0 s"), (75_900, "1 min 15 s"), (1_200_000, "20 min 0 s"),
    ],
)  # fmt: skip
def test_lengths(milliseconds: int | None, told: str) -> None:
    assert length(milliseconds) == told


def event(action: str, before: dict[str, object] | None, after: dict[str, object] | None) -> AuditView:
    return AuditView("aud_1", START, "tok_1", action, "key_1", before, after, None)


@pytest.mark.parametrize(
    ("told", "action", "changes"),
    [
        (event("key.update", {"paused": True}, {"paused": False}), "Resumed a key", []),
        (event("key.update", {"paused": True, "name": "a"}, {"paused": False, "name": "b"}), "Changed a key", [("Paused", "Yes", "No"), ("Name", "a", "b")]),
        (event("key.update", {"spend_reset": "never"}, {"spend_reset": "daily"}), "Changed a key", [("Period of the limit", "in total", "a day")]),
        (event("key.update", {"allowed_ips": ["::1"]}, {"allowed_ips": []}), "Changed a key", [("Addresses", "::1", "Any")]),
        (event("key.update", {"expires_at": "soon"}, {"expires_at": None}), "Changed a key", [("Expires", "soon", "Never")]),
        (event("key.rotate", {"prefix": "sk-proxy-a1b2"}, {"prefix": "sk-proxy-c3d4", "grace_seconds": 0}), "Gave a key a new secret", [("Old secret works on for", None, "Not at all"), ("Secret", "sk-proxy-a1b2…", "sk-proxy-c3d4…")]),
        (event("key.create", None, {"name": "a", "paused": False, "allowed_ips": [], "spend_reset": "never"}), "Created a key", [("Name", None, "a")]),
        (event("key.end_old_secrets", {"prefixes": ["sk-proxy-a1b2", "sk-proxy-c3d4"]}, None), "Ended the old secrets of a key", [("Secrets", "sk-proxy-a1b2…, sk-proxy-c3d4…", None)]),
        (event("key.revoke", None, {"name": "a"}), "Revoked a key", [("Name", None, "a")]),
        (event("key.of_the_future", None, None), "Key: of the future", []),
    ],
)  # fmt: skip
def test_the_audit_trail_is_told_in_peoples_words(
    told: AuditView, action: str, changes: list[tuple[str, str | None, str | None]]
) -> None:
    (entry,) = history((told,), {"tok_1": "ci"}, START + timedelta(minutes=5))
    assert (entry.action, entry.when, entry.actor) == (action, "5 min ago", "ci")
    assert [(change.label, change.before, change.after) for change in entry.changes] == changes
