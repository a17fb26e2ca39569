"""Every setting, in one table: name, default, how it is read, and what it means.

Both processes build a frozen `Settings` from the environment once, at start. Each variable can also be given as
`NAME_FILE`, a path whose first line is the value. Nonsense raises `SettingError` with a sentence that names the
variable, so that a start stops before anything listens. To add a setting, add a row here and a field below; the docs
test asks for it in docs/settings.md.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from shared.addresses import parse_network
from shared.keys import MANAGEMENT_TAG, looks_like_ours
from shared.policy.values import Network

ANY_IPV4, ANY_IPV6 = ip_network("0.0.0.0/0"), ip_network("::/0")
_SECRET_KEY_MIN = 16


class SettingError(ValueError):
    """A setting is missing or makes no sense; the text names it."""


@dataclass(frozen=True, slots=True)
class Bind:
    """An address to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The http address a person on this machine would use."""
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{Bind(local, self.port)}"


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The settings of one process. Not printable, because it holds secrets."""

    database_url: str
    limits_url: str
    data_dir: Path
    web_bind: Bind
    proxy_bind: Bind
    proxy_workers: int
    secret_key: str
    encryption_keys: tuple[str, ...]
    provider_credentials: Mapping[str, str]  # slug -> credential
    provider_urls: Mapping[str, str]  # slug -> base URL without version path
    trusted_proxies: tuple[Network, ...]
    admin_email: str | None
    admin_password: str | None
    bootstrap_token: str | None

    def __repr__(self) -> str:
        return f"Settings(data_dir={str(self.data_dir)!r})"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read all of `SETTINGS`; makes the data directory (0700) and, once, the secrets in it (0600)."""
        value = {row.name: row.read(environ) for row in SETTINGS}
        data_dir = _data_dir(value["ROUTER_DATA_DIR"])
        return cls(
            database_url=_database_url(value["DATABASE_URL"] or f"sqlite:///{data_dir / 'router.db'}"),
            limits_url=_limits_url(value["ROUTER_LIMITS_URL"] or f"sqlite:///{data_dir / 'counters.db'}"),
            data_dir=data_dir,
            web_bind=_bind("ROUTER_WEB_BIND", value["ROUTER_WEB_BIND"]),
            proxy_bind=_bind("ROUTER_PROXY_BIND", value["ROUTER_PROXY_BIND"]),
            proxy_workers=_workers(value["ROUTER_PROXY_WORKERS"]),
            secret_key=_secret_key(value["SECRET_KEY"] or _made_once(data_dir / "secret_key", secrets.token_hex)),
            encryption_keys=_encryption_keys(
                value["ROUTER_ENCRYPTION_KEY"]
                or _made_once(data_dir / "encryption_key", lambda: Fernet.generate_key().decode())
            ),
            provider_credentials={
                slug: value[name]
                for slug, name in CREDENTIAL_SETTINGS.items()
                if value[name] and _printable(name, value[name])
            },
            provider_urls={slug: _origin(name, value[name]) for slug, name in URL_SETTINGS.items()},
            trusted_proxies=_networks("ROUTER_TRUSTED_PROXIES", value["ROUTER_TRUSTED_PROXIES"]),
            admin_email=_email(value["ROUTER_ADMIN_EMAIL"]),
            admin_password=_password(value["ROUTER_ADMIN_PASSWORD"]),
            bootstrap_token=_token(value["ROUTER_BOOTSTRAP_TOKEN"]),
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    default: str
    help: str

    def read(self, environ: Mapping[str, str]) -> str:
        """The value from NAME, else from the file NAME_FILE, else the default. Both at once: SettingError."""
        direct, path = environ.get(self.name), environ.get(f"{self.name}_FILE")
        if direct and path:
            raise SettingError(f"{self.name} and {self.name}_FILE are both set; keep one of them.")
        if path:
            try:
                return next(iter(Path(path).read_text(encoding="utf-8").splitlines()), "").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingError(f"{self.name}_FILE cannot be read: {error}.") from None
        return (direct or "").strip() or self.default


CREDENTIAL_SETTINGS = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
}
URL_SETTINGS = {
    "openai": "ROUTER_OPENAI_URL",
    "anthropic": "ROUTER_ANTHROPIC_URL",
    "gemini": "ROUTER_GEMINI_URL",
}

SETTINGS: tuple[Setting, ...] = (
    Setting("DATABASE_URL", "", "SQLAlchemy URL of the database; a SQLite file in the data directory by default"),
    Setting("ROUTER_LIMITS_URL", "", "storage of the counters; a SQLite file in the data directory by default"),
    Setting("ROUTER_DATA_DIR", "./instance", "directory of databases, journals and made-up secrets, mode 0700"),
    Setting("ROUTER_WEB_BIND", "127.0.0.1:8000", "address and port of the dashboard and the management API"),
    Setting("ROUTER_PROXY_BIND", "127.0.0.1:8080", "address and port of the proxy"),
    Setting("ROUTER_PROXY_WORKERS", "", "number of proxy worker processes; one a core by default"),
    Setting("SECRET_KEY", "", "signs dashboard sessions; made once into the data directory by default"),
    Setting(
        "ROUTER_ENCRYPTION_KEY",
        "",
        "Fernet keys for credentials at rest, comma-separated, the first one encrypts",
    ),
    Setting("OPENAI_API_KEY", "", "credential of OpenAI for the first organisation"),
    Setting("ANTHROPIC_API_KEY", "", "credential of Anthropic for the first organisation"),
    Setting("GEMINI_API_KEY", "", "credential of Gemini for the first organisation"),
    Setting("ROUTER_OPENAI_URL", "https://api.openai.com", "base address of OpenAI, without version path"),
    Setting("ROUTER_ANTHROPIC_URL", "https://api.anthropic.com", "base address of Anthropic, without version path"),
    Setting(
        "ROUTER_GEMINI_URL",
        "https://generativelanguage.googleapis.com",
        "base address of Gemini, without version path",
    ),
    Setting("ROUTER_TRUSTED_PROXIES", "", "addresses or CIDR ranges whose X-Forwarded-For counts, comma-separated"),
    Setting("ROUTER_ADMIN_EMAIL", "", "email of the first administrator; admin@localhost by default"),
    Setting(
        "ROUTER_ADMIN_PASSWORD",
        "",
        "password of the first administrator; made up and printed once by default",
    ),
    Setting(
        "ROUTER_BOOTSTRAP_TOKEN",
        "",
        "first management token, all scopes; made up and printed once by default",
    ),
)


def _data_dir(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise SettingError(f"ROUTER_DATA_DIR cannot be used: {error}.") from None
    return path


def _made_once(path: Path, make: Callable[[], str]) -> str:
    """The secret in `path`, made by the first process that asks; the link makes two racing starts agree."""
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(make(), encoding="ascii")
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text(encoding="ascii").strip()


def _bind(name: str, text: str) -> Bind:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise SettingError(f"{name} must be an address and a port, such as 127.0.0.1:8080, not {text!r}.") from None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise SettingError(f"{name} must end with a port from 1 to 65535, not {text!r}.")
    return Bind(host, int(port))


def _workers(text: str) -> int:
    if not text:
        return os.cpu_count() or 1
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 256):
        raise SettingError(f"ROUTER_PROXY_WORKERS must be a number from 1 to 256, not {text!r}.")
    return int(text)


def _database_url(text: str) -> str:
    scheme = urlsplit(text).scheme
    if scheme in ("postgresql", "postgres"):
        return "postgresql+psycopg" + text[len(scheme) :]
    if scheme not in ("sqlite", "postgresql+psycopg"):
        raise SettingError("DATABASE_URL must begin with sqlite:/// or postgresql://.")
    if scheme == "sqlite" and not text.removeprefix("sqlite:///"):
        raise SettingError("DATABASE_URL names no file; several processes cannot share a database in memory.")
    return text


def _limits_url(text: str) -> str:
    if not text.startswith("sqlite:///"):
        scheme = urlsplit(text).scheme or text
        raise SettingError(f"ROUTER_LIMITS_URL must begin with sqlite:///; {scheme!r} is not supported yet.")
    return text


def _secret_key(text: str) -> str:
    if len(text) < _SECRET_KEY_MIN or len(set(text)) < _SECRET_KEY_MIN // 4:
        raise SettingError(f"SECRET_KEY must have at least {_SECRET_KEY_MIN} characters that nobody can guess.")
    return text


def _encryption_keys(text: str) -> tuple[str, ...]:
    keys = tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        for key in keys:
            Fernet(key)
    except ValueError:
        raise SettingError("ROUTER_ENCRYPTION_KEY must be one or more Fernet keys (44 characters of base64).") from None
    return keys


def _printable(name: str, text: str) -> bool:
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise SettingError(f"{name} holds characters that no provider key has.")
    return True


def _origin(name: str, text: str) -> str:
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:  # of a port or of brackets
        raise SettingError(f"{name} must be an http or https address, such as https://api.example.com.") from None
    plain = text.isascii() and text.isprintable() and " " not in text  # it becomes part of a request's head
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine or not plain:
        raise SettingError(f"{name} must be an http or https address, such as https://api.example.com.")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise SettingError(f"{name} must hold neither credentials nor a query.")
    return text.rstrip("/")


def _networks(name: str, text: str) -> tuple[Network, ...]:
    networks = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            network = parse_network(part)
        except ValueError as error:
            raise SettingError(f"{name}: {error}.") from None
        if network in (ANY_IPV4, ANY_IPV6):
            raise SettingError(f"{name} holds {part!r}: then anybody could claim any address. Name your proxies.")
        networks.append(network)
    return tuple(networks)


def _email(text: str) -> str | None:
    if text and ("@" not in text or " " in text or len(text) > 254):
        raise SettingError("ROUTER_ADMIN_EMAIL is not an email address.")
    return text or None


def _password(text: str) -> str | None:
    if text and not 8 <= len(text.encode()) <= 1024:
        raise SettingError("ROUTER_ADMIN_PASSWORD must have 8 to 1024 bytes.")
    return text or None


def _token(text: str) -> str | None:
    if text and not looks_like_ours(text.encode(), MANAGEMENT_TAG):
        raise SettingError("ROUTER_BOOTSTRAP_TOKEN must be sk-mgmt- and 64 hex digits, the last 8 of them their CRC32.")
    return text or None
