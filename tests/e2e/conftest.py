"""One router for all end-to-end tests: sandbox, two proxy workers, dashboard. See harness.py and observed_kit.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aimock_kit import elsewhere, far  # noqa: F401 - fixtures
from harness import Router
from observed_kit import ObservedRouter
from pages_kit import browser, dashboard, entered, visit  # noqa: F401 - fixtures
from raw_http import ScriptedProvider, reply


@pytest.fixture(scope="session")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObservedRouter]:
    """The running router, which tells all that operators may see. Nothing it wrote may hold a secret at the end, the
    log of requests neither (catalogue D15, K08)."""
    router = ObservedRouter(tmp_path_factory.mktemp("router") / "data")
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()
        router.close()
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


def _before(provider: ScriptedProvider, folder: Path, *others: str) -> Iterator[Router]:
    """A router of one worker, behind a trusted proxy on this machine, for which `provider` is OpenAI and `others`."""
    urls = {f"ROUTER_{name}_URL": provider.url for name in ("OPENAI", *others)}
    router = Router(folder / "data", workers=1, ROUTER_TRUSTED_PROXIES="127.0.0.1,10.9.0.0/16", **urls)
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()
    assert router.leaks() == []


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[Router]:
    """A second router, OpenAI and Anthropic being `provider`, Gemini the sandbox."""
    yield from _before(provider, tmp_path_factory.mktemp("lab"), "ANTHROPIC")


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[Router]:
    """A third one, `provider` being all three."""
    yield from _before(provider, tmp_path_factory.mktemp("stage"), "ANTHROPIC", "GEMINI")
