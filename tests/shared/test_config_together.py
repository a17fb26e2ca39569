"""Settings that do not go together: one file or address for two things; and what looks odd and can work all the same."""

import base64
import os
import secrets
import socket
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from shared.config import Bind, SettingError, Settings
from shared.config.origins import leads_to


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"ROUTER_DATA_DIR": str(tmp_path / "data")}


def refusal(environ: dict[str, str], name: str) -> str:
    with pytest.raises(SettingError, match=f"^{name}") as caught:
        Settings.from_env(environ)
    return str(caught.value)


# Files


def test_it_works(env: dict[str, str], tmp_path: Path) -> None:
    """Nothing keeps databases and lines from lying in the data directory, beside what the router has there."""
    data = tmp_path / "data"
    settings = Settings.from_env({
        **env, "DATABASE_URL": f"sqlite:///{data}/own.db", "ROUTER_LIMITS_URL": f"sqlite:///{data}/../data/counters.db",
        "ROUTER_REQUEST_LOG_PATH": str(data / "requests.log"),
    })  # fmt: skip
    assert settings.request_log_path == data / "requests.log"


@pytest.mark.parametrize(
    "spelled",
    ["data/router.db", "data/./router.db", "data/../data/router.db", "/data/router.db", "link", "data/router.db-wal",
     "data/router.db-shm", "data/router.db-journal"],
)  # fmt: skip
def test_one_file_for_both_is_refused_however_it_is_spelled(env: dict[str, str], tmp_path: Path, spelled: str) -> None:
    Settings.from_env(env)
    (tmp_path / "data" / "router.db").touch()
    (tmp_path / "link").symlink_to(tmp_path / "data" / "router.db")
    sentence = refusal({**env, "ROUTER_LIMITS_URL": f"sqlite:///{tmp_path}/{spelled}"}, "ROUTER_LIMITS_URL")
    assert "names the file of DATABASE_URL, or one beside it" in sentence


def test_a_database_in_the_place_of_the_counters(env: dict[str, str], tmp_path: Path) -> None:
    limits = f"sqlite:///{tmp_path}/x.db"
    for end in (
        "x.db-wal",
        "x.db.lock",
        "x.db.new",
        "x.db.new-wal",
        "x-logins.db",
        "x-logins.db-shm",
        "x-logins.db.lock",
    ):
        refusal(
            {**env, "DATABASE_URL": f"sqlite:///{tmp_path}/{end}", "ROUTER_LIMITS_URL": limits}, "ROUTER_LIMITS_URL"
        )


def test_names_that_only_look_alike_pass(env: dict[str, str], tmp_path: Path) -> None:
    """Failed logins stand beside the counters alone, and no beginning of a name is anybody's."""
    database = {"DATABASE_URL": f"sqlite:///{tmp_path}/app.db"}
    for file in ("app.counters", "app.sqlite", "app.db-live", "app.db.lock"):
        url = f"sqlite:///{tmp_path}/{file}"
        assert Settings.from_env({**env, **database, "ROUTER_LIMITS_URL": url}).limits_url == url
    for file in ("router.db-live", "counters.db-old", "counters-logins.db.copy"):
        url = f"sqlite:///{tmp_path}/data/{file}"
        assert Settings.from_env({**env, "DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize("name", ["DATABASE_URL", "ROUTER_LIMITS_URL"])
def test_a_database_takes_the_place_of_nothing_of_ours(env: dict[str, str], tmp_path: Path, name: str) -> None:
    Settings.from_env(env)
    (tmp_path / "link").symlink_to(tmp_path / "data" / "machine_id")
    for file in (
        "data/machine_id",
        "data/bootstrap.lock",
        "data/accounting.page",
        "data/router.db-wal",
        "data/counters.db.lock",
    ):
        apart = {"DATABASE_URL": f"sqlite:///{tmp_path}/a.db", "ROUTER_LIMITS_URL": f"sqlite:///{tmp_path}/b.db"}
        assert "the router's own" in refusal({**env, **apart, name: f"sqlite:///{tmp_path}/{file}"}, name)
    assert not (tmp_path / "data" / "machine_id").exists()


@pytest.mark.parametrize(
    "file",
    ["data/secret_key", "data/encryption_key", "data/router.db-wal", "data/counters.db", "data/journals/x", "data/refusals/x",
     "data/x/../secret_key", "link", "given", "own.db", "own.db-wal"],
)  # fmt: skip
def test_lines_go_into_nothing_of_ours(env: dict[str, str], tmp_path: Path, file: str) -> None:
    """They were appended behind the key once, and the next start could not read it."""
    (tmp_path / "given").write_text("sk-real-1234\n")
    given = {"OPENAI_API_KEY_FILE": str(tmp_path / "given"), "DATABASE_URL": f"sqlite:///{tmp_path}/own.db"}
    Settings.from_env(env | given)
    (tmp_path / "link").symlink_to(tmp_path / "data" / "encryption_key")
    for folder in ("journals", "refusals", "x"):
        (tmp_path / "data" / folder).mkdir()
    wrong = env | given | {"ROUTER_REQUEST_LOG_PATH": str(tmp_path / file)}
    assert "is the router's own" in refusal(wrong, "ROUTER_REQUEST_LOG_PATH")


def test_what_lines_can_be_written_to(env: dict[str, str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/stdout"), tmp_path / "new.log"):
        assert Settings.from_env({**env, "ROUTER_REQUEST_LOG_PATH": str(path)}).request_log_path == path
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    for name in ("loop", "socket"):
        refusal({**env, "ROUTER_REQUEST_LOG_PATH": str(tmp_path / name)}, "ROUTER_REQUEST_LOG_PATH must be a file")


# Addresses


@pytest.mark.parametrize(
    ("url", "bind", "leads"),
    [
        ("http://127.0.0.1:8080", Bind("127.0.0.1", 8080), True), ("http://127.0.0.1:8081", Bind("127.0.0.1", 8080), False),
        ("http://127.0.0.2:8080", Bind("0.0.0.0", 8080), True), ("http://127.0.0.2:8080", Bind("::", 8080), True),
        ("http://127.0.0.2:8080", Bind("127.0.0.1", 8080), False), ("http://127.0.0.2:8080", Bind("127.0.0.2", 8080), True),
        ("http://0.0.0.0:8080", Bind("127.0.0.2", 8080), False), ("http://[::1]:8080", Bind("127.0.0.1", 8080), True),
        ("http://[::ffff:10.1.2.3]", Bind("10.1.2.3", 80), True), ("https://10.1.2.3", Bind("10.1.2.3", 80), False),
        ("http://10.515:80", Bind("10.0.2.3", 80), True), ("http://sandbox:8080", Bind("0.0.0.0", 8080), False),
        ("http://ip6-localhost:8080", Bind("::1", 8080), True), ("http://localhost.example:8080", Bind("127.0.0.1", 8080), False),
    ],
)  # fmt: skip
def test_where_an_address_leads(url: str, bind: Bind, leads: bool) -> None:
    assert leads_to(url, bind) == leads


@pytest.mark.parametrize("own", ["ROUTER_PUBLIC_URL", "ROUTER_DASHBOARD_URL"])
def test_a_provider_at_our_own_address_is_refused(env: dict[str, str], own: str) -> None:
    at = {**env, own: "https://llm.example.com/router"}
    below: tuple[str, ...] = ("http://llm.example.com./router/openai", "https://llm.example.com/%72outer/gemini")
    apart: tuple[str, ...] = (
        "https://llm.example.com",
        "https://llm.example.com/gateway",
        "https://llm.example.com:8443/router",
    )
    if own == "ROUTER_DASHBOARD_URL":  # it has nothing there, so a gateway may
        below, apart = (), apart + below
    for url in ("https://llm.example.com/router", "https://LLM.example.com:443/router/", *below):
        assert f"is the address of {own}: the router would ask itself" in refusal(
            {**at, "ROUTER_GEMINI_URL": url}, "ROUTER_GEMINI_URL"
        )
    for url in apart:
        assert Settings.from_env({**at, "ROUTER_GEMINI_URL": url}).provider_urls["gemini"] == url


@pytest.mark.parametrize(
    "url",
    [
        "https://gateway.ai.cloudflare.com/v1/0123456789abcdef/main/openai", "https://gateway.example/v2x", "https://gateway.example/v",
        "https://gateway.example/openai-v1", "https://gateway.example/a(b)/c%20d", "http://127.0.0.1:8090", "http://[fd00::1]:8080",
    ],
)  # fmt: skip
def test_addresses_of_gateways_pass(env: dict[str, str], url: str) -> None:
    assert Settings.from_env({**env, "ROUTER_OPENAI_URL": url}).provider_urls["openai"] == url


def test_on_one_machine_each_has_a_port_of_its_own(env: dict[str, str]) -> None:
    """On machines of their own they may have the same: what the other's variable says means nothing there."""
    Settings.from_env(env).refuse_together()
    same = Settings.from_env({**env, "ROUTER_PROXY_BIND": "0.0.0.0:8000"})
    with pytest.raises(SettingError, match=r"^ROUTER_WEB_BIND and ROUTER_PROXY_BIND name the same port"):
        same.refuse_together()
    dashboard = Settings.from_env({**env, "ROUTER_ANTHROPIC_URL": "http://localhost:8000"})
    with pytest.raises(SettingError, match=r"^ROUTER_ANTHROPIC_URL is the address of ROUTER_WEB_BIND"):
        dashboard.refuse_together()


# Secrets


def test_whatever_is_random_is_good_enough(env: dict[str, str]) -> None:
    """What people are told to use, in the shortest form that is taken."""
    for _ in range(300):
        for secret in (secrets.token_hex(8), secrets.token_urlsafe(12), secrets.token_hex(32)):
            settings = Settings.from_env({**env, "SECRET_KEY": secret, "SECRET_KEY_FALLBACKS": secret})
            assert (settings.secret_key, settings.secret_key_fallbacks) == (secret, (secret,))
        of_hex = base64.urlsafe_b64encode(secrets.token_hex(16).encode()).decode()
        Settings.from_env({**env, "ROUTER_ENCRYPTION_KEY": f"{Fernet.generate_key().decode()},{of_hex}"})
        Settings.from_env({**env, "ROUTER_ENCRYPTION_KEY": of_hex})


def test_a_secret_key_that_can_be_guessed_is_left_by_another_one(env: dict[str, str]) -> None:
    """Sessions of then still count; it signs none any more."""
    for old in ("abcdabcdabcdabcd", "change-me-please", "passwordpassword"):
        refusal({**env, "SECRET_KEY": old}, "SECRET_KEY")
        both = {**env, "SECRET_KEY": secrets.token_hex(32), "SECRET_KEY_FALLBACKS": old}
        assert Settings.from_env(both).secret_key_fallbacks == (old,)
        assert "16 characters, of several kinds, in each key" in refusal(
            {**both, "SECRET_KEY_FALLBACKS": f"{old},short"}, "SECRET_KEY_FALLBACKS"
        )


def test_words_that_belong_together_only_here_pass(env: dict[str, str]) -> None:
    for secret in ("a secret of the tests, long enough", "correct horse battery staple", "my dog eats 7 blue shoes"):
        assert Settings.from_env({**env, "SECRET_KEY": secret}).secret_key == secret


def test_a_gateway_may_have_keys_of_any_kind(env: dict[str, str]) -> None:
    other = {"OPENAI_API_KEY": "sk-ant-of-a-gateway"}
    sentence = refusal(env | other, "OPENAI_API_KEY")
    assert sentence == "OPENAI_API_KEY is a key of Anthropic; that of OpenAI belongs here."
    refusal({**env, **other, "ROUTER_OPENAI_URL": "https://api.openai.com/"}, "OPENAI_API_KEY")
    at_a_gateway = Settings.from_env({**env, **other, "ROUTER_OPENAI_URL": "https://gateway.example"})
    assert at_a_gateway.provider_credentials == {"openai": "sk-ant-of-a-gateway"}
    long = {"OPENAI_API_KEY": "e" * 4_096, "ROUTER_OPENAI_URL": "https://gateway.example"}
    assert Settings.from_env(env | long).provider_credentials == {"openai": "e" * 4_096}
    assert "1 to 4,096 printable" in refusal({**env, **long, "OPENAI_API_KEY": "e" * 4_097}, "OPENAI_API_KEY")
    assert "1 to 500 printable" in refusal({**env, "OPENAI_API_KEY": "e" * 501}, "OPENAI_API_KEY")
    assert (at_a_gateway.is_at_home("openai"), at_a_gateway.is_at_home("gemini")) == (False, True)
