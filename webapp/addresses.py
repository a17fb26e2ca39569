"""Where apps reach the proxy, and people and automation the dashboard: what examples say for them to copy.

By its setting, if there is one. Else by the address that the browser used, because the address that is listened on
often is none that a client can call: `0.0.0.0`, or a container's own.
"""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import current_app, request

from shared.config import Bind, Settings

# What people copy goes into their shells, so nothing else may stand there.
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


def proxy_url() -> str:
    """The proxy's address without a path."""
    settings: Settings = current_app.extensions["settings"]
    if settings.public_url is not None:
        return settings.public_url
    bind = settings.proxy_bind
    host = _host_of_the_browser()
    if host is None or _is_one_of_many(bind.host):
        return bind.url
    return f"http://{Bind(host, bind.port)}"


def dashboard_url() -> str:
    """The dashboard's and the management API's address without a path."""
    settings: Settings = current_app.extensions["settings"]
    if settings.dashboard_url is not None:
        return settings.dashboard_url
    return settings.web_bind.url if _host_of_the_browser() is None else request.host_url.rstrip("/")


def _host_of_the_browser() -> str | None:
    """The name or address by which the browser called; None when what it sent is neither."""
    try:
        host = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return None
    return host if _HOST.fullmatch(host) else None


def _is_one_of_many(host: str) -> bool:
    """Whether the proxy listens on one address that others can call; then it is reached there and nowhere else."""
    address = ip_address("127.0.0.1" if host == "localhost" else host)
    return not (address.is_unspecified or address.is_loopback)
