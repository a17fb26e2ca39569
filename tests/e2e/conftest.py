"""One router for all end-to-end tests: sandbox, two proxy workers, dashboard. See harness.py."""

from collections.abc import Iterator

import pytest
from harness import Router
from pages_kit import browser, dashboard, visit  # noqa: F401 - fixtures
from raw_http import ScriptedProvider, reply


@pytest.fixture(scope="session")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """The running router. At the end nothing it wrote may hold a secret (catalogue D15, K08)."""
    router = Router(tmp_path_factory.mktemp("router") / "data")
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()
    assert router.leaks() == []


@pytest.fixture(scope="session")
def provider() -> Iterator[ScriptedProvider]:
    """A provider whose bytes a test writes itself."""
    provider = ScriptedProvider()
    yield provider
    provider.close()


@pytest.fixture
def quiet(provider: ScriptedProvider) -> ScriptedProvider:
    """The scripted provider, content with everything."""
    provider.play(lambda line, _: line.sock.sendall(reply(200, b"{}")))
    return provider


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[Router]:
    """A second router: one worker, behind a trusted proxy on this machine, `provider` being all three."""
    lab = Router(
        tmp_path_factory.mktemp("lab") / "data",
        workers=1,
        ROUTER_OPENAI_URL=provider.url,
        ROUTER_ANTHROPIC_URL=provider.url,
        ROUTER_GEMINI_URL=provider.url,
        ROUTER_TRUSTED_PROXIES="127.0.0.1,10.9.0.0/16",
    )
    try:
        lab.start_all()
        yield lab
    finally:
        lab.stop_all()
    assert lab.leaks() == []
