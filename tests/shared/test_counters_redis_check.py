"""Before anything is started on a server it is asked whether it can hold the counters; each reason has its sentence."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from counters_kit import Home, Worker, charge, kinds
from redis_kit import RedisServer, free_ports

from shared.config import SettingError, Settings
from shared.counters import Admitted, connect, login_throttle
from shared.counters.redis import check
from shared.counters.redis.script import FORMAT, META
from shared.counters_probe import check_counters

PASSWORD = "pa55-of-somebody"


def problem(url: str) -> str:
    found = check.problem_of(url)
    assert found is not None
    assert PASSWORD not in found
    assert "\n" not in found
    assert not found.endswith(".")
    return found


def test_it_works(server: RedisServer, tmp_path: Path) -> None:
    assert check.problem_of(server.url) is None
    assert check.problem_of(f"redis://127.0.0.1:{server.port}/3") is None
    home = Home(tmp_path, server.url)
    home.live(1, "key")
    assert check.problem_of(server.url) is None
    home.close()


def test_what_has_no_connection_is_told_apart(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    assert "refused" in problem(f"redis://:{PASSWORD}@127.0.0.1:{port}")
    assert "refused" in problem(f"redis+cluster://:{PASSWORD}@127.0.0.1:{port}")
    assert "host is not known" in problem(f"redis://:{PASSWORD}@no-such-host.invalid")
    assert "no Sentinel answers" in problem(f"redis+sentinel://:{PASSWORD}@127.0.0.1:{port}/name")
    assert "is not there" in problem(f"redis+unix://{tmp_path}/none.sock")


def test_passwords_are_told_apart(server: RedisServer) -> None:
    at = f"127.0.0.1:{server.port}"
    assert problem(f"redis://:{PASSWORD}@{at}") == "it has no password, but the URL does"
    server.tell("CONFIG", "SET", "requirepass", "right")
    assert problem(f"redis://{at}") == "it wants a password"
    for given in (f":{PASSWORD}", f"nobody:{PASSWORD}"):
        assert problem(f"redis://{given}@{at}") == "the user or the password is wrong"
    assert check.problem_of(f"redis://:right@{at}") is None
    with server.client(password="right") as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", f">{PASSWORD}", "~*", "+@all", "-eval")
    assert "may not run" in problem(f"redis://weak:{PASSWORD}@{at}")


def test_a_user_may_do_no_more_than_the_settings_page_says(server: RedisServer, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    rights = page.partition("A user of its own (ACL) needs `")[2].partition("`")[0].split()
    assert len(rights) > 4
    server.tell("ACL", "SETUSER", "router", "on", f">{PASSWORD}", *rights)
    url = f"redis://router:{PASSWORD}@127.0.0.1:{server.port}"
    assert check.problem_of(url) is None
    home = Home(tmp_path, url)
    worker = Worker(home.live(1, "key")).register()
    assert kinds(worker.send(charge(rpm=5, limit=100, bound=60))) == [Admitted]
    unclocked = connect(url)
    assert unclocked.check(), "the server's own clock may be asked"
    unclocked.close()
    home.live(2, "key").fold_log()
    throttle = login_throttle(url)
    throttle.failed("ann")
    throttle.cleared("ann")
    throttle.close()
    home.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_may_forget_is_refused_even_before_it_has_to(server: RedisServer, policy: str) -> None:
    server.tell("CONFIG", "SET", "maxmemory-policy", policy)
    assert policy in problem(server.url)
    server.tell("CONFIG", "SET", "maxmemory", "100mb")
    assert "noeviction" in problem(server.url)


def test_a_replica_is_refused(server: RedisServer) -> None:
    server.tell("REPLICAOF", "127.0.0.1", 1)
    assert "replica" in problem(server.url)


@pytest.mark.parametrize(
    ("found", "told"),
    [(FORMAT - 1, None), (FORMAT, None), (FORMAT + 1, "it holds counters of a newer release"), ("x", "newer")],
)
def test_what_a_newer_release_left_is_refused(server: RedisServer, found: object, told: str | None) -> None:
    server.tell("HSET", META, "format", found)
    assert (told or "None") in str(check.problem_of(server.url))


@pytest.mark.parametrize(("version", "told"), [("6.2.14", "6.2.14"), ("5.0", "5.0"), ("7.0.0", None), ("8.2.1", None)])
def test_an_old_one_is_refused(monkeypatch: pytest.MonkeyPatch, version: str, told: str | None) -> None:
    class Client:
        def info(self, *_: str) -> dict[str, str]:
            return {"redis_version": version, "role": "master", "maxmemory_policy": "noeviction"}

        def eval(self, *_: Any) -> int:
            return 1

        def hget(self, *_: str) -> None:
            return None

    monkeypatch.setattr(check, "open_storage", lambda *_, **__: SimpleNamespace(get_connection=Client))
    found = check.problem_of("redis://h")
    assert (found is None) if told is None else (told in str(found))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"ROUTER_DATA_DIR": str(tmp_path / "data")})


def test_the_start_ends_with_one_sentence(settings: Settings, server: RedisServer) -> None:
    check_counters(settings)
    check_counters(replace(settings, limits_url=server.url))
    server.tell("CONFIG", "SET", "requirepass", "right")
    url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"
    with pytest.raises(SettingError) as caught:
        check_counters(replace(settings, limits_url=url))
    assert str(caught.value) == (
        f"ROUTER_LIMITS_URL: Redis at 127.0.0.1:{server.port} cannot be used: the user or the password is wrong."
    )


@pytest.mark.slow
def test_a_server_that_stands_still_is_given_up_in_time(settings: Settings, server: RedisServer) -> None:
    server.freeze()
    with pytest.raises(SettingError, match=r"^ROUTER_LIMITS_URL: .* does not answer within 10 seconds\.$"):
        check_counters(replace(settings, limits_url=server.url))
