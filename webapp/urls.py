"""Addresses that others send: in `next`, in Origin, in what htmx says of its page. Each of them may be nonsense."""

from urllib.parse import SplitResult, quote, urlsplit

from shared.secret_text import masked

_LONGEST_NEXT = 2000


def split(text: str) -> SplitResult | None:
    """The parts of an address; None when it is none, such as `http://[`."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


def host_of(text: str) -> str | None:
    """Host and port of an address, as `Host` would say them; None when there is none."""
    parts = split(text)
    return None if parts is None or not parts.netloc else parts.netloc


def query_of(text: str) -> str:
    """The query of an address, without the question mark."""
    parts = split(text)
    return "" if parts is None else parts.query


def path_of(text: str) -> str:
    """Path and query of an address."""
    parts = split(text)
    if parts is None:
        return ""
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def safe_next(text: str | None) -> str:
    """Where to go after login: a path on this site, or "/" when `text` is anything else. It holds no secret."""
    if not text or len(text) > _LONGEST_NEXT or not text.startswith("/") or text.startswith("//"):
        return "/"
    if "\\" in text or not text.isprintable() or not text.isascii():
        return "/"
    parts = split(text)
    return "/" if parts is None or parts.scheme or parts.netloc else masked(text)


def login_address(target: str) -> str:
    """The login page that leads to `target` afterwards."""
    return f"/login?next={quote(safe_next(target), safe='/')}"
