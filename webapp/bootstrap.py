"""The bootstrap for a launcher: from settings alone to a report of what is in place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from flask import Flask

from shared.config import Settings
from webapp import create_app
from webapp.actions.credentials import store_credentials
from webapp.db import db
from webapp.first_start import BootstrapReport, SchemaError, first_actor, prepare

__all__ = ["BootstrapReport", "SchemaError", "bootstrap", "set_credentials"]


def bootstrap(settings: Settings) -> BootstrapReport:
    """Prepare everything for `settings`. Raises SchemaError when the database is newer than this version."""
    with _app(settings) as app:
        return prepare(app)


def set_credentials(settings: Settings, credentials: Mapping[str, str]) -> tuple[str, ...]:
    """Store credentials of the first organisation, by provider; answers with the providers whose one is new."""
    with _app(settings):
        actor = first_actor()
        if actor is None:
            raise SchemaError("There is no organisation yet: run the bootstrap first.")
        return store_credentials(actor, credentials)


@contextmanager
def _app(settings: Settings) -> Iterator[Flask]:
    """An app for this one task; it leaves no connection open, because a launcher starts other processes next."""
    app = create_app(settings)
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            db.engine.dispose()
            app.extensions["counters"].close()
