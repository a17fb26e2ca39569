"""What `make run` starts, before anything is started."""

from pathlib import Path

import pytest

from shared.config import Settings
from webapp import launch


def test_it_works(tmp_path: Path) -> None:
    """Only the proxy, whose ledger writer it is for, is told how to write the ledger."""
    writer = {"ROUTER_LEDGER_DATABASE_URL": "postgresql://writer@h/r"}
    environ = {"ROUTER_DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": "postgresql://reader@h/r", **writer}
    settings = Settings.from_env(environ)
    children = {child.name: child.environ for child in launch._commands(settings, environ, None)}
    assert set(children) == {"proxy", "dashboard"}
    assert children["proxy"].items() >= writer.items()
    assert not children["dashboard"].keys() & writer.keys()
    assert "reader" in children["dashboard"]["DATABASE_URL"]


def test_one_port_for_both_ends_it_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"ROUTER_DATA_DIR": str(tmp_path / "data"), "ROUTER_WEB_BIND": "127.0.0.1:8080"}
    assert launch.main(environ) == 2
    assert capsys.readouterr().err == "ROUTER_WEB_BIND and ROUTER_PROXY_BIND name the same port. Give each its own.\n"
    assert not (tmp_path / "data" / "router.db").exists()
