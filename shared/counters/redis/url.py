"""URLs of a server: which ones there are, and what may stand in them.

    redis://user:password@host:6379/0        rediss:// with TLS, redis+unix:///path/to/socket
    redis+cluster://user:password@host:port,host:port
    redis+sentinel://user:password@host:port,host:port/name-of-the-primary

A password may stand anywhere in a URL that cannot be read, so no sentence here repeats any of it.
"""

from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SINGLE = ("redis", "rediss", "redis+unix")
SEVERAL = ("redis+cluster", "redis+sentinel")
SCHEMES = (*SINGLE, *SEVERAL)
# What a query may set. Of the client's other options some undo the deadlines, and some what replies are read as.
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = {
    "redis": (),
    "rediss": _TLS,
    "redis+unix": ("db",),
    "redis+cluster": ("ssl", *_TLS),
    "redis+sentinel": ("sentinel_username", "sentinel_password", "ssl", *_TLS),
}
_SHAPE = {
    "redis": "redis://user:password@host:6379/0",
    "rediss": "rediss://user:password@host:6379/0",
    "redis+unix": "redis+unix:///path/to/socket",
    "redis+cluster": "redis+cluster://user:password@host:6379,host:6379",
    "redis+sentinel": "redis+sentinel://user:password@host:26379,host:26379/name",
}


def check_url(url: str) -> None:
    """Raise ValueError, with a sentence for whoever wrote the URL, if no client can be made of it."""
    scheme = url.partition("://")[0]
    wrong = f"it must look like {_SHAPE[scheme]}"
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError:
        raise ValueError(wrong) from None
    if not url.isprintable() or " " in url or parts.fragment:
        raise ValueError(f"{wrong}, other characters in a password as %23 and the like")
    allowed = _OPTIONS[scheme]
    for name, value in options:
        if (
            name not in allowed
            or (name == "db" and not _is_number(value, 2**31))
            or (name == "ssl" and value != "true")
        ):
            takes = f"only {' and '.join(allowed)}" if allowed else "nothing"
            raise ValueError(f"after the ? it takes {takes}")
    if scheme == "redis+unix":
        if parts.netloc.rpartition("@")[2] or len(parts.path) < 2:
            raise ValueError(wrong)
        return
    places = parts.netloc.rpartition("@")[2].split(",")
    if "@" in parts.netloc.rpartition("@")[0]:
        raise ValueError("write @ : / in a user or a password as %40 %3A %2F")
    if not all(_is_place(place, must_have_port=scheme in SEVERAL) for place in places):
        raise ValueError(wrong)
    if scheme in SINGLE and (len(places) > 1 or not (parts.path in ("", "/") or _is_number(parts.path[1:], 2**31))):
        raise ValueError(wrong)
    if scheme == "redis+cluster" and parts.path not in ("", "/"):
        raise ValueError(f"{wrong}, without a database: a cluster has only one")
    if scheme == "redis+sentinel" and (not parts.path[1:] or "/" in parts.path[1:]):
        raise ValueError(f"{wrong}; the name is what the sentinels call the primary")


def options_of(url: str) -> dict[str, str | bool]:
    """What a URL of several servers says beside their addresses, which `limits` would overlook or take encoded."""
    parts = urlsplit(url)
    options: dict[str, str | bool] = {
        name: value == "true" if name == "ssl" else value for name, value in parse_qsl(parts.query)
    }
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    return options


def has_tls(url: str) -> bool:
    """Whether it is spoken to with TLS."""
    parts = urlsplit(url)
    return parts.scheme == "rediss" or ("ssl", "true") in parse_qsl(parts.query)


def places_of(url: str) -> str:
    """Where it leads, for people: hosts and ports without user and password, or the path of a socket."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "redis+unix" else parts.netloc.rpartition("@")[2]


def _is_place(place: str, *, must_have_port: bool) -> bool:
    try:
        parts = SplitResult("", place, "", "", "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or any(sign in host for sign in "%\\"):
        return False
    return port > 0 if port is not None else not must_have_port and not place.endswith(":")


def _is_number(text: str, below: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 11 and int(text) < below
