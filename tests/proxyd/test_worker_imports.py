"""What a worker does not load: each of these takes memory of every process, and nothing there uses it."""

import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "shared" / "counters" / "redis" / "library.py"
# Builds a worker as the pool does, and prints what it has loaded.
WORKER = """
import sys
from proxyd import app, cli
from shared.config import Settings
app.build(Settings.from_env())
print(*sys.modules)
"""


def loaded(tmp_path: Path, **settings: str) -> set[str]:
    environ = {"ROUTER_DATA_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path), **settings}
    done = subprocess.run(
        [sys.executable, "-c", WORKER], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def below(names: set[str], *packages: str) -> list[str]:
    return sorted(name for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages))


def test_a_worker_on_files_loads_nothing_of_servers(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    assert "sqlalchemy.dialects.sqlite" in found
    assert below(found, "sqlalchemy.dialects.postgresql", "psycopg", "redis") == []


def test_a_worker_on_servers_loads_one_half_of_the_client_of_redis(tmp_path: Path) -> None:
    urls = {
        "DATABASE_URL": "postgresql+psycopg://router@127.0.0.1:1/router",
        "ROUTER_LIMITS_URL": "redis://127.0.0.1:1/0",
    }
    found = loaded(tmp_path, **urls)
    assert {"sqlalchemy.dialects.postgresql", "psycopg", "redis"} <= found
    assert below(found, "redis.asyncio.client", "redis.asyncio.connection", "redis.asyncio.cluster") == []


def test_a_worker_loads_no_tables_that_it_never_asks_for(tmp_path: Path) -> None:
    late = {f"shared.models.{name}" for name in ("alerts", "key_lists", "labels", "people")}
    assert late & loaded(tmp_path) == set()


def test_tables_that_are_loaded_late_are_there_for_whoever_asks() -> None:
    code = (
        "import sys, shared.models as models; before = set(models.Base.metadata.tables);"
        "all_of_them = set(models.metadata().tables);"
        "assert {'users', 'alerts', 'key_tags', 'key_search'} <= all_of_them - before;"
        "assert [name for name in models.__all__ if not hasattr(models, name)] == [];"
        "assert models.User.__tablename__ == 'users' and not hasattr(models, 'Nobody')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("begins", ["", "from redis.asyncio import Redis", "from redis import asyncio"])
def test_another_release_of_the_client_of_redis_is_loaded_all_the_same(tmp_path: Path, begins: str) -> None:
    for name, text in (("redis", begins), ("redis/asyncio", "class Redis: pass")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
        "from importlib.util import module_from_spec, spec_from_file_location;"
        f"spec = spec_from_file_location('library', {str(LIBRARY)!r}); spec.loader.exec_module(module_from_spec(spec));"
        "import redis, redis.asyncio;"
        f"assert redis.__file__.startswith({str(tmp_path)!r}) and redis.asyncio.Redis"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_other_half_is_there_for_whoever_imports_it() -> None:
    code = (
        "import shared.counters.redis.client, redis, redis.asyncio;"
        "from redis import asyncio; from redis.asyncio import Redis;"
        "assert asyncio is redis.asyncio and asyncio.Redis is Redis and redis.asyncio.client.Redis is Redis"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
