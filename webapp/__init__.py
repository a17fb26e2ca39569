"""The dashboard and the management API: what people decide is written here.

Law of this package: it never imports `proxyd`. Pages and JSON share one set of actions and one validation.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask
from flask_migrate import Migrate

from shared import counters
from shared.config import Settings
from webapp import cli, db, errors, headers, oidc, render, security
from webapp.api import API
from webapp.pages import PAGES

HOME = Path(__file__).resolve().parent.parent
MAX_BODY_BYTES = 1_000_000
MAX_FORM_PARTS = 100


def create_app(settings: Settings | None = None, *, clock: Callable[[], datetime] | None = None) -> Flask:
    """The whole app. Connects to nothing: engine and counters open on first use, in each process and thread."""
    settings = settings or Settings.from_env(os.environ)
    app = Flask(
        __name__,
        root_path=str(HOME),
        instance_path=str(settings.data_dir),
        template_folder="templates",
        static_folder=None,  # so that Flask makes no route of its own: whitenoise serves them, see `headers`
    )
    app.static_folder, app.static_url_path = str(HOME / "static"), "/static"
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SECRET_KEY_FALLBACKS=list(settings.secret_key_fallbacks),
        # Of a list itsdangerous signs with the last one.
        WTF_CSRF_SECRET_KEY=[*reversed(settings.secret_key_fallbacks), settings.secret_key],
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_BODY_BYTES,
        MAX_FORM_PARTS=MAX_FORM_PARTS,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined] # fields stand in the order of the contract
    # These would redirect to an absolute address made of the Host header.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    app.extensions["settings"] = settings
    moment = clock or (lambda: datetime.now(UTC))
    app.extensions["clock"] = moment
    # Without a clock of tests they go by their own, which on a server is the server's: it is one for all machines.
    own_clock = None if clock is None else _AppClock(clock)
    app.extensions["counters"] = counters.connect(settings.limits_url, clock=own_clock)
    app.extensions["login_throttle"] = counters.login_throttle(settings.limits_url, clock=own_clock)
    app.extensions["oidc"] = None if settings.sign_in is None else oidc.Provider(settings.sign_in)
    db.init_app(app, settings)
    Migrate(app, db.db, directory=str(HOME / "migrations"))
    headers.init_app(app, HOME / "static", settings.trusted_proxies, dashboard_url=settings.dashboard_url)
    security.init_app(app)
    errors.init_app(app)
    render.init_app(app)
    for blueprint in (*PAGES, *API):
        app.register_blueprint(blueprint)
    for blueprint in API:
        security.csrf.exempt(blueprint)
    cli.init_app(app)
    return app


class _AppClock(counters.SystemClock):
    """The app's own wall clock, which tests set; the steady one is the machine's."""

    def __init__(self, moment: Callable[[], datetime]) -> None:
        self._moment = moment

    def wall(self) -> float:  # type: ignore[override] # a method of the object here
        return self._moment().timestamp()
