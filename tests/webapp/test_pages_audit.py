"""The audit log as people read it: what was changed, and only that; and as a file."""

import ast
import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from dashboard_kit import ADMIN, START, Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX
from happened_kit import words
from sqlalchemy import insert
from werkzeug.test import TestResponse

from shared.models import AuditEvent
from webapp.actions.keys import update_key
from webapp.actions.tokens import create_token
from webapp.context import Actor
from webapp.db import db, writing
from webapp.pages.audit_presenter import ACTIONS, AREAS, Change, action_words, changes
from webapp.queries.audit import AuditView
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]
WEBAPP = Path(__file__).parents[2] / "webapp"


def opened(page: TestResponse) -> list[str]:
    """The ids of the events that are listed."""
    return re.findall(r'hx-get="/audit/(aud_\w+)"', page.text)


def told(page: TestResponse) -> list[str]:
    """What was done, in the order of the list."""
    return re.findall(r'hx-target="#modal-body" title="([\w.]+)">', page.text)


def event(**fields: object) -> AuditView:
    values = {"id": "aud_1", "at": START, "actor": ADMIN, "action": "key.update", "target": "key_1", "ip": None}
    return AuditView(**{"before": None, "after": None, **values, **fields})  # type: ignore[arg-type]


def test_it_works(app: Flask, member: FlaskClient, make: Make, actor: Actor, clock: Clock) -> None:
    """Before and after side by side, with only what changed, and who did it to which key from where."""
    key = make("billing", spend_limit_usd="10", allowed_models=["gpt-4o*"])
    clock.forward(seconds=5)
    with app.app_context():
        update_key(actor, key.id, {"spend_limit_usd": "20", "allowed_models": [], "rate_limit_rpm": 60})
    page = member.get("/audit")
    assert f'<a href="/keys/{key.id}"><bdi>billing</bdi></a>' in page.text
    newest = next(one for one, action in zip(opened(page), told(page), strict=True) if action == "key.update")
    dialog = member.get(f"/audit/{newest}", headers=HTMX)
    assert "<html" not in dialog.text
    for text in (
        "Changed a key", ADMIN, "127.0.0.1", "billing", "Spend limit $10.00 $20.00", "Models gpt-4o* All",
        "Requests a minute No limit 60",
    ):  # fmt: skip
        assert text in words(dialog), text
    assert "Providers" not in words(dialog)
    assert "Spend limit: $10.00 \u2192 $20.00" in words(page)


def test_a_new_thing_tells_what_it_was_given(member: FlaskClient, make: Make) -> None:
    make("billing", spend_limit_usd="10", spend_reset="weekly")
    page = member.get("/audit?action=key.create&target=billing")
    dialog = words(member.get(f"/audit/{opened(page)[0]}", headers=HTMX))
    assert "Field Value Name billing" in dialog
    assert "Spend limit $10.00" in dialog
    assert "Not told" not in dialog
    assert "a week" in dialog
    for nothing in ("Paused", "Providers", "Expires"):
        assert nothing not in dialog


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"paused": False}, {"paused": True}, [Change("Paused", "No", "Yes")]),
        ({"role": "viewer", "x": 1}, {"role": "admin", "x": 1}, [Change("Role", "viewer", "admin")]),
        ({"expires_at": None}, {"expires_at": "2027-01-01T00:00:00Z"}, [Change("Expires", "Never", "1 Jan 2027, 00:00 UTC")]),
        ({"allowed_providers": ["openai"]}, {"allowed_providers": []}, [Change("Providers", "OpenAI", "All")]),
        ({"prefix": "sk-proxy-aaaa"}, {"prefix": "sk-proxy-bbbb", "grace_seconds": 3600},
         [Change("Old secret works on for", None, "1 h"), Change("Secret", "sk-proxy-aaaa…", "sk-proxy-bbbb…")]),
        (None, {"rates": {"input_tokens": "1.25"}}, [Change("Prices", None, "input tokens 1.25")]),
        ({"provider": "openai", "last4": "abcd"}, None, [Change("Provider", "OpenAI", None), Change("Ends in", "abcd", None)]),
        (None, None, []),
        ({"odd": {"a": [1, {"b": None}]}}, {"odd": "<b>"}, [Change("Odd", 'a 1, {"b": null}', "<b>")]),
    ],
)  # fmt: skip
def test_values_are_told_as_forms_have_them(before: dict, after: dict, said: list[Change]) -> None:  # type: ignore[type-arg]
    assert list(changes(event(before=before, after=after))) == said


def test_every_action_has_words() -> None:
    """So nobody reads `key.rotate` where people read the log."""
    written = set()
    for path in WEBAPP.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "audit" and len(node.args) > 2:
                written |= {one.value for one in ast.walk(node.args[2]) if isinstance(one, ast.Constant)}
    assert len(written) > 20
    assert written - ACTIONS.keys() == set()
    assert action_words(event(action="key.quarantine_all")) == "Key: quarantine all"


# Filters


@pytest.fixture
def several(app: Flask, org_id: str, actor: Actor, make: Make) -> tuple[str, str]:
    """Two keys, a token that changed one of them, and a member who logged in."""
    one = make("alpha")
    make("beta")
    with app.app_context():
        token = create_token(actor, "terraform", ["keys:write"]).view
        update_key(Actor(org_id, token.id, "203.0.113.9"), one.id, {"name": "alpha two"})
    return one.id, token.id


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("actor=terraform", ["key.update"]),
        ("actor=TOKEN", ["key.update"]),
        ("target=beta", ["key.create"]),
        ("target=KEY", ["key.update", "key.create"]),
        ("target=terraform", ["token.create"]),
        ("action=key.update", ["key.update"]),
        ("action=token.", ["token.create", "token.create"]),  # the first came with the installation
        ("target=beta&action=token.", []),
        ("action=nonsense&target=beta", ["key.create"]),
        ("target=KEY&actor=terraform&action=key.&period=1h", ["key.update"]),
        ("target=nobody", []),
        ("actor=nobody%40example.com", []),
        ("from=2026-11-24T12:00:01&target=beta", []),
        ("to=2026-11-24T12:00:00&target=beta", []),
        ("to=2026-11-24T12:00:01&target=beta", ["key.create"]),
    ],
)
def test_events_are_found(member: FlaskClient, several: tuple[str, str], query: str, found: list[str]) -> None:
    key_id, token_id = several
    page = member.get(f"/audit?{query.replace('KEY', key_id).replace('TOKEN', token_id)}")
    assert told(page) == found
    if "terraform" in query and found == ["key.update"]:
        assert "terraform" in words(page)


def test_nonsense_is_named(member: FlaskClient) -> None:
    for query, field in (("from=x", "From"), ("cursor=x", "Cursor"), ("to=2026-02-30T00:00", "To")):
        answer = member.get(f"/audit?{query}")
        assert answer.status_code == 422
        assert f"{field} " in unescape(answer.text)
        assert member.get(f"/audit.csv?{query}").status_code == 422


def test_everybody_reads_and_nobody_of_another_organisation(
    enter: Callable[[str], FlaskClient], several: tuple[str, str], stranger: Api
) -> None:
    stranger.create(name="theirs")
    theirs = stranger("GET", "/v1/audit?action=key.create").get_json()["data"][0]["id"]
    for role in ("viewer", "member", "admin"):
        page = enter(role).get("/audit")
        assert "theirs" not in page.text
        assert ("/settings#tokens" in page.text) == (role == "admin")
        assert enter(role).get(f"/audit/{theirs}").status_code == 404
        assert "theirs" not in enter(role).get("/audit.csv").text


# As a file


def test_the_file_holds_all_that_is_found_and_nothing_that_computes(
    app: Flask, org_id: str, member: FlaskClient, make: Make
) -> None:
    key = make("=HYPERLINK(1;=2)")
    with app.app_context(), writing() as session:
        rows = [
            {
                "id": f"aud_{number:03}", "org_id": org_id, "at": START + timedelta(seconds=1 + number // 2),
                "actor": "+1@example.com", "action": "key.update", "target": key.id, "before": {"name": "x;@x"},
                "after": {"name": number}, "ip": None,
            }
            for number in range(450)
        ]  # fmt: skip
        session.execute(insert(AuditEvent), rows)
    answer = member.get("/audit.csv?action=key.update")
    assert answer.mimetype == "text/csv"
    assert answer.is_streamed
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    head, *lines = csv.reader(io.StringIO(answer.text))
    assert [line[head.index("id")] for line in lines] == [f"aud_{number:03}" for number in reversed(range(450))]
    first = dict(zip(head, lines[0], strict=True))
    assert first["actor"] == "'+1@example.com"
    assert first["target_name"] == "'=HYPERLINK(1;'=2)"
    assert (first["before"], first["after"]) == ('{"name": "x\\u003b@x"}', '{"name": 449}')
    assert first["at"] == "2026-11-24T12:03:45Z"
    assert "/audit.csv?action=key.update" in member.get("/audit?action=key.update").text


def test_a_slow_reader_of_the_file_keeps_no_connection(app: Flask, member: FlaskClient, make: Make) -> None:
    for number in range(3):
        make(f"key {number}")
    response = member.get("/audit.csv", buffered=False)
    lines = iter(response.response)
    read = [next(lines), next(lines)]
    with app.app_context():
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined] # a QueuePool
    assert "key.create" in str(read[1])
    response.close()


def test_every_action_is_of_an_area_that_can_be_chosen() -> None:
    assert {action.partition(".")[0] + "." for action in ACTIONS} == AREAS.keys()
