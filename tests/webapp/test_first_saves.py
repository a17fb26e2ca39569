"""Two who save the first price or credential at the same moment: both are answered. On both databases."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import event, insert, select

from shared.ids import new_id
from shared.models import PriceOverride, ProviderCredential
from shared.sealing import Sealer
from webapp.actions.credentials import store_credentials
from webapp.actions.prices import set_price
from webapp.bootstrap import BootstrapReport
from webapp.context import Actor, now
from webapp.db import db

Made = tuple[Flask, BootstrapReport]
RATES = {"input_tokens": "1", "output_tokens": "2"}


def price(org_id: str) -> tuple[type[PriceOverride], dict[str, object]]:
    row = {"id": new_id("price"), "org_id": org_id, "provider": "openai", "model": "m", "rates": {"input_tokens": "9"}}
    return PriceOverride, {**row, "created_at": now()}


def credential(org_id: str) -> tuple[type[ProviderCredential], dict[str, object]]:
    row = {"id": new_id("cred"), "org_id": org_id, "provider": "openai", "sealed": b"x", "last4": "xxxx"}
    return ProviderCredential, {**row, "created_at": now(), "created_by": "somebody"}


@pytest.mark.parametrize(
    ("theirs", "save"),
    [
        (price, lambda actor: set_price(actor, "openai", "m", RATES)),
        (credential, lambda actor: store_credentials(actor, {"openai": "sk-of-the-second"})),
    ],
    ids=["price", "credential"],
)
def test_somebody_else_is_faster_by_a_moment(
    made: Made, theirs: Callable[[str], tuple[type, dict[str, object]]], save: Callable[[Actor], object]
) -> None:
    app, report = made
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            pytest.skip("a transaction that writes is alone there from its beginning")
        table, row = theirs(report.org_id)

        def be_faster(*_: object) -> None:
            with db.engine.begin() as connection:
                connection.execute(insert(table).values(row))

        event.listen(db.session, "before_flush", be_faster, once=True)
        save(Actor(report.org_id, "second@example.com", None))
        found: object = db.session.scalars(select(table)).one()
        if isinstance(found, PriceOverride):
            assert found.rates == RATES
            assert found.id != row["id"], "an id stands for its rates"
        else:
            assert isinstance(found, ProviderCredential)
            sealer = Sealer(app.extensions["settings"].encryption_keys)
            assert (found.id, sealer.unseal(found.sealed)) == (row["id"], "sk-of-the-second")
