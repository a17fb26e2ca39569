"""What `make run` starts, before anything is started."""

from pathlib import Path

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
