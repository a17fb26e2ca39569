"""What the launcher's children find in their environment: what they need, by a list, not all that there was.

A shell that starts the router often holds more secrets than the router's own, and the first start's are nobody's
business once it is over. So each kind of child gets names from a list, and the launcher forgets what it alone needed.
"""

import ctypes
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from shared.config import CREDENTIAL_SETTINGS, SETTINGS, SIGN_IN_SETTINGS, URL_SETTINGS, Bind, Settings

# The first start is over when the children begin.
LAUNCHER_ONLY = ("ROUTER_ADMIN_EMAIL", "ROUTER_ADMIN_PASSWORD", "ROUTER_BOOTSTRAP_TOKEN", *CREDENTIAL_SETTINGS.values())

# What signs sessions, and how they begin, is for who has sessions, and mail is sent by the dashboard. (Who cannot write
# the ledger need not know how to, see `launch`.) The sender goes with the server, without which it means nothing.
DASHBOARD_ONLY = (
    "SECRET_KEY", "SECRET_KEY_FALLBACKS", "ROUTER_SMTP_URL", "ROUTER_SMTP_FROM", *SIGN_IN_SETTINGS
)  # fmt: skip

_SYSTEM = frozenset(
    ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
)
_SYSTEM_PREFIXES = ("LC_", "PYTHON", "MALLOC_")
# Certificates of providers, and libpq's own variables, for the database; OpenTelemetry's, for traces.
_NETWORK = frozenset(("SSL_CERT_FILE", "SSL_CERT_DIR"))
_NETWORK_PREFIXES = ("PG", "GEVENT_", "OTEL_")
_OURS = frozenset(name for row in SETTINGS for name in (row.name, f"{row.name}_FILE"))


def system_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What any Python process on this machine needs; the sandbox gets no more."""
    return {name: value for name, value in environ.items() if name in _SYSTEM or name.startswith(_SYSTEM_PREFIXES)}


def service_environment(settings: Settings, environ: Mapping[str, str], sandbox: Bind | None) -> dict[str, str]:
    """The environment of proxy and dashboard: the settings, as they are meant from the launcher's directory.

    Providers whose address was not set by hand are at the sandbox, if there is one.
    """
    kept = system_environment(environ)
    for name, value in environ.items():
        if name in _NETWORK or name.startswith(_NETWORK_PREFIXES):
            kept[name] = value
        if value and name in _OURS and name.removesuffix("_FILE") not in LAUNCHER_ONLY:
            kept[name] = str(Path(value).absolute()) if name.endswith("_FILE") else value
    kept.pop("ROUTER_DATA_DIR_FILE", None)
    kept["ROUTER_DATA_DIR"] = str(settings.data_dir)
    for name, url in (("DATABASE_URL", settings.database_url), ("ROUTER_LIMITS_URL", settings.limits_url)):
        if name in kept:
            kept[name] = url
    if settings.request_log_path is not None and "ROUTER_REQUEST_LOG_PATH" in kept:
        kept["ROUTER_REQUEST_LOG_PATH"] = str(settings.request_log_path)
    if sandbox is not None:
        for name in URL_SETTINGS.values():
            if name not in kept and f"{name}_FILE" not in kept:
                kept[name] = sandbox.url
    return kept


def without(environ: Mapping[str, str], *settings: str) -> dict[str, str]:
    """The environment without these settings, however they are given."""
    return {name: value for name, value in environ.items() if name.removesuffix("_FILE") not in settings}


def forget(names: Iterable[str]) -> None:
    """Blank the values of these variables in this process, also where /proc/PID/environ shows them.

    Removing a variable only takes it off the list: the text stays in the memory in which the kernel handed it over.
    """
    wanted = tuple(f"{name}=".encode() for name in names)
    entries = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    index = 0
    while (address := entries[index]) is not None:
        text = ctypes.string_at(address)
        for start in wanted:
            if text.startswith(start):
                ctypes.memset(address + len(start), 0, len(text) - len(start))
        index += 1
    for start in wanted:
        os.environ.pop(start[:-1].decode(), None)
