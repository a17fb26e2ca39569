"""Links that show a key's secret once: by the dashboard and by the API, for whoever opens them first."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dashboard_kit import Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, SECRET, count, hidden, submit
from sqlalchemy import select
from werkzeug.test import TestResponse

from proxyd.accounting.accounting_state import AccountingDatabase
from shared.models import AuditEvent, HandOver
from webapp.bootstrap import BootstrapReport
from webapp.db import db, writing
from webapp.views.keys import KeyView

LINK = re.compile(r'value="http://localhost(/hand-over/[\w-]{43})"')
Enter = Callable[[str], FlaskClient]


def link_of(page: TestResponse) -> str:
    found = LINK.search(page.text)
    assert found is not None, page.text
    return found[1]


def handed_over(api: Api, key: dict[str, Any]) -> str:
    """The path of a new link to the secret of a key that was just made."""
    answer = api("POST", f"/v1/keys/{key['id']}/hand-overs", {"key": key["key"]})
    assert answer.status_code == 201, answer.text
    return str(answer.get_json()["url"]).removeprefix("http://localhost")


def opened(client: FlaskClient, path: str) -> TestResponse:
    """What the button of a link's page answers, or the page if it has none."""
    page = client.get(path)
    if page.status_code != 200:
        return page
    return client.post("/hand-over", data={name: hidden(page, name) for name in ("csrf_token", "token")})


def events(app: Flask, key_id: str) -> list[tuple[str, str, str | None]]:
    with app.app_context():
        query = select(AuditEvent).where(AuditEvent.target == key_id, AuditEvent.action.startswith("key.hand_over"))
        rows = db.session.scalars(query.order_by(AuditEvent.at, AuditEvent.id)).all()
        return [(row.action.removeprefix("key.hand_over"), row.actor, row.ip) for row in rows]


def test_it_works(app: Flask, member: FlaskClient) -> None:
    """From the dialog with a new secret, without JavaScript, to somebody who has no login here."""
    created = submit(member, "/keys/new", name="for <ann>")
    found = SECRET.search(created.text)
    assert found is not None
    secret, action = found[0], re.search(r'action="(/keys/key_\w+/hand-over)"', created.text)
    assert action is not None
    key_id = action[1].split("/")[2]
    made = member.post(action[1], data={"secret": secret, "csrf_token": hidden(created, "csrf_token")})
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    assert secret not in made.text
    path = link_of(made)
    assert "waits to be opened" in member.get(f"/keys/{key_id}").text
    ann = app.test_client()
    for _ in range(2):  # whatever looks at links beforehand does no harm
        page = ann.get(path)
        assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-store")
        assert (page.headers["X-Robots-Tag"], page.headers["Referrer-Policy"]) == ("none", "strict-origin")
        assert "for &lt;ann&gt;" in page.text
        assert secret not in page.text
    shown = opened(ann, path)
    assert (shown.status_code, shown.headers["Cache-Control"]) == (200, "no-store")
    assert (shown.headers["X-Robots-Tag"], shown.headers["Referrer-Policy"]) == ("none", "no-referrer")
    assert f'value="{secret}"' in shown.text
    assert f"export ROUTER_KEY={secret}" in shown.text
    gone = ann.get(path)
    assert (gone.status_code, gone.headers["Referrer-Policy"]) == (404, "no-referrer")
    assert "This link opens nothing" in gone.text
    assert "somebody else may have it" in gone.text
    assert count(app, HandOver) == 0
    assert [(what, ip) for what, _, ip in events(app, key_id)] == [("", "127.0.0.1"), ("_seen", "127.0.0.1")]
    history = member.get(f"/keys/{key_id}").text
    assert "waits to be opened" not in history
    assert "secret was shown by its link" in history
    assert secret not in history


def test_a_dialog_makes_it_after_a_rotation(member: FlaskClient, app: Flask, make: Callable[..., KeyView]) -> None:
    key_id = make("rotated").id
    rotated = submit(member, f"/keys/{key_id}/rotate?back=key", grace_seconds="0", htmx=True)
    found = SECRET.search(rotated.text)
    assert found is not None
    data = {"secret": found[0], "csrf_token": hidden(rotated, "csrf_token")}
    made = member.post(f"/keys/{key_id}/hand-over?back=key", data=data, headers=HTMX)
    assert "<html" not in made.text
    assert f'href="/keys/{key_id}"' in made.text
    assert found[0] in opened(app.test_client(), link_of(made)).text


def test_by_api_what_is_kept_is_sealed_and_told_to_nobody(app: Flask, api: Api, stranger: Api) -> None:
    key = api.create()
    url = f"/v1/keys/{key['id']}/hand-overs"
    token = handed_over(api, key).rpartition("/")[2]
    listed = api("GET", url).get_json()["data"]
    assert [(one["key_id"], one["prefix"]) for one in listed] == [(key["id"], key["prefix"])]
    assert set(listed[0]) == {"id", "key_id", "prefix", "created_at", "created_by", "expires_at"}
    with app.app_context():
        row = db.session.scalars(select(HandOver)).one()
        kept = repr({column.name: getattr(row, column.name) for column in HandOver.__table__.columns})
        assert key["key"] not in kept
        assert token not in kept
        assert row.expires_at - row.created_at == timedelta(hours=24)
        told = repr([(event.before, event.after) for event in db.session.scalars(select(AuditEvent))])
        assert token not in told
    for method, path in (("GET", url), ("POST", url), ("DELETE", f"{url}/{listed[0]['id']}")):
        assert stranger(method, path, {"key": key["key"]} if method == "POST" else None).status_code == 404
    assert api("DELETE", f"{url}/{listed[0]['id']}").get_json() == listed[0]
    assert api("DELETE", f"{url}/{listed[0]['id']}").status_code == 404
    assert app.test_client().get(f"/hand-over/{token}").status_code == 404
    assert [what for what, _, _ in events(app, key["id"])] == ["", "_end"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": None},
        {"key": 7},
        {"key": "sk-proxy-a1b2"},
        {"key": "other"},
        {"key": "mgmt"},
        {"key": "x", "to": "y"},
    ],
    ids=str,
)
def test_only_a_secret_that_opens_the_key_is_taken(app: Flask, api: Api, body: dict[str, Any]) -> None:
    key, other = api.create(), api.create()
    body = {**body, "key": {"other": other["key"], "mgmt": api.token}.get(body.get("key", ""), body.get("key"))}
    answer = api("POST", f"/v1/keys/{key['id']}/hand-overs", body)
    assert answer.status_code == 422, answer.text
    assert {error["field"] for error in answer.get_json()["errors"]} <= {"key", "to"}
    assert other["key"] not in answer.text
    assert count(app, HandOver) == 0


def test_a_page_that_is_sent_another_secret_makes_no_link(member: FlaskClient, app: Flask, api: Api) -> None:
    key = api.create()
    csrf = hidden(member.get("/keys"), "csrf_token")
    for secret in ("", api.create()["key"]):
        answer = member.post(f"/keys/{key['id']}/hand-over", data={"secret": secret, "csrf_token": csrf})
        assert answer.status_code == 409
        assert "no secret that opens this key" in answer.text
    assert member.post(f"/keys/{key['id']}/hand-over", data={"secret": key["key"]}).status_code == 403
    assert count(app, HandOver) == 0


def test_after_a_day_it_opens_nothing(app: Flask, api: Api, clock: Clock) -> None:
    key = api.create()
    path, client = handed_over(api, key), app.test_client()
    page = client.get(path)
    clock.forward(hours=24)
    data = {name: hidden(page, name) for name in ("csrf_token", "token")}
    answer = client.post("/hand-over", data=data)
    assert answer.status_code == 404
    assert key["key"] not in answer.text
    assert client.get(path).status_code == 404
    assert api("GET", f"/v1/keys/{key['id']}/hand-overs").get_json()["data"] == []


@pytest.mark.parametrize("end", ["another", "rotate", "revoke", "button"])
def test_it_ends_before_its_time(app: Flask, api: Api, member: FlaskClient, end: str) -> None:
    key = api.create()
    path = handed_over(api, key)
    if end == "another":
        assert handed_over(api, key) != path
    elif end == "rotate":
        assert api("POST", f"/v1/keys/{key['id']}/rotate", {}).status_code == 200
    elif end == "revoke":
        assert api("DELETE", f"/v1/keys/{key['id']}").status_code == 200
    else:
        page = member.get(f"/keys/{key['id']}")
        data = {"id": hidden(page, "id"), "csrf_token": hidden(page, "csrf_token")}
        assert member.post(f"/keys/{key['id']}/hand-over/end", data=data).status_code == 303
        assert member.post(f"/keys/{key['id']}/hand-over/end", data=data).status_code == 303
        assert "opened, or ended, already" in member.get(f"/keys/{key['id']}").text
    assert opened(app.test_client(), path).status_code == 404
    assert count(app, HandOver) == (end == "another")
    assert [what for what, _, _ in events(app, key["id"])][:2] == ["", "_end"]


def test_a_secret_that_dies_meanwhile_is_not_shown(app: Flask, api: Api, clock: Clock) -> None:
    """The old one, in its grace, was handed over after the rotation."""
    key = api.create()
    api("POST", f"/v1/keys/{key['id']}/rotate", {"grace_seconds": 60})
    path, client = handed_over(api, key), app.test_client()
    clock.forward(minutes=2)
    assert opened(client, path).status_code == 404
    assert key["key"] not in opened(client, path).text


def test_a_viewer_makes_none_and_a_revoked_key_has_none(enter: Enter, api: Api, app: Flask) -> None:
    key = api.create()
    viewer = enter("viewer")
    data = {"secret": key["key"], "csrf_token": hidden(viewer.get("/keys"), "csrf_token")}
    assert viewer.post(f"/keys/{key['id']}/hand-over", data=data).status_code == 403
    path = handed_over(api, key)
    assert "End the link" not in viewer.get(f"/keys/{key['id']}").text
    api("DELETE", f"/v1/keys/{key['id']}")
    answer = api("POST", f"/v1/keys/{key['id']}/hand-overs", {"key": key["key"]})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "key_revoked")
    assert app.test_client().get(path).status_code == 404


def test_guesses_wait_and_a_good_link_never_does(app: Flask, api: Api) -> None:
    path, client = handed_over(api, api.create()), app.test_client()
    answers = [client.get(f"/hand-over/{'x' * 42}{number}").status_code for number in range(30)]
    assert answers[:20] == [404] * 20
    assert answers[-1] == 429
    assert "Too many links" in client.get("/hand-over/nothing").text
    assert opened(client, path).status_code == 200


def test_a_button_needs_its_page(app: Flask, api: Api) -> None:
    """Without the token of a session, or from another site, nothing is opened and nothing is used up."""
    path, client = handed_over(api, api.create()), app.test_client()
    token = path.rpartition("/")[2]
    assert client.post("/hand-over", data={"token": token}).status_code == 403
    page = client.get(path)
    data = {"csrf_token": hidden(page, "csrf_token"), "token": token}
    assert client.post("/hand-over", data=data, headers={"Origin": "https://evil.example"}).status_code == 403
    assert count(app, HandOver) == 1
    assert client.post("/hand-over", data=data).status_code == 200


def test_the_ledger_writer_forgets_what_lapsed(made: tuple[Flask, BootstrapReport]) -> None:
    """It empties the secret, and the database does the rest."""
    app, report = made
    api = Api(app.test_client(), report.management_token or "")
    old, new = api.create(), api.create()
    path = handed_over(api, old)
    handed_over(api, new)
    with app.app_context():
        with writing() as session:
            row = session.scalars(select(HandOver).where(HandOver.key_id == old["id"])).one()
            lapsed_at = row.expires_at = datetime.now(UTC) - timedelta(seconds=1)
        for _ in range(2):
            AccountingDatabase(db.engine).sweep()
        assert [row.key_id for row in db.session.scalars(select(HandOver))] == [new["id"]]
        event = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "key.hand_over_lapse")).one()
        assert (event.org_id, event.actor, event.target, event.ip) == (report.org_id, "system", old["id"], None)
        assert (event.at, event.after) == (lapsed_at, None)
        assert event.before is not None
        assert event.before["prefix"] == old["prefix"]
    told = api("GET", f"/v1/audit?target={old['id']}&action=key.hand_over_lapse").get_json()["data"]
    assert [one["before"]["prefix"] for one in told] == [old["prefix"]]
    assert app.test_client().get(path).status_code == 404


def test_of_many_who_open_it_at_once_one_gets_it(made: tuple[Flask, BootstrapReport]) -> None:
    """On each kind of database."""
    app, report = made
    api = Api(app.test_client(), report.management_token or "")
    key = api.create()
    path = handed_over(api, key)
    clients = [app.test_client() for _ in range(6)]
    pages = [client.get(path) for client in clients]

    def press(number: int) -> TestResponse:
        data = {name: hidden(pages[number], name) for name in ("csrf_token", "token")}
        return clients[number].post("/hand-over", data=data)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(press, range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, *[404] * 5]
    assert sum(key["key"] in answer.text for answer in answers) == 1
    assert [what for what, _, _ in events(app, key["id"])] == ["", "_seen"]
