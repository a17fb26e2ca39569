"""The table of keys: what it leaves out, its filters, sorts and steps in the history; and badges from refusals."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from dashboard_kit import START, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX
from sqlalchemy import update

from shared.models import KeySpend, ProxyKey, Refusal, UsageDaily
from shared.periods import FIRST_DAY
from webapp.actions.keys import revoke_key, update_key
from webapp.context import Actor
from webapp.db import db, writing
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]


@pytest.fixture
def refuse(app: Flask, org_id: str, clock: Clock) -> Callable[..., None]:
    """`refuse(key, reason, ...)`: what the ledger writer adds to the database when a key was refused."""

    def refuse(key: KeyView, reason: str, sentence: str = "No.", **fields: Any) -> None:
        row = {"status": 403, "model": "gpt-4o", "client_ip": "10.0.0.1", "request_id": "req_1", "last_at": clock()}
        with app.app_context(), writing() as session:
            session.add(
                Refusal(key_id=key.id, org_id=org_id, reason=reason, count=1, sentence=sentence, **{**row, **fields})
            )

    return refuse


@pytest.fixture
def use(app: Flask) -> Callable[..., None]:
    """`use(key, nanos, at)`: what the ledger writer notes when a request has ended."""

    def use(key: KeyView, nanos: int, at: datetime) -> None:
        with app.app_context(), writing() as session:
            session.execute(update(ProxyKey).where(ProxyKey.id == key.id).values(last_used_at=at))
            for day in (FIRST_DAY, date(2026, 11, 24)):
                session.add(KeySpend(key_id=key.id, day=day, generation=0, base_nanos=0, total_nanos=nanos))

    return use


def names(client: FlaskClient, query: str = "") -> list[str]:
    """Of the keys in the table, in its order, but for the one that is there from the start."""
    page = client.get(f"/keys?{query}")
    assert page.status_code == 200, query
    return [unescape(name) for name in re.findall(r"<bdi>(.*?)</bdi></a>", page.text) if name != "demo"]


def badge(client: FlaskClient, key: KeyView) -> tuple[str, str]:
    """The word and the cause in the status of a row."""
    text = client.get("/keys?status=all").text
    row = re.search(rf'<tr id="row-{key.id}".*?</tr>', text, re.DOTALL)
    assert row is not None
    found = re.search(r"</svg>([^<]+)<span class=\"visually-hidden\">.*?text-secondary\">(.*?)</span>", row[0])
    assert found is not None
    return unescape(found[1]), unescape(found[2])


def test_it_works(app: Flask, member: FlaskClient, make: Make, actor: Actor, clock: Clock) -> None:
    """Revoked keys are left out unless somebody asks for them."""
    make("kept")
    clock.forward(minutes=1)
    with app.app_context():
        revoke_key(actor, make("gone").id)
    assert names(member) == ["kept"]
    assert names(member, "status=all") == ["gone", "kept"]
    assert names(member, "status=revoked") == ["gone"]
    nothing = member.get("/keys?q=gone").text
    assert 'href="/keys?q=gone&amp;status=all"' in nothing


def test_filters(enter: Callable[[str], FlaskClient], make: Make, clock: Clock) -> None:
    make("old", allowed_providers=["gemini"])
    clock.forward(days=31)
    make("capped", spend_limit_usd="5", allowed_providers=["openai"])
    clock.forward(minutes=1)
    make("near", spend_limit_usd="5", expires_at=(clock() + timedelta(days=2)).isoformat())
    member = enter("member")
    assert names(member, "has_limit=true") == ["near", "capped"]
    assert names(member, "has_limit=false") == ["old"]
    assert names(member, "dormant=true") == ["old"]
    assert names(member, "attention=true") == ["near", "old"]
    assert names(member, "expiring=true") == ["near"]
    assert names(member, "refused=true") == names(member, "near_limit=true") == []
    assert names(member, "provider=openai") == ["near", "capped"]
    assert names(member, "provider=gemini&has_limit=false") == ["old"]
    assert names(member, "has_limit=maybe&dormant=no&provider=Acme!") == ["near", "capped", "old"]
    shown = member.get("/keys?dormant=true&has_limit=false").text
    assert 'name="dormant" value="true" checked' in shown
    assert '<option value="false" selected>' in shown
    assert 'name="expiring"' not in shown
    shown = member.get("/keys?expiring=true&has_limit=true").text
    assert 'name="expiring" value="true" checked' in shown, "the form keeps it"
    assert 'href="/keys?has_limit=true&amp;expiring=true&amp;sort=name"' in shown, "and so does a head"


def test_heads_sort_and_turn_round(member: FlaskClient, make: Make, use: Callable[..., None]) -> None:
    use(make("a", expires_at="2027-01-02T00:00:00Z"), 5, START - timedelta(hours=1))
    use(make("b", expires_at="2027-01-01T00:00:00Z"), 9, START - timedelta(hours=2))
    for name, first in (
        ("name", ["a", "b"]),
        ("spend", ["b", "a"]),
        ("last_used_at", ["a", "b"]),
        ("expires_at", ["b", "a"]),
    ):
        page = member.get("/keys?q=&has_limit=false").text
        head = re.search(rf'<th scope="col" class="\w+"><a id="sort-{name}" href="([^"]+)"', page)
        assert head is not None, name
        sorted_by = member.get(unescape(head[1]))
        assert "has_limit=false" in head[1]
        direction, turned = re.search(rf'aria-sort="(\w+)"><a id="sort-{name}" href="([^"]+)"', sorted_by.text).groups()  # type: ignore[union-attr]
        assert direction == ("ascending" if name in ("name", "expires_at") else "descending")
        assert names(member, unescape(head[1]).partition("?")[2]) == first
        assert names(member, unescape(turned).partition("?")[2]) == first[::-1]


@pytest.mark.parametrize(
    ("shown", "asked", "header"),
    [
        ("", "q=a", "HX-Push-Url"),
        ("?q=a", "q=ab", "HX-Replace-Url"),
        ("?q=ab", "q=", "HX-Replace-Url"),
        ("?q=ab", "q=ab&dormant=true", "HX-Push-Url"),
        ("?sort=name", "q=a&sort=name", "HX-Push-Url"),
        ("?q=a&sort=name", "q=ab&sort=name", "HX-Replace-Url"),
        ("?q=ab", "q=ab", "HX-Replace-Url"),
        ("?q=%FF&x=[", "q=ab", "HX-Replace-Url"),
    ],
)
def test_typing_is_one_step_of_the_history(member: FlaskClient, shown: str, asked: str, header: str) -> None:
    """FINDINGS D11."""
    headers = {**HTMX, "HX-Current-URL": f"http://localhost/keys{shown}"}
    answer = member.get(f"/keys?{asked}", headers=headers)
    assert header in answer.headers
    assert len({"HX-Push-Url", "HX-Replace-Url"} & set(answer.headers.keys())) == 1
    assert '<select class="form-select form-select-sm" id="order" name="sort" hx-swap-oob="true">' in answer.text


@pytest.mark.usefixtures("served")
def test_a_refusal_shows_on_the_badge_and_goes_once_mended(
    app: Flask, member: FlaskClient, make: Make, refuse: Callable[..., None], actor: Actor
) -> None:
    """FINDINGS D1."""
    key = make("refused", allowed_models=["gpt-4o*"])
    assert badge(member, key) == ("Active", "Never used")
    refuse(key, "model_not_allowed", "The proxy key may not use the model o3. Allowed: gpt-4o*.", model="o3")
    assert badge(member, key) == ("Blocked", "Model not allowed")
    listed = member.get("/keys").text
    assert "may not use the model o3. Allowed: gpt-4o*." in listed
    assert "Add the model to the allowed models" in listed
    with app.app_context():
        update_key(actor, key.id, {"allowed_models": ["gpt-4o*", "o3"]})
    assert badge(member, key) == ("Active", "Never used")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"spend_limit_usd": "0"}, ("Blocked", "Limit is 0")),
        ({"allowed_providers": ["anthropic"], "allowed_models": ["gpt-4o*"]}, ("Blocked", "No model fits")),
        ({"spend_limit_usd": "0.0001"}, ("Blocked", "Too little left")),
        ({"spend_limit_usd": "0.5"}, ("Active", "Never used")),
        ({"paused": True}, ("Paused", "By hand")),
    ],
)
@pytest.mark.usefixtures("served")
def test_a_key_that_can_do_nothing_is_not_called_active(
    member: FlaskClient, make: Make, fields: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert badge(member, make("odd", **fields)) == expected


@pytest.mark.usefixtures("served")
def test_what_a_request_costs_on_average_is_what_it_needs(
    app: Flask, member: FlaskClient, make: Make, use: Callable[..., None], org_id: str
) -> None:
    key = make("dear", spend_limit_usd="0.50")
    use(key, 450_000_000, START - timedelta(hours=1))
    assert badge(member, key) == ("Near limit", "90 % spent")
    with app.app_context(), writing() as session:
        sums = {"requests": 3, "input_tokens": 1, "output_tokens": 1, "cost_nanos": 450_000_000}
        day = {"key_id": key.id, "day": date(2026, 11, 24), "provider": "openai", "model": "o3"}
        session.add(UsageDaily(org_id=org_id, **day, **sums))
    assert badge(member, key) == ("Blocked", "Too little left")


def test_a_page_of_keys_reads_its_facts_at_once(
    app: Flask, member: FlaskClient, make: Make, refuse: Callable[..., None]
) -> None:
    for number in range(3):
        refuse(make(f"key {number}", spend_limit_usd="0.5"), "ip_blocked")
    sent: list[str] = []
    with app.app_context():
        engine = db.engine
    note = lambda *args: sent.append(args[2])  # noqa: E731 - named, so that it can be taken off again
    sa.event.listen(engine, "before_cursor_execute", note)
    member.get("/keys")
    sa.event.remove(engine, "before_cursor_execute", note)
    assert sum("FROM refusals" in statement for statement in sent) == 1
    assert sum("FROM usage_daily" in statement for statement in sent) == 1
