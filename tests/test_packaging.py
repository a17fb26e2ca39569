"""There is no wheel: whoever tries to build or install one is told how the router is run."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a checkout as a build looks at, so that nothing is left in this one."""
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "packaging", checkout / "packaging", ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("webapp", "proxyd", "shared"):
        (checkout / package).mkdir()
        (checkout / package / "__init__.py").touch()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, checkout / name)
    return checkout


@pytest.mark.parametrize(
    "command", [["wheel", "--wheel-dir", "out"], ["install", "--target", "out"], ["install", "--target", "out", "-e"]]
)
def test_it_works(checkout: Path, command: list[str]) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    done = subprocess.run(
        [*pip, command[0], "--no-index", "--no-deps", *command[1:], "."],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "Enterprise Router runs from its checkout" in " ".join((done.stdout + done.stderr).split())
    assert "make run" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert list(checkout.glob("out/*")) == []


def test_the_build_asks_for_nothing_from_elsewhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["build-system"]["requires"] == []
