"""The database of the dashboard: Flask-SQLAlchemy over the tables that both processes share.

A request reads through `db.session`. A change goes through `writing()`, which begins the transaction as a writing one
(see `shared.db.configure`), commits at its end and rolls back on any exception.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from sqlalchemy import make_url
from sqlalchemy.orm import scoped_session

from shared.config import Settings
from shared.db import Base, configure

db = SQLAlchemy(model_class=Base)


def init_app(app: Flask, settings: Settings) -> None:
    """Bind `db` to the app. Connects to nothing yet."""
    url = make_url(settings.database_url)
    # Values of a failed statement may be digests and sealed credentials: they stay out of error texts.
    options: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True}
    if url.get_backend_name() == "sqlite":
        # Flask-SQLAlchemy would look for a relative file in its own instance folder, the proxy in this directory.
        url = url.set(database=str(Path(url.database or "").absolute()))
        options["pool_pre_ping"] = False
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    db.init_app(app)
    with app.app_context():
        configure(db.engine)


@contextmanager
def writing() -> Iterator[scoped_session[Session]]:
    """One transaction that writes. What was read in the request before is read afresh in it."""
    if not current_app:
        raise RuntimeError("a write needs an application context")
    db.session.rollback()
    db.session.connection(execution_options={"writes": True})
    try:
        yield db.session
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise
