"""A dashboard on real SQLite files in a temporary directory, with a clock that tests move by hand."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alerts_kit import alerting, deliver, hook, look, mail_box, receiver  # noqa: F401 - fixtures
from cli_kit import command  # noqa: F401 - a fixture
from dashboard_kit import ADMIN, START, Api, Clock, environment
from databases_kit import either, empty, made  # noqa: F401 - fixtures
from flask import Flask
from flask.testing import FlaskClient
from happened_kit import happened  # noqa: F401 - a fixture
from kept_kit import keep
from live_counters import LiveCounters
from provider_kit import provider  # noqa: F401 - a fixture

from shared.catalog import PROVIDERS
from shared.config import Settings
from shared.counters import WRITER_LOCK
from shared.ids import new_id
from shared.models import SCOPES, Organization, User
from webapp import create_app
from webapp.actions import login as login_actions
from webapp.actions.credentials import store_credentials
from webapp.actions.keys import create_key
from webapp.actions.tokens import create_token
from webapp.bootstrap import BootstrapReport, bootstrap
from webapp.context import Actor
from webapp.db import db, writing
from webapp.events import EVENTS
from webapp.views.keys import KeyView

keep()


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """In the place of pytest-flask's: under its context all requests of a test would share one session and one g."""


@pytest.fixture(autouse=True)
def _room_for_events() -> None:
    """The log of a process has room for so many lines a minute; what other tests made of it is none of this one's."""
    EVENTS._room.clear()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BootstrapReport]:
    """A data directory after its bootstrap. Tests work on copies of it."""
    home = tmp_path_factory.mktemp("prepared")
    return home, bootstrap(Settings.from_env(environment(home)))


@pytest.fixture
def settings(prepared: tuple[Path, BootstrapReport], tmp_path: Path) -> Settings:
    shutil.copytree(prepared[0], tmp_path / "data")
    return Settings.from_env(environment(tmp_path / "data"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(settings: Settings, clock: Clock) -> Iterator[Flask]:
    app = create_app(settings, clock=clock)
    app.testing = True
    app.config["PROPAGATE_EXCEPTIONS"] = False
    yield app
    with app.app_context():
        db.engine.dispose()
    app.extensions["counters"].close()


@pytest.fixture
def live(app: Flask) -> Iterator[LiveCounters]:
    """Counters as a running router keeps them."""
    live = LiveCounters(app)
    yield live
    live.close()


@pytest.fixture
def keeper(settings: Settings) -> Iterator[None]:
    """A ledger writer is alive: its lock is held."""
    with (settings.data_dir / WRITER_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def org_id(prepared: tuple[Path, BootstrapReport]) -> str:
    return prepared[1].org_id


@pytest.fixture
def actor(org_id: str) -> Actor:
    return Actor(org_id, ADMIN, "127.0.0.1", role="admin")


@pytest.fixture
def served(app: Flask, actor: Actor) -> None:
    """All built-in providers have a credential."""
    with app.app_context():
        store_credentials(actor, {slug: f"sk-real-{slug}" for slug in PROVIDERS})


@pytest.fixture
def api(app: Flask, prepared: tuple[Path, BootstrapReport]) -> Api:
    return Api(app.test_client(), prepared[1].management_token or "")


@pytest.fixture
def stranger(app: Flask) -> Api:
    """The API as another organisation sees it."""
    with app.app_context():
        other = new_id("org")
        with writing() as session:
            session.add(Organization(id=other, name="Other", created_at=START))
        token = create_token(Actor(other, "system", None), "theirs", SCOPES).secret
    return Api(app.test_client(), token)


@pytest.fixture
def enter(app: Flask, org_id: str) -> Callable[[str], FlaskClient]:
    """`enter(role)`: a browser in which somebody with this role is logged in."""

    def enter(role: str) -> FlaskClient:
        email = f"{role}-{new_id('t').lower()}@example.com"
        with app.app_context():
            user_id = new_id("usr")
            with writing() as session:
                session.add(
                    User(id=user_id, org_id=org_id, email=email, password_hash="-", role=role, created_at=START)
                )
            session_id = login_actions.open_for(Actor(org_id, email, None, role=role), user_id)
        client = app.test_client()
        with client.session_transaction() as cookie:
            cookie["_user_id"] = session_id
        return client

    return enter


@pytest.fixture
def member(enter: Callable[[str], FlaskClient]) -> FlaskClient:
    """A browser in which a member is logged in."""
    return enter("member")


@pytest.fixture
def make(app: Flask, actor: Actor) -> Callable[..., KeyView]:
    """`make(name, ...)`: a key made behind the page's back."""

    def make(name: str = "a key", **fields: object) -> KeyView:
        with app.app_context():
            return create_key(actor, {"name": name, **fields}).view

    return make


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[..., Settings]:
    """`fresh(NAME=value, ...)`: the settings of one installation that is not there yet."""

    def fresh(**environ: str) -> Settings:
        return Settings.from_env({"ROUTER_DATA_DIR": str(tmp_path / "fresh"), **environ})

    return fresh
