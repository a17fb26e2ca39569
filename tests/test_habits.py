"""What any public project has: a licence, a history, rules, and checks before a commit that need nothing from elsewhere."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from webapp import render
from webapp.pages.snippets import build

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_it_works() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    for pattern in PROJECT["license-files"]:
        assert list(ROOT.glob(pattern)), pattern
    licence = text_of("LICENSE")
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_the_history_tells_this_version_and_what_is_not_released() -> None:
    versions = re.findall(r"^## (\S+)", text_of("CHANGELOG.md"), re.MULTILINE)
    assert versions[:2] == ["Unreleased", PROJECT["version"]]


def test_the_readme_leads_to_every_guide() -> None:
    """It stays short: what is said once elsewhere is linked."""
    readme = text_of("README.md")
    linked = set(re.findall(r"\]\((docs/[^)#]+)", readme))
    assert linked >= {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert {"CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"} <= set(
        re.findall(r"\]\(([A-Z.a-z]+)\)", readme)
    )
    assert len(readme.splitlines()) <= 120


def test_hooks_are_our_own_tools() -> None:
    """No repository is fetched, and each entry is a program of the locked environment."""
    config = text_of(".pre-commit-config.yaml")
    assert re.findall(r"^\s*- repo: (\S+)", config, re.MULTILINE) == ["local"]
    assert "://" not in config
    entries = [shlex.split(entry) for entry in re.findall(r"entry: (.+)", config)]
    assert len(entries) == config.count("- id:") == config.count("language: system") >= 4
    locked = text_of("requirements-dev.lock")
    for entry in entries:
        program = entry[0].removeprefix(".venv/bin/")
        assert program == "python" or f"\n{program}==" in f"\n{locked}", entry
        for word in entry:
            if word.startswith("tests/"):
                assert (ROOT / word).exists()


def test_each_file_of_tests_has_a_name_of_its_own() -> None:
    """Of two with the same name only one can be collected, and the whole run ends at the other."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_each_target_of_make_is_told() -> None:
    targets = re.search(r"^\.PHONY: (.+)$", text_of("Makefile"), re.MULTILINE)
    assert targets is not None
    told = text_of("CONTRIBUTING.md")
    for target in targets[1].split():
        assert f"make {target}" in told, target


@pytest.mark.parametrize("label", ["OpenAI", "Anthropic", "Google Gen AI", "Claude Code", "Codex CLI", "curl"])
def test_the_guide_for_apps_has_each_client(label: str) -> None:
    assert re.search(rf"^### .*{label}", text_of("docs/clients.md"), re.MULTILINE)


def test_the_guide_for_apps_says_what_the_dashboard_says() -> None:
    """Each variable that a snippet sets stands there as well."""
    guide = text_of("docs/clients.md")
    for snippet in build("BASE", "sk-proxy-...", (), ()):
        for name in re.findall(r"^export ([A-Z_]+)=", snippet.text, re.MULTILINE):
            assert f"{name}=" in guide, (snippet.label, name)


def test_the_guide_for_staff_has_each_page() -> None:
    assert len(render._NAVIGATION) >= 2
    for label, *_ in render._NAVIGATION:
        assert f"| {label} |" in text_of("docs/dashboard.md"), label


@pytest.mark.parametrize("name", ["screenshots", "pictures"])
def test_what_takes_pictures_finds_all_that_it_imports(name: str) -> None:
    """As the Makefile calls it; nobody else does."""
    (found,) = re.findall(rf"^\tPYTHONPATH=(\S+) \$\(BIN\)/python (\S+{name}\.py)", text_of("Makefile"), re.MULTILINE)
    program = f"import runpy; runpy.run_path({found[1]!r}, run_name='looked at')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, 'tests/e2e'); {program}"],
        cwd=ROOT, env={"PYTHONPATH": found[0], "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
