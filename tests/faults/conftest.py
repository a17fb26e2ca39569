"""One router for the tests that leave it whole, others for those that do not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import FaultyRouter, Make
from pools_kit import Pools
from postgres_kit import PostgresServer
from sizes import LONG

_POOLS: list[Pools] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(3600 if LONG else 300))


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Routers of one's own, not started yet. They end with the session at the latest."""
    made: list[FaultyRouter] = []

    def build(*, workers: int = 2, bootstrap: bool = True, **settings: str) -> FaultyRouter:
        """Without `bootstrap` its database is ready already, as that of a second pool is."""
        router = FaultyRouter(tmp_path_factory.mktemp("faults") / "data", workers=workers, **settings)
        made.append(router)
        if bootstrap:
            router.bootstrap()
        return router

    try:
        yield build
    finally:
        for router in made:
            router.stop_all()


@pytest.fixture(scope="session")
def shared_router(make: Make) -> FaultyRouter:
    router = make()
    router.start("sandbox", "proxy", "dashboard")
    return router


@pytest.fixture
def router(shared_router: FaultyRouter) -> FaultyRouter:
    """The shared one, ready again, whatever the test before did to it."""
    for name in ("sandbox", "proxy", "dashboard"):
        if name not in shared_router.processes or shared_router.processes[name].poll() is not None:
            shared_router.start(name)
    shared_router.wait_until_ready()
    return shared_router


@pytest.fixture(scope="session")
def shared_pools(
    make: Make, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pools]:
    pools = Pools(make, postgres_server, tmp_path_factory.mktemp("pools"))
    _POOLS.append(pools)
    yield pools
    pools.close()


@pytest.fixture
def pools(shared_pools: Pools) -> Pools:
    """They, ready again, whatever the test before did to them."""
    shared_pools.start()
    return shared_pools


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Two pools that the next test does not use do not run on beside it: they would only take its time."""
    if "pools" in _fixtures(item) and "pools" not in _fixtures(nextitem):
        for pools in _POOLS:
            pools.stop()


def _fixtures(item: pytest.Item | None) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Say a line about this test in the summary, for docs/guarantees.md."""
    return lambda found: request.node.user_properties.append(("found", str(found)))
