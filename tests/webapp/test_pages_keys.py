"""The list of keys, and what holds for all pages about keys."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest
from dashboard_kit import Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, hidden, submit

from webapp.actions.keys import revoke_key
from webapp.context import Actor
from webapp.views.keys import KeyView


def test_it_works(app: Flask, member: FlaskClient, make: Callable[..., KeyView], actor: Actor, clock: Clock) -> None:
    """Search and filter live in the address."""
    for name in ("alpha", "beta"):
        make(name)
    with app.app_context():
        revoke_key(actor, make("gamma").id)
    assert "beta" not in member.get("/keys?q=alp").text
    assert "alpha" in member.get("/keys?q=alp").text
    revoked = member.get("/keys?status=revoked").text
    assert "gamma" in revoked
    assert "alpha" not in revoked
    fragment = member.get("/keys?q=alp&status=&sort=-created_at&limit=25", headers=HTMX)
    assert fragment.headers["HX-Push-Url"] == "/keys?q=alp"
    assert "<html" not in fragment.text
    assert "No key matches this search" in member.get("/keys?q=nothing").text
    restored = member.get("/keys?q=alp", headers={**HTMX, "HX-History-Restore-Request": "true"})
    assert "<html" in restored.text


def test_csrf_is_asked_for_everywhere(app: Flask, member: FlaskClient, make: Callable[..., KeyView]) -> None:
    key = make()
    for path in (
        "/keys/new",
        f"/keys/{key.id}/edit",
        f"/keys/{key.id}/revoke",
        f"/keys/{key.id}/pause",
        "/theme",
        f"/keys/{key.id}/rotate",
        f"/keys/{key.id}/rotate/end",
        "/keys/bulk/ask",
        "/keys/bulk/change",
        "/logout",
    ):
        assert member.post(path, data={"name": "x", "theme": "dark"}).status_code == 403, path
    token = hidden(member.get("/keys/new"), "csrf_token")
    sent = member.post("/keys/new", data={"name": "by header"}, headers={**HTMX, "X-CSRFToken": token})
    assert sent.status_code == 201
    foreign = {"Sec-Fetch-Site": "cross-site", "X-CSRFToken": token}
    assert member.post("/keys/new", data={"name": "foreign"}, headers=foreign).status_code == 403


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "javascript:alert(1)",
    '" hx-get="/logout',
    "\u202egnp.exe",
    "</template><tr hx-swap-oob=true>",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(member: FlaskClient, name: str) -> None:
    created = submit(member, "/keys/new", htmx=True, name=name)
    assert created.status_code == 201
    key_id = re.search(r'id="row-(key_\w+)"', created.text)
    assert key_id is not None
    pages = [created, member.get("/keys"), member.get("/keys", query_string={"q": name})]
    pages += [
        member.get(f"/keys/{key_id[1]}/{page}", headers=h) for page in ("edit", "rotate", "revoke") for h in ({}, HTMX)
    ]
    pages.append(submit(member, f"/keys/{key_id[1]}/revoke", htmx=True))
    for page in pages:
        assert page.status_code < 300 or not name.isprintable()  # a search for such a name is refused
        assert name in unescape(page.text)
        assert not re.search(r"<script>|<img|<tr hx-swap-oob=true>|\shx-get=\"/logout", page.text)


def test_viewers_see_and_change_nothing(enter: Callable[[str], FlaskClient], make: Callable[..., KeyView]) -> None:
    viewer, key = enter("viewer"), make("seen")
    listed = viewer.get("/keys").text
    assert "seen" in listed
    for word in ("/keys/new", "/edit", "/revoke", "/pause", "/rotate", "/bulk", 'name="ids"'):
        assert word not in listed
    token = hidden(viewer.get("/settings"), "csrf_token")
    for path in ("pause", "resume"):
        assert viewer.post(f"/keys/{key.id}/{path}", data={"csrf_token": token}).status_code == 403
    for path in ("/keys/new", *(f"/keys/{key.id}/{verb}" for verb in ("edit", "rotate", "revoke"))):
        assert viewer.get(path).status_code == 403
        assert viewer.post(path, data={"name": "x", "csrf_token": token}).status_code == 403


def test_foreign_and_missing_keys_are_the_same_404(member: FlaskClient, stranger: Api) -> None:
    theirs = stranger.create(name="theirs")["id"]
    assert "theirs" not in member.get("/keys").text
    token = hidden(member.get("/keys/new"), "csrf_token")
    for path in ("edit", "rotate", "revoke"):
        for key_id in (theirs, "key_00000000000000000000000000"):
            assert member.get(f"/keys/{key_id}/{path}").status_code == 404
            assert member.post(f"/keys/{key_id}/{path}", data={"name": "x", "csrf_token": token}).status_code == 404
    for path in ("pause", "resume"):
        assert member.post(f"/keys/{theirs}/{path}", data={"csrf_token": token}).status_code == 404


def test_pages_of_the_list(member: FlaskClient, make: Callable[..., KeyView]) -> None:
    for number in range(27):
        make(f"key number {number:02d}")
    first = member.get("/keys?q=number")
    assert "25 of 27 keys" in first.text
    following = re.search(r'href="([^"]+)" rel="next"', first.text)
    assert following is not None
    second = member.get(unescape(following[1])).text
    assert "number 00" in second
    assert "number 26" not in second
    assert 'href="/keys?q=number"' in second


def test_pages_of_long_names_in_any_script(member: FlaskClient, make: Callable[..., KeyView]) -> None:
    for number in range(26):
        make(f"{number:02d}" + "\N{GRINNING FACE}" * 78)
    first = member.get("/keys?sort=name&q=\N{GRINNING FACE}")
    following = re.search(r'href="([^"]+)" rel="next"', first.text)
    assert following is not None
    second = member.get(unescape(following[1]))
    assert second.status_code == 200
    assert ">25\N{GRINNING FACE}" in second.text


def test_a_whole_key_in_the_search_is_cut_to_its_prefix(member: FlaskClient, make: Callable[..., KeyView]) -> None:
    """Whoever wants to know which key this is pastes it; it must not stay in the address or on the page."""
    make("found by its prefix")
    shown = re.search(r"sk-proxy-[0-9a-f]{4}", member.get("/keys?q=found").text)
    assert shown is not None
    prefix = shown[0]
    raw = prefix + "0" * 60
    response = member.get("/keys", query_string={"q": raw, "status": "active"})
    assert (response.status_code, response.headers["Location"]) == (303, f"/keys?q={prefix}&status=active")
    assert "found by its prefix" in member.get(response.headers["Location"]).text
    for text in (raw, f" OPENAI_API_KEY={raw}", f"Bearer sk-mgmt-abcd{'0' * 60}"):
        fragment = member.get("/keys", query_string={"q": text}, headers=HTMX)
        assert "0" * 60 not in fragment.headers["HX-Push-Url"] + fragment.text


def test_nonsense_in_the_address_is_answered(member: FlaskClient) -> None:
    assert member.get("/keys?status=x&sort=;drop&limit=1e9").status_code == 200
    assert member.get("/keys?cursor=nonsense").status_code == 422
    assert member.get("/keys", query_string={"q": "a\x00b"}).status_code == 422


def test_a_lost_session_moves_the_window_not_the_panel(app: Flask) -> None:
    response = app.test_client().get("/keys/new", headers=HTMX)
    assert response.status_code == 401
    assert response.headers["HX-Redirect"].startswith("/login?next=")


@pytest.mark.usefixtures("served")
def test_time_passes_on_the_page(member: FlaskClient, make: Callable[..., KeyView], clock: Clock) -> None:
    make("short", expires_at=(clock() + timedelta(days=3)).isoformat())
    assert "Expires soon" in member.get("/keys").text
