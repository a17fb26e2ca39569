"""Settings from the environment."""

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from shared import keys
from shared.config import Bind, SettingError, Settings


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"ROUTER_DATA_DIR": str(tmp_path / "data")}


def test_it_works(env: dict[str, str], tmp_path: Path) -> None:
    settings = Settings.from_env(env)
    assert settings.database_url == f"sqlite:///{tmp_path}/data/router.db"
    assert settings.proxy_bind.url == "http://127.0.0.1:8080"
    assert settings.proxy_workers >= 1
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700


def test_secrets_are_made_once_and_kept_private(env: dict[str, str], tmp_path: Path) -> None:
    first, second = Settings.from_env(env), Settings.from_env(env)
    assert first.secret_key == second.secret_key
    assert first.encryption_keys == second.encryption_keys
    for name in ("secret_key", "encryption_key"):
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["encryption_key", "secret_key"]


def test_a_file_can_hold_a_value(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bind").write_text("127.0.0.1:9999\n")
    assert Settings.from_env({**env, "ROUTER_PROXY_BIND_FILE": str(tmp_path / "bind")}).proxy_bind.port == 9999


def test_only_the_first_line_of_the_file_counts(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "key").write_text(" sk-real-1234 \n# made for the router\n")
    settings = Settings.from_env({**env, "OPENAI_API_KEY_FILE": str(tmp_path / "key")})
    assert settings.provider_credentials == {"openai": "sk-real-1234"}


def test_the_settings_do_not_print_their_secrets(env: dict[str, str]) -> None:
    settings = Settings.from_env({**env, "OPENAI_API_KEY": "sk-very-secret"})
    assert "sk-very-secret" not in repr(settings)
    assert settings.secret_key not in f"{settings}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROUTER_PROXY_BIND", "8080"), ("ROUTER_WEB_BIND", "127.0.0.1:99999"), ("ROUTER_WEB_BIND", "host.example:80"),
        ("ROUTER_PROXY_WORKERS", "0"), ("ROUTER_PROXY_WORKERS", "many"), ("DATABASE_URL", "mysql://x/y"),
        ("DATABASE_URL", "sqlite:///"), ("ROUTER_LIMITS_URL", "redis://"), ("SECRET_KEY", "short"),
        ("SECRET_KEY", "a" * 40), ("ROUTER_ENCRYPTION_KEY", "nonsense"), ("ROUTER_OPENAI_URL", "api.openai.com"),
        ("ROUTER_GEMINI_URL", "file:///etc/passwd"), ("ROUTER_ANTHROPIC_URL", "https://u:p@host"),
        ("ROUTER_OPENAI_URL", "https://host/a b"), ("ROUTER_OPENAI_URL", "https://h\u00f6st"), ("ROUTER_OPENAI_URL", "https://@host"),
        ("ROUTER_OPENAI_URL", "https://host/v?"), ("ROUTER_OPENAI_URL", "https://[::1"), ("ROUTER_OPENAI_URL", "https://host:0"),
        ("ROUTER_TRUSTED_PROXIES", "10.0.0.0/0.255.255.255"), ("ROUTER_TRUSTED_PROXIES", "::ffff:10.0.0.0/104"),
        ("ROUTER_TRUSTED_PROXIES", "*"), ("ROUTER_TRUSTED_PROXIES", "0.0.0.0/0"), ("ROUTER_ADMIN_EMAIL", "nobody"),
        ("ROUTER_ADMIN_PASSWORD", "short"), ("ROUTER_BOOTSTRAP_TOKEN", "sk-mgmt-123"), ("OPENAI_API_KEY", "two words"),
    ],
)  # fmt: skip
def test_nonsense_stops_the_start_with_a_sentence_that_names_it(env: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.from_env({**env, name: value})


def test_a_value_and_a_file_at_once_are_refused(env: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="SECRET_KEY"):
        Settings.from_env({**env, "SECRET_KEY": "x", "SECRET_KEY_FILE": "y"})


def test_a_missing_file_is_named(env: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="SECRET_KEY_FILE"):
        Settings.from_env({**env, "SECRET_KEY_FILE": "/nowhere/at/all"})


def test_good_values_pass(env: dict[str, str]) -> None:
    fernet = f"{Fernet.generate_key().decode()}, {Fernet.generate_key().decode()}"
    token = keys.mint(keys.MANAGEMENT_TAG).raw
    settings = Settings.from_env({
        **env, "DATABASE_URL": "postgresql://u:p@h/db", "ROUTER_ENCRYPTION_KEY": fernet,
        "ROUTER_PROXY_BIND": "[::1]:80", "ROUTER_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1",
        "ROUTER_BOOTSTRAP_TOKEN": token, "OPENAI_API_KEY": "sk-x-12345",
    })  # fmt: skip
    assert settings.database_url == "postgresql+psycopg://u:p@h/db"
    assert len(settings.encryption_keys) == 2
    assert settings.proxy_bind.url == "http://[::1]:80"
    assert settings.provider_credentials == {"openai": "sk-x-12345"}


def test_a_version_in_a_providers_address_is_named(env: dict[str, str]) -> None:
    """Paths bring theirs along; a gateway may have one further in front."""
    with pytest.raises(SettingError, match=r"ROUTER_GEMINI_URL must end before /v1beta: "):
        Settings.from_env({**env, "ROUTER_GEMINI_URL": "https://gateway.example/v1beta/openai"})
    url = "https://gateway.example/v1/account/openai"
    assert Settings.from_env({**env, "ROUTER_OPENAI_URL": f"{url}/"}).provider_urls["openai"] == url


def test_a_relative_file_means_the_same_for_every_process(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    urls = {"DATABASE_URL": "sqlite:///a.db", "ROUTER_LIMITS_URL": "sqlite:///b.db"}
    settings = Settings.from_env({**env, **urls})
    assert settings.database_url == f"sqlite:///{tmp_path}/a.db"
    assert settings.limits_url == f"sqlite:///{tmp_path}/b.db"


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost", "redis://user:p%40ss@host:6380/3", "redis://:pass@[::1]:6379/", "rediss://host/0?ssl_ca_certs=/ca.pem",
        "redis+unix:///run/redis.sock", "redis+unix://:pass@/run/redis.sock?db=2", "redis+cluster://u:p@a:6379,b:6379,c:6379?ssl=true",
        "redis+sentinel://:p@a:26379,b:26379/mymaster", "redis+sentinel://a:26379/mymaster?sentinel_password=x",
    ],
)  # fmt: skip
def test_counters_may_be_on_a_server(env: dict[str, str], url: str) -> None:
    assert Settings.from_env({**env, "ROUTER_LIMITS_URL": url}).limits_url == url


def test_a_valkey_server_may_be_called_so(env: dict[str, str]) -> None:
    for given, taken in (
        ("valkey://a", "redis://a"),
        ("valkeys://a", "rediss://a"),
        ("valkey+unix:///s", "redis+unix:///s"),
    ):
        assert Settings.from_env({**env, "ROUTER_LIMITS_URL": given}).limits_url == taken


def test_the_ledger_writer_may_be_another_user(env: dict[str, str]) -> None:
    assert Settings.from_env(env).ledger_database_url == Settings.from_env(env).database_url
    both = {**env, "DATABASE_URL": "postgresql://a@h/r", "ROUTER_LEDGER_DATABASE_URL": "postgresql://b@h/r"}
    assert Settings.from_env(both).ledger_database_url == "postgresql+psycopg://b@h/r"
    for wrong in ({**both, "DATABASE_URL": ""}, {**both, "ROUTER_LEDGER_DATABASE_URL": "sqlite:///r.db"}):
        with pytest.raises(SettingError, match=r"^ROUTER_LEDGER_DATABASE_URL is for PostgreSQL"):
            Settings.from_env(wrong)


def test_the_journal_waits_for_the_disk_only_when_told_to(env: dict[str, str]) -> None:
    assert Settings.from_env(env).journal_sync == "none"
    assert Settings.from_env({**env, "ROUTER_JOURNAL_SYNC": "batch"}).journal_sync == "batch"


def test_operators_see_what_they_ask_for(env: dict[str, str], tmp_path: Path) -> None:
    nothing = Settings.from_env(env)
    assert (nothing.metrics_bind, nothing.request_log, nothing.request_log_path) == (None, None, None)
    path = {"ROUTER_REQUEST_LOG_PATH": str(tmp_path / "requests.log"), "ROUTER_METRICS_BIND": "[::1]:9100"}
    for word, share in (("all", 1.0), ("errors", 0.0), ("0.01", 0.01), (".5", 0.5), ("1", 1.0)):
        settings = Settings.from_env({**env, **path, "ROUTER_REQUEST_LOG": word})
        assert settings.request_log == share
    assert settings.metrics_bind == Bind("::1", 9100)
    assert settings.request_log_path == tmp_path / "requests.log"
    assert not settings.request_log_path.exists()


def test_a_collector_may_be_named_by_the_standard_variable(env: dict[str, str]) -> None:
    standard = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}
    assert Settings.from_env(env).otlp_endpoint is None
    assert Settings.from_env({**env, **standard}).otlp_endpoint == "http://collector:4318"
    own = {"ROUTER_OTLP_ENDPOINT": "https://other"}
    assert Settings.from_env({**env, **standard, **own}).otlp_endpoint == "https://other"
    with pytest.raises(SettingError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT must be"):
        Settings.from_env({**env, "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"})


def test_all_private_networks_may_be_trusted(env: dict[str, str]) -> None:
    private = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.0/8, fc00::/7, ::1"
    assert len(Settings.from_env({**env, "ROUTER_TRUSTED_PROXIES": private}).trusted_proxies) == 6


def test_as_many_as_somebody_has_may_be_trusted(env: dict[str, str]) -> None:
    """A large network of content, those of a NAT64 that are private, and what is hardly more than one machine."""
    large = "2a04:4e40::/32, 2606:4700::/29, 104.16.0.0/12, 64:ff9b::a00:0/104, 2001:db8::1"
    assert len(Settings.from_env({**env, "ROUTER_TRUSTED_PROXIES": large}).trusted_proxies) == 5


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss%2F@db.example.com:5432/router?sslmode=require", "postgresql:///router", "postgres://u@[::1]/router",
        "postgresql+psycopg://router@/router?host=/run/postgresql", "postgresql://h/?service=router",
    ],
)  # fmt: skip
def test_good_addresses_of_servers_pass(env: dict[str, str], url: str) -> None:
    settings = Settings.from_env({**env, "DATABASE_URL": url})
    assert settings.database_url == "postgresql+psycopg" + url[url.index("://") :]
