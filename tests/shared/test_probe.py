"""Asking a server by a process of its own: what ends that process says nothing about the server."""

from pathlib import Path

import pytest

from shared.config import SettingError
from shared.probe import ATTEMPTS, ask

MODULE = "tests.shared.ended_probe"


@pytest.mark.parametrize("ended", [0, 1, ATTEMPTS - 1])
def test_a_question_that_was_ended_is_asked_again(tmp_path: Path, ended: int) -> None:
    runs = tmp_path / "runs"
    ask(MODULE, "SOME_URL", "some://url", "A server", str(runs), str(ended))
    assert runs.read_text().splitlines() == ["some://url"] * (ended + 1)


def test_a_question_that_is_always_ended_is_an_error_at_last(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(SettingError, match=r"^SOME_URL: A server cannot be used: the attempt ended with status -9\.$"):
        ask(MODULE, "SOME_URL", "some://url", "A server", str(runs), str(ATTEMPTS))
    assert len(runs.read_text().splitlines()) == ATTEMPTS
