"""The first request of a worker is not late: everything is loaded before it is let in."""

import re
from collections.abc import Iterator

import pytest
from calls import chat, messages
from harness import Router


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router of one worker whose log tells each module as it is imported."""
    fresh = Router(tmp_path_factory.mktemp("fresh") / "data", workers=1, PYTHONPROFILEIMPORTTIME="1")
    try:
        fresh.start_all()
        yield fresh
    finally:
        fresh.stop_all()


def imported(log: str) -> list[str]:
    return re.findall(r"^import time:[ |\d]+\|\s+(\S+)$", log, re.MULTILINE)


def test_a_first_request_imports_nothing(fresh: Router) -> None:
    _, key = fresh.create_key(name="first", spend_limit_usd="1.00", rate_limit_rpm=10)
    before = fresh.log_of("proxy")
    assert "httptools" in imported(before)
    assert chat(fresh, key).status_code == 200
    assert chat(fresh, key, stream=True).status_code == 200
    assert messages(fresh, key).status_code == 200
    assert chat(fresh, "sk-proxy-nonsense").status_code == 401
    assert imported(fresh.log_of("proxy")[len(before) :]) == []
