"""One router for all end-to-end tests: sandbox, two proxy workers, dashboard. See harness.py."""

import pytest
from harness import Router


@pytest.fixture(scope="session")
def router(tmp_path_factory):
    """The running router. At the end nothing it wrote may hold a secret (catalogue D15, K08)."""
    router = Router(tmp_path_factory.mktemp("router") / "data")
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()
    assert router.leaks() == []
