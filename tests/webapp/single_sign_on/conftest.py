"""A dashboard on which people log in through a real provider, which listens on this machine."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dashboard_kit import ADMIN, Clock, environment
from flask import Flask
from flask.testing import FlaskClient
from provider_of_people import PeopleProvider, running

from shared.config import Settings
from webapp.bootstrap import BootstrapReport


@pytest.fixture(scope="session")
def people() -> Iterator[PeopleProvider]:
    with running() as provider:
        yield provider


@pytest.fixture
def provider(people: PeopleProvider) -> Iterator[PeopleProvider]:
    """Whatever a test had it do, for the next one it behaves."""
    yield people
    people.behave()


@pytest.fixture
def clock() -> Clock:
    """The provider's own clock is this machine's."""
    clock = Clock()
    clock.now = datetime.now(UTC)
    return clock


@pytest.fixture
def settings(
    request: pytest.FixtureRequest,
    prepared: tuple[Path, BootstrapReport],
    tmp_path: Path,
    provider: PeopleProvider,
) -> Settings:
    """Of a router with the provider; the parameter has more of them."""
    shutil.copytree(prepared[0], tmp_path / "data")
    more: dict[str, str] = getattr(request, "param", {})
    return Settings.from_env({**environment(tmp_path / "data"), **provider.settings(), **more})


@pytest.fixture
def client(app: Flask, provider: PeopleProvider) -> FlaskClient:
    """A browser whose owner the provider knows as the administrator."""
    provider.knows("ann", email=ADMIN)
    return app.test_client()
