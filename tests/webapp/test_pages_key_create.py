"""Creating a key on the page, with and without htmx."""

import re
from html import unescape
from typing import Any

import pytest
from dashboard_kit import Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, SECRET, count, hidden, submit

from shared.models import AuditEvent, IdempotentCreation, KeySecret, ProxyKey
from webapp.db import db


def test_it_works(app: Flask, member: FlaskClient) -> None:
    response = submit(member, "/keys/new", name="billing", spend_limit_usd="$20", spend_reset="weekly", expires="30")
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    secret = SECRET.search(response.text)
    assert secret is not None
    listed = member.get("/keys").text
    assert "billing" in listed
    assert "$0.00 of $20 a week" in listed
    assert "in 30 d" in listed
    assert secret[0] not in listed


def test_a_key_needs_only_a_name(app: Flask, member: FlaskClient) -> None:
    assert submit(member, "/keys/new", name="only a name").status_code == 201
    with app.app_context():
        row = db.session.query(ProxyKey).filter_by(name="only a name").one()
        assert (row.spend_limit_nanos, row.rate_limit_rpm, row.expires_at, row.allowed_ips) == (None, None, None, [])


def test_every_field_of_the_form_is_stored(app: Flask, member: FlaskClient, clock: Clock) -> None:
    submit(
        member,
        "/keys/new",
        name="full",
        spend_limit_usd="0.50",
        spend_reset="daily",
        expires="custom",
        expires_at="2026-12-24T18:30",
        allowed_providers=["gemini", "openai"],
        allowed_models="gpt-4o*\r\n\r\n gemini/* ",
        rate_limit_rpm="60",
        allowed_ips="10.0.0.0/8\n::1",
    )
    with app.app_context():
        row = db.session.query(ProxyKey).filter_by(name="full").one()
        assert row.spend_limit_nanos == 500_000_000
        assert row.spend_reset == "daily"
        assert row.expires_at is not None
        assert row.expires_at.isoformat() == "2026-12-24T18:30:00+00:00"
        assert row.allowed_providers == ["openai", "gemini"]
        assert row.allowed_models == ["gpt-4o*", "gemini/*"]
        assert row.rate_limit_rpm == 60
        assert row.allowed_ips == ["10.0.0.0/8", "::1"]


def test_with_htmx_the_answer_is_the_dialog_and_the_row(member: FlaskClient) -> None:
    response = submit(member, "/keys/new", htmx=True, name="fragment")
    assert "<html" not in response.text
    assert SECRET.search(response.text)
    assert '<tbody hx-swap-oob="afterbegin:#keys-body"><tr id="row-key_' in re.sub(r">\s+<", "><", response.text)
    assert "Vary" in response.headers
    assert "HX-Request" in response.headers["Vary"]
    assert not {"HX-Push-Url", "HX-Replace-Url", "Location"} & set(response.headers.keys())


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"name": "  "}, "key-name", "Must not be empty."),
        ({"name": "n" * 81}, "key-name", "at most 80"),
        ({"spend_limit_usd": "-1"}, "key-spend_limit_usd", "not be negative"),
        ({"spend_limit_usd": "1e3"}, "key-spend_limit_usd", "plain amount"),
        ({"spend_limit_usd": "9007199.3"}, "key-spend_limit_usd", "less than"),
        ({"rate_limit_rpm": "many"}, "key-rate_limit_rpm", "whole number"),
        ({"rate_limit_rpm": "-1"}, "key-rate_limit_rpm", "whole number"),
        ({"rate_limit_rpm": "0"}, "key-rate_limit_rpm", "set paused"),
        ({"allowed_ips": "10.0.0.0/8\n10.0.0.1/8"}, "key-allowed_ips", "10.0.0.1/8"),
        ({"allowed_models": "gpt [4]"}, "key-allowed_models", "gpt [4]"),
        ({"allowed_providers": "acme"}, "key-allowed_providers", "acme"),
        ({"spend_reset": "hourly"}, "key-spend_reset", "one of"),
        ({"expires": "365"}, "key-expires", "Pick one of"),
        ({"expires": "keep"}, "key-expires", "Pick one of"),
        ({"expires": "custom"}, "key-expires_at", "Pick a date"),
        ({"expires": "custom", "expires_at": "2020-01-01T00:00"}, "key-expires_at", "future"),
    ],
)
@pytest.mark.parametrize("htmx", [False, True])
def test_bad_input_is_named_kept_and_not_written(
    app: Flask, member: FlaskClient, fields: dict[str, str], field: str, message: str, htmx: bool
) -> None:
    before = count(app, ProxyKey)
    response = submit(member, "/keys/new", {"name": "kept as it is", **fields}, htmx=htmx)
    text = unescape(response.text)
    assert response.status_code == 422
    assert f'href="#{field}"' in text
    error = re.search(rf'id="{field}-error">(.*?)</div>', text, re.DOTALL)
    assert error is not None
    assert message in error[1]
    for typed in fields.keys() & {"name", "spend_limit_usd", "rate_limit_rpm", "allowed_ips", "allowed_models"}:
        assert fields[typed].strip() in text
    if "name" not in fields:
        assert 'value="kept as it is"' in text
    assert count(app, ProxyKey) == before


def test_all_errors_are_told_at_once(member: FlaskClient) -> None:
    response = submit(member, "/keys/new", name="", spend_limit_usd="x", expires="custom", allowed_ips="here")
    assert response.text.count('aria-invalid="true"') == 4
    assert response.text.count(" autofocus") == 1


def test_every_bad_line_is_named(member: FlaskClient) -> None:
    """FINDINGS D7. Entries may stand one a line or with commas between."""
    lists = {"allowed_models": "[abc], gpt-4o*\nacme/x", "allowed_ips": "10.0.0.1/8, ::1\nhere"}
    response = unescape(submit(member, "/keys/new", lists, name="lists").text)
    for field, lines in (("key-allowed_models", ("[abc]", "acme")), ("key-allowed_ips", ("10.0.0.0/8?", "'here'"))):
        error = re.search(rf'id="{field}-error">(.*?)</div>', response, re.DOTALL)
        assert error is not None
        assert all(line in error[1] for line in lines)
        assert "?." not in error[1]


def test_lists_with_commas_are_taken(app: Flask, member: FlaskClient) -> None:
    lists = {"allowed_models": "gpt-4o*, o3", "allowed_ips": "10.0.0.0/8,::1"}
    assert submit(member, "/keys/new", lists, name="commas").status_code == 201
    with app.app_context():
        row = db.session.query(ProxyKey).filter_by(name="commas").one()
        assert (row.allowed_models, row.allowed_ips) == (["gpt-4o*", "o3"], ["10.0.0.0/8", "::1"])


def test_a_key_that_could_do_nothing_is_made_on_purpose_only(app: Flask, member: FlaskClient) -> None:
    before = count(app, ProxyKey)
    fields = {"name": "nothing", "allowed_providers": ["anthropic"], "allowed_models": "gpt-4o*"}
    warned = submit(member, "/keys/new", fields)
    assert "No model in its list belongs to Anthropic" in warned.text
    assert count(app, ProxyKey) == before
    confirmed = hidden(warned, "confirmed")
    assert submit(member, "/keys/new", fields, form_of=warned, confirmed=confirmed).status_code == 201


def test_a_form_sent_twice_makes_one_key_and_shows_it_once(app: Flask, member: FlaskClient) -> None:
    page = member.get("/keys/new")
    before = count(app, ProxyKey)
    first = submit(member, "/keys/new", form_of=page, name="twice", expires="7")
    second = submit(member, "/keys/new", form_of=page, name="twice", expires="7")
    assert SECRET.search(first.text)
    assert second.status_code == 200
    assert not SECRET.search(second.text)
    assert "sent twice" in second.text
    assert count(app, ProxyKey) == before + 1


def test_a_used_form_with_other_values_asks_again(app: Flask, member: FlaskClient) -> None:
    page = member.get("/keys/new")
    before = count(app, ProxyKey)
    submit(member, "/keys/new", form_of=page, name="first")
    other = submit(member, "/keys/new", form_of=page, name="second")
    assert other.status_code == 409
    assert "made a key already" in other.text
    assert "Idempotency" not in other.text
    assert count(app, ProxyKey) == before + 1
    again = submit(member, "/keys/new", form_of=other, name="second")
    assert again.status_code == 201


def test_the_secret_is_stored_nowhere(app: Flask, member: FlaskClient) -> None:
    secret = SECRET.search(submit(member, "/keys/new", name="secret").text)
    assert secret is not None
    with app.app_context():
        for table in (ProxyKey, KeySecret, AuditEvent, IdempotentCreation):
            for row in db.session.query(table):
                assert secret[0] not in str({c.name: getattr(row, c.name) for c in table.__table__.columns})
    for path in ("/keys", "/keys/new", "/settings"):
        assert secret[0] not in member.get(path).text


def hint(client: FlaskClient, path: str, **fields: Any) -> str:
    token = hidden(client.get("/keys/new"), "csrf_token")
    response = client.post(f"/keys/hints/{path}", data=fields, headers={**HTMX, "X-CSRFToken": token})
    assert response.status_code == 200
    return unescape(response.text)


def test_hints_name_what_a_pattern_matches(member: FlaskClient) -> None:
    hints = hint(member, "models", allowed_models="gpt-4o*\nfoo-9")
    assert re.search(r"matches \d+ known models: gpt-4o", hints)
    assert "foo-9</code> matches no model" in hints
    assert "matches no model" in hint(member, "models", allowed_models="gpt-4o*", allowed_providers="anthropic")
    addresses = hint(member, "ips", allowed_ips="10.0.0.1/8\n0.0.0.0/0\n10.0.0.0/8")
    assert "did you mean 10.0.0.0/8?" in addresses
    assert "no IPv6" in addresses
    assert addresses.count("<code") == 2


def test_hints_go_in_the_body_where_long_lists_fit(member: FlaskClient) -> None:
    """In the address two hundred ranges would be more than a server takes."""
    ranges = "\n".join(f"2001:db8:{number:x}:1111:2222:3333::/112" for number in range(200))
    assert hint(member, "ips", allowed_ips=ranges) == ""
    assert member.get("/keys/hints/ips").status_code == 405
    assert 'hx-post="/keys/hints/ips"' in member.get("/keys/new").text


def test_the_addresses_of_snippets_are_those_of_the_router(member: FlaskClient) -> None:
    page = member.get("/keys/new")
    nonce, token = hidden(page, "nonce"), hidden(page, "csrf_token")
    response = member.post(
        "/keys/new", data={"name": "n", "nonce": nonce, "csrf_token": token}, headers={"X-Forwarded-Host": "evil.test"}
    )
    assert "evil.test" not in response.text
    assert "OPENAI_BASE_URL=http://localhost:8080/v1" in response.text
