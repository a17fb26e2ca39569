"""Two who save at the same moment: the first price or credential, or one of a provider that is removed. On both databases."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import event, insert, select
from sqlalchemy.exc import OperationalError

from shared.ids import new_id
from shared.models import CustomProvider, PriceOverride, ProviderCredential
from shared.sealing import Sealer
from webapp.actions.credentials import add_credential, store_credentials
from webapp.actions.custom_providers import add_provider
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


@pytest.mark.parametrize(
    "store",
    [
        lambda actor: store_credentials(actor, {"groq": "gsk-of-somebody"}),
        lambda actor: add_credential(actor, "groq", {"label": "second", "credential": "gsk-of-somebody"}),
    ],
    ids=["default", "further"],
)
def test_nobody_removes_a_provider_while_a_credential_is_stored_for_it(
    made: Made, store: Callable[[Actor], object]
) -> None:
    """Else the next one of that name would inherit it, or another server than it was given for."""
    app, report = made
    actor = Actor(report.org_id, "second@example.com", None)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            pytest.skip("a transaction that writes is alone there from its beginning")
        add_provider(actor, {"provider": "groq", "base_url": "https://api.groq.com/openai/v1"})
        refused: list[OperationalError] = []

        def lock(*_: object) -> None:
            query = select(CustomProvider.id).with_for_update(nowait=True)
            with db.engine.connect() as connection, pytest.raises(OperationalError) as error:
                connection.execute(query)
            refused.append(error.value)

        event.listen(db.session, "before_flush", lock, once=True)
        store(actor)
        assert len(refused) == 1
