"""What the tests of the dialects share: an endpoint that is there, and a usage that was told."""

from proxyd.providers import Meter
from shared import catalog
from shared.catalog import Endpoint, Provider
from shared.pricing import Usage


def find_endpoint(provider: Provider, method: str, path: str) -> tuple[Endpoint, str | None]:
    """The endpoint, and the model where the path names one."""
    found = catalog.find_endpoint(provider, method, path)
    assert found is not None
    return found


def used(watch: Meter) -> Usage:
    """What the provider told."""
    usage = watch.usage()
    assert usage is not None
    return usage
