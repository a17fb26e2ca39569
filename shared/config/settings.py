"""Every setting, in one table: name, default, how it is read, and what it means.

Both processes build a frozen `Settings` from the environment once, at start. Each variable can also be given as
`NAME_FILE`, a path whose first line is the value. To add a setting, add a row here and a field below; the docs test
asks for it in docs/settings.md.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.fernet import Fernet
from msgspec import Struct

from shared.config import mail, origins, secret_values, storage, values
from shared.config.data_dir import data_directory, made_once
from shared.config.mail import MailServer
from shared.config.sign_in import SignIn, sign_in
from shared.config.values import Bind, SettingError, shown
from shared.policy.values import Network

_FILE_MOST_BYTES = 65536


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The settings of one process. Not printable, because it holds secrets."""

    database_url: str
    ledger_database_url: str  # the same database, as the user that writes the ledger
    limits_url: str
    data_dir: Path
    web_bind: Bind
    proxy_bind: Bind
    proxy_workers: int
    public_url: str | None  # of the proxy, as apps reach it
    dashboard_url: str | None  # as people and automation reach it
    secret_key: str
    secret_key_fallbacks: tuple[str, ...]
    encryption_keys: tuple[str, ...]
    provider_credentials: Mapping[str, str]  # slug -> credential
    provider_urls: Mapping[str, str]  # slug -> base URL without version path
    trusted_proxies: tuple[Network, ...]
    admin_email: str | None
    admin_password: str | None
    bootstrap_token: str | None
    journal_sync: Literal["none", "batch"]
    mail_server: MailServer | None
    mail_from: str | None  # set where there is a mail server
    alert_networks: tuple[Network, ...]  # whose addresses webhooks may lead to although they are not public
    provider_networks: tuple[Network, ...]  # likewise where providers of organisations' own may be
    sign_in: SignIn | None  # through a provider of OpenID Connect
    password_login: bool
    metrics_bind: Bind | None
    request_log: float | None  # which share of what went well is written, beside all else; None: nothing is
    request_log_path: Path | None  # None: standard output
    otlp_endpoint: str | None  # of a collector of traces, without /v1/traces

    def __repr__(self) -> str:
        return f"Settings(data_dir={str(self.data_dir)!r})"

    def is_at_home(self, slug: str) -> bool:
        """Whether a built-in provider is asked at its own address, and not at that of a gateway or a test server."""
        return slug in URL_SETTINGS and _is_default(URL_SETTINGS[slug], self.provider_urls.get(slug, ""))

    def refuse_together(self) -> None:
        """Raise SettingError for what keeps proxy and dashboard from running on one machine.

        Each may have a machine, or a container, of its own: there the variables of the other mean nothing.
        """
        values.refuse_one_port("ROUTER_WEB_BIND", self.web_bind, {"ROUTER_PROXY_BIND": self.proxy_bind})
        for slug, name in URL_SETTINGS.items():
            if origins.leads_to(self.provider_urls[slug], self.web_bind):
                raise SettingError(f"{name} is the address of ROUTER_WEB_BIND, the dashboard's. Name the provider.")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read all of `SETTINGS`; makes the data directory (0700) and, once, the secrets in it (0600)."""
        value = {row.name: row.read(environ) for row in SETTINGS}

        def of(name: str) -> tuple[str, str]:
            return name, value[name]

        data_dir = data_directory(*of("ROUTER_DATA_DIR"))
        value["DATABASE_URL"] = value["DATABASE_URL"] or f"sqlite:///{data_dir / 'router.db'}"
        value["ROUTER_LIMITS_URL"] = value["ROUTER_LIMITS_URL"] or f"sqlite:///{data_dir / 'counters.db'}"
        for name, file, make in (
            ("SECRET_KEY", "secret_key", secrets.token_hex),
            ("ROUTER_ENCRYPTION_KEY", "encryption_key", lambda: Fernet.generate_key().decode()),
        ):
            value[name] = value[name] or made_once(name, data_dir / file, make)
        provider, password_login = sign_in(value, {row.name: row.default for row in SETTINGS})
        settings = cls(
            database_url=storage.database_url(*of("DATABASE_URL")),
            ledger_database_url=storage.ledger_database_url(
                *of("ROUTER_LEDGER_DATABASE_URL"), storage.database_url(*of("DATABASE_URL"))
            ),
            limits_url=storage.limits_url(*of("ROUTER_LIMITS_URL")),
            data_dir=data_dir,
            web_bind=values.bind(*of("ROUTER_WEB_BIND")),
            proxy_bind=values.bind(*of("ROUTER_PROXY_BIND")),
            proxy_workers=values.workers(*of("ROUTER_PROXY_WORKERS")),
            public_url=origins.reached_at(*of("ROUTER_PUBLIC_URL")),
            dashboard_url=origins.reached_at(*of("ROUTER_DASHBOARD_URL")),
            secret_key=secret_values.secret_key(*of("SECRET_KEY")),
            secret_key_fallbacks=secret_values.former_secret_keys(*of("SECRET_KEY_FALLBACKS")),
            encryption_keys=secret_values.encryption_keys(*of("ROUTER_ENCRYPTION_KEY")),
            provider_credentials=_credentials(value),
            provider_urls={slug: origins.provider_origin(*of(name)) for slug, name in URL_SETTINGS.items()},
            trusted_proxies=values.networks(*of("ROUTER_TRUSTED_PROXIES")),
            admin_email=values.email(*of("ROUTER_ADMIN_EMAIL")),
            admin_password=values.password(*of("ROUTER_ADMIN_PASSWORD")),
            bootstrap_token=values.token(*of("ROUTER_BOOTSTRAP_TOKEN")),
            journal_sync=values.journal_sync(*of("ROUTER_JOURNAL_SYNC")),
            mail_server=(mail_server := mail.mail_server(*of("ROUTER_SMTP_URL"))),
            mail_from=mail.mail_from(*of("ROUTER_SMTP_FROM"), "ROUTER_SMTP_URL", mail_server),
            alert_networks=mail.private_networks(*of("ROUTER_ALERTS_PRIVATE_ADDRESSES")),
            provider_networks=mail.private_networks(*of("ROUTER_PROVIDERS_PRIVATE_ADDRESSES")),
            sign_in=provider,
            password_login=password_login,
            metrics_bind=values.bind_or_none(*of("ROUTER_METRICS_BIND")),
            request_log=values.request_log(*of("ROUTER_REQUEST_LOG")),
            request_log_path=values.log_path(*of("ROUTER_REQUEST_LOG_PATH")),
            otlp_endpoint=origins.collector(*_otlp(value["ROUTER_OTLP_ENDPOINT"], environ)),
        )
        _judge_addresses(settings)
        storage.refuse_one_file_for_both(settings.database_url, settings.limits_url)
        for name, url in (("DATABASE_URL", settings.database_url), ("ROUTER_LIMITS_URL", settings.limits_url)):
            storage.refuse_our_files(name, url, data_dir)
        if settings.request_log_path is not None:
            others = [Path(named) for row in SETTINGS if (named := environ.get(f"{row.name}_FILE"))]
            urls = (settings.database_url, settings.limits_url)
            storage.refuse_our_log("ROUTER_REQUEST_LOG_PATH", settings.request_log_path, data_dir, urls, others)
        return settings


def _credentials(value: Mapping[str, str]) -> Mapping[str, str]:
    """Those of the built-in providers that have one, by slug."""
    return {
        slug: secret_values.credential(
            name, value[name], slug, at_home=_is_default(URL_SETTINGS[slug], value[URL_SETTINGS[slug]])
        )
        for slug, name in CREDENTIAL_SETTINGS.items()
        if value[name]
    }


def _judge_addresses(settings: Settings) -> None:
    """What leads to the router itself, and two programs at one port."""
    reached = {"ROUTER_PUBLIC_URL": settings.public_url, "ROUTER_DASHBOARD_URL": settings.dashboard_url}
    for slug, name in URL_SETTINGS.items():
        origins.refuse_itself(name, settings.provider_urls[slug], settings.proxy_bind, reached)
    values.refuse_one_port(
        "ROUTER_METRICS_BIND",
        settings.metrics_bind,
        {"ROUTER_PROXY_BIND": settings.proxy_bind, "ROUTER_WEB_BIND": settings.web_bind},
    )


def _is_default(name: str, text: str) -> bool:
    return text.rstrip("/") == next(row.default for row in SETTINGS if row.name == name)


def _otlp(own: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that names a collector, ours or OpenTelemetry's own, and what it says."""
    standard = "OTEL_EXPORTER_OTLP_ENDPOINT"
    return ("ROUTER_OTLP_ENDPOINT", own) if own else (standard, environ.get(standard, "").strip())


class Setting(Struct, frozen=True):
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
            return values.plain_text(f"{self.name}_FILE", _first_line(f"{self.name}_FILE", path))
        return values.plain_text(self.name, (direct or "").strip()) or self.default


def _first_line(name: str, path: str) -> str:
    """The first line of a file. It must be a regular one: every process of the router reads it anew."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise SettingError(f"{name}: {shown(path)} is not a regular file.")
        with Path(path).open("rb") as file:
            line = file.read(_FILE_MOST_BYTES).partition(b"\n")[0]
        text = line.decode("utf-8-sig").strip()
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise SettingError(f"{name}: {shown(path)} cannot be read: {reason}.") from None
    except UnicodeDecodeError:
        raise SettingError(f"{name}: {shown(path)} does not hold text in UTF-8.") from None
    if not text:
        raise SettingError(f"{name}: the first line of {shown(path)} is empty.")
    return text


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
    Setting(
        "ROUTER_LEDGER_DATABASE_URL", "", "the same database, for the ledger writer alone; DATABASE_URL by default"
    ),
    Setting("ROUTER_LIMITS_URL", "", "storage of the counters; a SQLite file in the data directory by default"),
    Setting("ROUTER_DATA_DIR", "./instance", "directory of databases, journals and made-up secrets, mode 0700"),
    Setting("ROUTER_WEB_BIND", "127.0.0.1:8000", "address and port of the dashboard and the management API"),
    Setting("ROUTER_PROXY_BIND", "127.0.0.1:8080", "address and port of the proxy"),
    Setting("ROUTER_PROXY_WORKERS", "", "number of proxy worker processes; one a core by default"),
    Setting("ROUTER_PUBLIC_URL", "", "address at which apps reach the proxy, for examples and links"),
    Setting("ROUTER_DASHBOARD_URL", "", "address at which people and automation reach the dashboard, likewise"),
    Setting("SECRET_KEY", "", "signs dashboard sessions; made once into the data directory by default"),
    Setting("SECRET_KEY_FALLBACKS", "", "what SECRET_KEY was before, comma-separated: sessions of then still count"),
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
    Setting(
        "ROUTER_JOURNAL_SYNC",
        "none",
        "none: the journal survives kill -9; batch: fdatasync before anything is sent, so that it survives a power cut",
    ),
    Setting("ROUTER_SMTP_URL", "", "mail server for alerts: smtp://user:password@host:587, smtps://, smtp+insecure://"),
    Setting("ROUTER_SMTP_FROM", "", "address that mail comes from; needed with ROUTER_SMTP_URL"),
    Setting(
        "ROUTER_ALERTS_PRIVATE_ADDRESSES",
        "",
        "addresses or CIDR ranges that webhooks may lead to although they are not public, comma-separated",
    ),
    Setting(
        "ROUTER_PROVIDERS_PRIVATE_ADDRESSES",
        "",
        "addresses or CIDR ranges where an organisation's own providers may be although not public, comma-separated",
    ),
    Setting("ROUTER_OIDC_ISSUER", "", "the provider of OpenID Connect through which people log in; https"),
    Setting("ROUTER_OIDC_CLIENT_ID", "", "how the provider knows this router"),
    Setting("ROUTER_OIDC_CLIENT_SECRET", "", "the secret of that client; none if it is a public one"),
    Setting("ROUTER_OIDC_SCOPES", "openid email profile", "what the provider is asked for, with spaces between"),
    Setting("ROUTER_OIDC_GROUPS_CLAIM", "groups", "where the provider tells somebody's groups"),
    Setting("ROUTER_OIDC_ROLES", "", "group=role, comma-separated; roles are given on the dashboard by default"),
    Setting("ROUTER_OIDC_DEFAULT_ROLE", "", "role of whoever is in none of these groups; not let in by default"),
    Setting("ROUTER_OIDC_REQUIRED_CLAIMS", "", "claim=value, comma-separated: what everybody has who may come in"),
    Setting("ROUTER_PASSWORD_LOGIN", "on", "off: nobody logs in by a password, only through the provider"),
    Setting("ROUTER_METRICS_BIND", "", "address and port of the metrics, for Prometheus; none by default"),
    Setting(
        "ROUTER_REQUEST_LOG",
        "off",
        "off; all; errors; or which share of the requests that went well is written beside the others, such as 0.01",
    ),
    Setting("ROUTER_REQUEST_LOG_PATH", "", "the file that requests are written to; standard output by default"),
    Setting("ROUTER_OTLP_ENDPOINT", "", "address of a collector of traces; OTEL_EXPORTER_OTLP_ENDPOINT by default"),
)
