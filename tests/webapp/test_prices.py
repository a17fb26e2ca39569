"""An organisation's own prices: what may stand in them, and that every change is told and written down."""

import pytest
from flask import Flask
from live_counters import LiveCounters
from sqlalchemy import select

from shared.models import AuditEvent, PriceOverride
from webapp.actions.prices import forget_price, set_price
from webapp.context import Actor, NotFound
from webapp.db import db
from webapp.first_start import first_actor
from webapp.queries.prices import own_prices
from webapp.validation import Invalid

GOOD = {"input_tokens": "1.25", "output_tokens": "10", "web_searches": "9"}


def actor() -> Actor:
    found = first_actor()
    assert found is not None
    return found


@pytest.mark.usefixtures("live")
def test_it_works(app: Flask) -> None:
    with app.app_context():
        view = set_price(actor(), "openai", "gpt-4o", GOOD)
        assert own_prices(actor().org_id) == [view]
        assert (view.provider, view.model, view.rates) == ("openai", "gpt-4o", GOOD)
        again = set_price(actor(), "openai", "gpt-4o", {"input_tokens": "0"})
        assert own_prices(actor().org_id) == [again]
        assert again.id != view.id  # the ledger's rows name the price that they were computed with
        forget_price(actor(), "openai", "gpt-4o")
        assert own_prices(actor().org_id) == []
        with pytest.raises(NotFound):
            forget_price(actor(), "openai", "gpt-4o")


def test_every_change_is_told_to_the_proxies_and_written_down(app: Flask, live: LiveCounters) -> None:
    with app.app_context():
        org_id = actor().org_id
        set_price(actor(), "openai", "gpt-4o", GOOD)
        before = live.org_version(org_id)
        forget_price(actor(), "openai", "gpt-4o")
        assert live.org_version(org_id) == (before or 0) + 1
        query = select(AuditEvent.action, AuditEvent.before, AuditEvent.after).where(
            AuditEvent.action.startswith("price.")
        )
        events = db.session.execute(query.order_by(AuditEvent.id)).all()
    assert [event.action for event in events] == ["price.set", "price.delete"]
    assert events[0].after == {"provider": "openai", "model": "gpt-4o", "rates": GOOD}
    assert events[1].before == events[0].after


@pytest.mark.parametrize(
    ("provider", "model", "rates", "field"),
    [
        ("mistral", "m", GOOD, "provider"),
        ("openai", "", GOOD, "model"),
        ("openai", " gpt-4o", GOOD, "model"),
        ("openai", "m" * 201, GOOD, "model"),
        ("openai", "gpt-4o", {"output_tokens": "1"}, "rates"),
        ("openai", "gpt-4o", {**GOOD, "wishes": "1"}, "rates.wishes"),
        ("openai", "gpt-4o", {**GOOD, "input_pixels": "1"}, "rates.input_pixels"),
        ("openai", "gpt-4o", {"input_tokens": "-1"}, "rates.input_tokens"),
        ("openai", "gpt-4o", {"input_tokens": "NaN"}, "rates.input_tokens"),
        ("openai", "gpt-4o", {"input_tokens": "Infinity"}, "rates.input_tokens"),
        ("openai", "gpt-4o", {"input_tokens": "much"}, "rates.input_tokens"),
        ("openai", "gpt-4o", {"input_tokens": 1.5}, "rates.input_tokens"),
        ("openai", "gpt-4o", {"input_tokens": "1e9"}, "rates.input_tokens"),
        *(
            ("openai", "gpt-4o", {"input_tokens": amount}, "rates.input_tokens")
            for amount in ("1e3", "1_0", "-0", "+5", "5.", ".5", "\uff11", "", "1,5", "1000000.01", "9" * 5000)
        ),
        ("openai", "gpt-4o", {"input_tokens": "0.0000000000001"}, "rates.input_tokens"),
    ],
)
def test_what_is_no_price_is_refused_by_name_and_nothing_is_written(
    app: Flask, provider: str, model: str, rates: dict[str, object], field: str
) -> None:
    with app.app_context():
        with pytest.raises(Invalid) as refused:
            set_price(actor(), provider, model, rates)
        assert [error.field for error in refused.value.errors] == [field]
        assert db.session.scalars(select(PriceOverride)).all() == []
