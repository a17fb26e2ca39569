"""The shell of every page: what it weighs, where it leads for each role, and the pages of errors within it."""

import gzip
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dashboard_kit import ADMIN
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, hidden
from sqlalchemy.exc import OperationalError

from webapp.pages import keys as keys_page
from webapp.render import relative
from webapp.security import login_manager

MOST_ON_A_FIRST_VISIT = 150_000
PICTURES = Path(__file__).parent.parent.parent / "docs" / "pictures"


def main_links(page: str) -> list[tuple[str, bool]]:
    """The links of the top bar, each with whether it is the page shown."""
    bar = re.search(r'<nav class="topnav".*?</nav>', page, re.DOTALL)
    return (
        []
        if bar is None
        else [(href, bool(here)) for href, here in re.findall(r'<a href="([^"]+)"( aria-current)?', bar[0])]
    )


@pytest.mark.parametrize("path", ["/keys", "/settings", "/account"])
def test_it_works(app: Flask, enter: Callable[[str], FlaskClient], path: str) -> None:
    """A first visit: the page and all it asks for, compressed as a server in front of it or whitenoise does."""
    client = enter("admin")
    page = client.get(path)
    assets = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    assert len(assets) > 5
    weight = len(gzip.compress(page.data))
    for address in assets:
        answer = client.get(address, headers={"Accept-Encoding": "gzip"}, buffered=True)
        assert answer.status_code == 200, address
        weight += len(answer.data)
    assert weight < MOST_ON_A_FIRST_VISIT


def test_the_top_bar_leads_where_each_role_may_go(enter: Callable[[str], FlaskClient]) -> None:
    admin = [href for href, _ in main_links(enter("admin").get("/keys").text)]
    assert "/settings/members" in admin
    for role in ("viewer", "member"):
        client = enter(role)
        links = [href for href, _ in main_links(client.get("/keys").text)]
        assert links == [href for href in admin if href not in ("/settings/members", "/settings/alerts")]
        assert [client.get(href).status_code for href in links] == [200] * len(links)


def test_one_link_is_the_page_shown(enter: Callable[[str], FlaskClient]) -> None:
    client = enter("admin")
    for path, shown in (("/settings/members", "/settings/members"), ("/settings", "/settings"), ("/keys/new", "/keys")):
        assert [href for href, here in main_links(client.get(path).text) if here] == [shown]
    assert not [href for href, here in main_links(client.get("/account").text) if here]


def test_a_role_that_does_not_suffice_is_told_which_does_and_who_gives_it(enter: Callable[[str], FlaskClient]) -> None:
    viewer, member = enter("viewer"), enter("member")
    told = viewer.get("/keys/new")
    assert told.status_code == 403
    assert f"Only a member may do this, and you are a viewer. {ADMIN} can give you that role." in told.text
    assert main_links(told.text)
    told = member.get("/settings/members", headers=HTMX)
    assert told.status_code == 403
    assert told.text == f"Only an administrator may do this, and you are a member. {ADMIN} can give you that role."


def test_an_error_has_its_way_on(
    app: Flask, enter: Callable[[str], FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FINDINGS D11. The navigation stands there for whoever is known, unless asking would fail as the page did."""
    viewer = enter("viewer")
    missing = viewer.get("/nothing-is-here")
    assert missing.status_code == 404
    assert main_links(missing.text)
    assert "Try again" not in missing.text
    assert not main_links(app.test_client().get("/nothing-is-here").text)

    def away(*_: object) -> None:
        raise OperationalError("", {}, Exception("the database is away"))

    with monkeypatch.context() as patched:
        patched.setattr(keys_page, "list_keys", away)
        broken = viewer.get("/keys?q=a")
    assert broken.status_code == 503
    assert main_links(broken.text)
    assert 'href="/keys?q=a">Try again' in broken.text
    with monkeypatch.context() as patched:
        patched.setattr(login_manager, "_user_callback", away)
        for path, status in (("/keys", 503), ("/nothing-is-here", 404)):
            nobody = viewer.get(path)
            assert nobody.status_code == status
            assert not main_links(nobody.text)
            assert "Back to the start" in nobody.text


def test_the_theme_comes_back_to_its_page(app: Flask, enter: Callable[[str], FlaskClient]) -> None:
    client = enter("viewer")
    page = client.get("/keys?q=a")
    asked = {"csrf_token": hidden(page, "csrf_token"), "next": hidden(page, "next"), "theme": "dark"}
    assert client.post("/theme", data=asked).headers["Location"] == "/keys?q=a"
    assert client.post("/theme", data={**asked, "next": "https://evil.test/"}).headers["Location"] == "/"
    quiet = client.post("/theme", data={**asked, "theme": "light"}, headers=HTMX)
    assert (quiet.status_code, quiet.headers["HX-Trigger"]) == (204, '{"theme":"light"}')
    assert 'data-bs-theme="light"' in client.get("/keys").text
    stranger = app.test_client()
    page = stranger.get("/login?next=/keys")
    asked = {"csrf_token": hidden(page, "csrf_token"), "theme": "dark"}
    stranger.post("/theme", data=asked)
    assert 'data-bs-theme="dark"' in stranger.get("/login").text


def test_a_form_without_a_session_leads_back_to_its_page(app: Flask) -> None:
    client = app.test_client()
    token = hidden(client.get("/login"), "csrf_token")
    for referrer, target in (
        ("http://localhost/keys/new", "/login?next=/keys/new"),
        ("http://localhost/keys?q=a", "/login?next=/keys%3Fq%3Da"),
        ("http://evil.test/keys", "/login?next=/"),
        ("http://[", "/login?next=/"),
        (None, "/login?next=/"),
    ):
        headers = {} if referrer is None else {"Referer": referrer}
        sent = client.post("/keys/new", data={"csrf_token": token, "name": "x"}, headers=headers)
        assert (sent.status_code, sent.headers["Location"]) == (303, target)


def test_far_times_are_years() -> None:
    """FINDINGS D11."""
    at = datetime(2026, 11, 24, tzinfo=UTC)
    assert relative(at + timedelta(days=729), at) == "in 729 d"
    assert relative(at + timedelta(days=730), at) == "in 2 y"
    assert relative(datetime(9999, 12, 31, tzinfo=UTC), at) == "in 7978 y"
    assert relative(at - timedelta(days=800), at) == "2 y ago"


def test_the_pictures_of_the_docs_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in PICTURES.glob("*.png")}
    assert "keys.png" in sizes  # which the README shows
    assert max(sizes.values()) < MOST_ON_A_FIRST_VISIT
