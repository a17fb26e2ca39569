"""Before anything is started on a server it is asked whether it can hold the counters; each reason has its sentence."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from counters_kit import TODAY, Home, Worker, charge, kinds
from redis_kit import RedisServer, TlsServer, Wire, free_ports, until

from shared.config import SettingError, Settings
from shared.counters import Admitted, Guarded, Hold, WorkerReplay, connect, login_throttle
from shared.counters.redis import check
from shared.counters.redis.script import FORMAT, META
from shared.counters_probe import check_counters
from shared.probe import Finding

PASSWORD = "pa55-of-somebody"


def problem(url: str) -> str:
    found = check.finding_of(url).problem
    assert found is not None
    assert PASSWORD not in found
    assert "\n" not in found
    assert not found.endswith(".")
    return found


def test_it_works(server: RedisServer, tmp_path: Path) -> None:
    assert check.finding_of(server.url).problem is None
    assert check.finding_of(f"redis://127.0.0.1:{server.port}/3").problem is None
    home = Home(tmp_path, server.url)
    home.live(1, "key")
    assert check.finding_of(server.url).problem is None
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
    assert check.finding_of(f"redis://:right@{at}").problem is None
    with server.client(password="right") as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", f">{PASSWORD}", "~*", "+@all", "-eval")
    assert "may not run" in problem(f"redis://weak:{PASSWORD}@{at}")


def test_users_may_do_no_more_than_the_page_says(server: RedisServer, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()
    rules = re.findall(r"^ACL SETUSER (router_\w+) .*$", page, re.MULTILINE)
    assert rules == ["router_proxy", "router_dashboard"]
    for rule in re.findall(r"^ACL SETUSER .*$", page, re.MULTILINE):
        server.tell(*rule.replace("PASSWORD", PASSWORD).split())
    proxy, dashboard = (f"redis://{name}:{PASSWORD}@127.0.0.1:{server.port}/0" for name in rules)
    assert check.finding_of(proxy) == check.finding_of(dashboard) == Finding()
    home = Home(tmp_path, proxy)
    worker = Worker(home.live(1, "key")).register()
    assert kinds(worker.send(charge(rpm=5, limit=100, bound=60))) == [Admitted]
    unclocked = connect(proxy)
    assert unclocked.check(), "the server's own clock may be asked"
    unclocked.close()
    counters = home.live(2, "key")
    counters.checkpoint()
    again = Worker(counters, generation=2).register()
    counters.close_worker(WorkerReplay(again.worker_id, 2, 0))
    shared = counters.shared
    assert shared is not None
    counters.begin_generation(3, {"away": 0})
    shared.fence(3, "away", [Hold("key", TODAY, 5)])
    counters.join(WorkerReplay("away", 3, 0))
    staff = connect(dashboard)
    staff.publish(3, {"key": 2}, {"org": 2})
    assert staff.rows(["key"])["key"].version == 2
    assert staff.org_version("org") == 2
    staff.close()
    throttle = login_throttle(dashboard)
    throttle.attempt([Guarded("ann"), Guarded("bob")])
    throttle.succeeded([Guarded("ann"), Guarded("bob")])
    throttle.close()
    home.close()
    assert server.tell("ACL", "LOG") == []


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
    assert (told or "None") in str(check.finding_of(server.url).problem)


@pytest.mark.parametrize(("version", "told"), [("6.2.9", "6.2.9"), ("7.0.0", None), ("8.2.1", None)])
def test_an_old_one_is_refused(server: RedisServer, version: str, told: str | None) -> None:
    """It says so itself, but for the number, which is changed on the way to us."""
    wire = Wire(server.socket)
    own = str(server.fact("server", "redis_version"))
    wire.said = f"redis_version:{own}\r\n".encode(), f"redis_version:{version}\r\n".ljust(16 + len(own)).encode()
    found = check.finding_of(wire.url).problem
    wire.close()
    assert (found is None) if told is None else (told in str(found))


def test_tls_and_none_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    server = TlsServer(tmp_path / "tls")
    try:
        assert check.finding_of(server.url) == Finding()
        assert problem(server.url.partition("?")[0]) == "its certificate cannot be trusted (self-signed certificate)"
        assert "certificate is not valid for '127.0.0.1'" in problem(server.url.replace("localhost", "127.0.0.1"))
        assert "is not there" in problem(f"rediss://localhost:{server.tls_port}/0?ssl_ca_certs=/nowhere.pem")
        given = f":{PASSWORD}@localhost"
        assert (
            problem(f"redis://{given}:{server.tls_port}") == "its URL begins with rediss://: it answers with TLS only"
        )
        assert problem(f"rediss://{given}:{server.port}") == "its URL begins with redis://: it answers without TLS"
        server.tell("CONFIG", "SET", "tls-auth-clients", "yes")
        assert "it wants a certificate" in problem(server.url)
    finally:
        server.stop()


def test_other_kinds_of_servers_are_told_apart(server: RedisServer, tmp_path: Path) -> None:
    at = f":{PASSWORD}@127.0.0.1:{server.port}"
    server.tell("CONFIG", "SET", "requirepass", PASSWORD)
    assert problem(f"redis+cluster://{at}") == "it is no cluster: the URL of a single server begins with redis://"
    assert problem(f"redis+sentinel://{at}/name?sentinel_password={PASSWORD}").startswith("it is no Sentinel")
    assert problem(f"redis://{at}/99") == "it has no database of that number"
    (tmp_path / "one").mkdir()
    one_of_many = RedisServer(tmp_path / "one", "--cluster-enabled", "yes")
    assert "begins with redis+cluster://" in problem(one_of_many.url)
    one_of_many.stop()
    (tmp_path / "sentinel").mkdir()
    (tmp_path / "sentinel" / "sentinel.conf").touch()
    sentinel = RedisServer(tmp_path / "sentinel", mode="sentinel")
    assert "begins with redis+sentinel://" in problem(f"redis://127.0.0.1:{sentinel.port}")
    told = problem(f"redis+sentinel://:{PASSWORD}@127.0.0.1:{sentinel.port}/name")
    assert told == "its Sentinels know no primary of that name that is up"
    sentinel.stop()


def test_replicas_that_nobody_waits_for_are_told(server: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "replica").mkdir()
    replica = RedisServer(tmp_path / "replica", "--replicaof", "127.0.0.1", str(server.port))
    until(lambda: replica.fact("replication", "master_link_status") == "up")
    problem, advice = check.finding_of(server.url)
    assert problem is None
    assert "min-replicas-to-write is 0" in str(advice)
    server.tell("CONFIG", "SET", "min-replicas-to-write", "1")
    assert check.finding_of(server.url) == Finding()
    replica.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"ROUTER_DATA_DIR": str(tmp_path / "data")})


def test_advice_is_logged_and_stops_nothing(
    settings: Settings, server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "replica").mkdir()
    replica = RedisServer(tmp_path / "replica", "--replicaof", "127.0.0.1", str(server.port))
    until(lambda: replica.fact("replication", "master_link_status") == "up")
    check_counters(replace(settings, limits_url=f"redis://127.0.0.1:{server.port}"))
    (told,) = caplog.messages
    assert told.startswith(f"ROUTER_LIMITS_URL: Redis at 127.0.0.1:{server.port} can be used, but it has replicas")
    replica.stop()


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
