"""Guessing of passwords: who is slowed down by it, and who is not. FINDINGS M18 and S16, catalogue D05 to D07."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import pytest
from dashboard_kit import ADMIN, PASSWORD, Clock
from flask import Flask
from forms_kit import post_login, submit
from kept_kit import REAL_HASHER
from sqlalchemy import func, select, update

from shared.models import AuditEvent, KnownPlace, User
from webapp import passwords
from webapp.actions.login import LoggedIn, Refused, log_in
from webapp.db import db, writing


def strangers(count: int, email: str = ADMIN) -> list[Refused]:
    """So many failures of strangers, each from a network of its own."""
    found = [log_in(email, "wrong", f"198.18.{number // 250}.{number % 250 + 1}") for number in range(count)]
    return [one for one in found if isinstance(one, Refused)]


def test_an_account_is_not_tried_out_from_many_networks(app: Flask, clock: Clock) -> None:
    """FINDINGS M18, D06: a hundred tries a day at the most, wherever they come from."""
    with app.app_context():
        looked = 0
        for _ in range(96):
            looked += sum(one.looked for one in strangers(3))
            clock.forward(minutes=15)
        assert 20 < looked <= 100
        assert strangers(1, "somebody.else@example.com")[0].looked


def test_strangers_do_not_lock_out_who_comes_from_where_they_were_before(app: Flask, clock: Clock) -> None:
    with app.app_context():
        first = log_in(ADMIN, PASSWORD, "192.0.2.7")
        assert isinstance(first, LoggedIn)
        assert not strangers(40)[-1].looked
        assert isinstance(log_in(ADMIN, PASSWORD, "192.0.2.7"), LoggedIn)
        # From a new network it is as if a stranger came, unless it is the same browser.
        assert log_in(ADMIN, PASSWORD, "203.0.113.9") == Refused(1.0, looked=False)
        assert log_in(ADMIN, PASSWORD, "203.0.113.9", browser="made up") == Refused(1.0, looked=False)
        assert isinstance(log_in(ADMIN, PASSWORD, "203.0.113.10", browser=first.browser), LoggedIn)


def test_strangers_at_the_same_address_do_not_lock_out_a_known_browser(app: Flask) -> None:
    """FINDINGS S16: behind a proxy that nobody trusts everybody has the same address."""
    with app.app_context():
        first = log_in(ADMIN, PASSWORD, "127.0.0.1")
        assert isinstance(first, LoggedIn)
        for number in range(30):
            log_in(f"nobody{number}@example.com", "wrong", "127.0.0.1")
        assert isinstance(log_in(ADMIN, PASSWORD, "127.0.0.1"), LoggedIn)
        for _ in range(30):
            log_in(ADMIN, "wrong", "127.0.0.1")
        assert not log_in(ADMIN, PASSWORD, "127.0.0.1").looked  # type: ignore[union-attr]
        again = log_in(ADMIN, PASSWORD, "127.0.0.1", browser=first.browser)
        assert isinstance(again, LoggedIn)
        assert again.browser == first.browser
        assert [log_in(ADMIN, "wrong", "127.0.0.1", browser=first.browser) for _ in range(6)][-1] == Refused(1.0)


def test_one_network_cannot_try_many_accounts(app: Flask) -> None:
    """FINDINGS M18: each try is an argon2 run."""
    with app.app_context():
        tried = [log_in(f"nobody{number}@example.com", "wrong", "192.0.2.1") for number in range(100)]
        assert sum(one.looked for one in tried if isinstance(one, Refused)) == 21
        assert db.session.scalar(select(func.count()).where(AuditEvent.action == "login.refuse")) == 0


def test_of_parallel_tries_only_as_many_as_may_are_looked_at(app: Flask, clock: Clock) -> None:
    def one(_: int) -> Refused | LoggedIn:
        with app.app_context():
            return log_in(ADMIN, "wrong", "192.0.2.1")

    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(one, range(16)))
        assert sum(found.looked for found in first if isinstance(found, Refused)) == 6
        clock.forward(seconds=1)
        second = list(pool.map(one, range(16)))
    assert sum(found.looked for found in second if isinstance(found, Refused)) == 1


def test_the_browser_that_logged_in_is_known_by_a_cookie(app: Flask) -> None:
    client = app.test_client()
    cookies = post_login(client).headers.getlist("Set-Cookie")
    (browser,) = [cookie for cookie in cookies if cookie.startswith("browser=")]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in browser.split(";")}
    for _ in range(30):
        post_login(app.test_client(), ADMIN, "wrong password")
    assert post_login(app.test_client()).status_code == 422
    client.delete_cookie("session")
    assert post_login(client).status_code == 303
    secret = client.get_cookie("browser")
    assert secret is not None
    with app.app_context():
        places = db.session.scalars(select(KnownPlace.place)).all()
    assert sorted(place.partition(":")[0] for place in places) == ["127.0.0.1", "browser"]
    assert not [place for place in places if secret.value in place]


def test_the_browser_in_which_the_password_was_changed_stays_known_and_no_other(app: Flask) -> None:
    """FINDINGS S16."""
    mine, other = app.test_client(), app.test_client()
    post_login(mine)
    post_login(other)
    before, new = mine.get_cookie("browser"), "another good password"
    assert before is not None
    form = {"current_password": PASSWORD, "new_password": new}
    changed = submit(mine, "/account/password", form, form_of=mine.get("/account"))
    assert changed.status_code == 303
    for _ in range(30):
        post_login(app.test_client(), ADMIN, "wrong password")
    mine.delete_cookie("session")
    assert post_login(mine, password=new).status_code == 303
    assert post_login(other, password=new).status_code == 422
    thief = app.test_client()
    thief.set_cookie("browser", before.value)
    assert post_login(thief, password=new).status_code == 422
    with app.app_context():
        networks = [place for place in db.session.scalars(select(KnownPlace.place)) if not place.startswith("browser")]
    assert networks == ["127.0.0.1"]


def test_few_places_are_remembered(app: Flask, clock: Clock) -> None:
    with app.app_context():
        for number in range(22):
            clock.forward(seconds=1)
            assert isinstance(log_in(ADMIN, PASSWORD, f"192.0.2.{number}"), LoggedIn)
        places = db.session.scalars(select(KnownPlace.place)).all()
    assert len(places) == 20
    assert "192.0.2.21" in places
    assert "192.0.2.0" not in places


def test_logins_that_are_refused_take_as_long_whoever_it_is(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """D05. Hashing is nearly all of it, so the medians are alike even on a busy machine: processor time is measured."""

    def took(email: str) -> float:
        began = time.process_time()
        log_in(email, "wrong password", None)
        return time.process_time() - began

    monkeypatch.setattr(passwords, "_HASHER", REAL_HASHER)
    monkeypatch.setattr(passwords, "unknown_hash", lru_cache(passwords.unknown_hash.__wrapped__))
    with app.app_context():
        with writing() as session:
            session.execute(update(User).values(password_hash=passwords.hash_password(PASSWORD)))
        log_in("warm@example.com", "x", None)
        emails = (ADMIN, "nobody@example.com", "not an email")
        for email in emails:
            took(email)
        times = {email: statistics.median(took(email) for _ in range(3)) for email in emails}
    assert max(times.values()) < 1.5 * min(times.values())
