"""The marks by which a view says who may enter, and what is known of the caller behind them.

`@public`, `@require(role)` and `@scope(name)` stand on the view itself; a view without a mark is closed to everybody.
The gate that reads them is in `webapp.security`.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

from flask import Flask, current_app, g, request
from flask_login import current_user

from shared.addresses import client_address, scheme_told
from shared.config import Settings
from shared.models import ROLES
from webapp.context import Actor
from webapp.events import EVENTS

View = TypeVar("View", bound=Callable[..., Any])
Role = Literal["viewer", "member", "admin"]


class RoleNeeded(Exception):
    """The logged-in person has a lower role than the view takes."""

    def __init__(self, role: str) -> None:
        super().__init__(role)
        self.role = role


def public(view: View) -> View:
    """Open to everybody."""
    view.access = "public"  # type: ignore[attr-defined]
    return view


def require(role: Role) -> Callable[[View], View]:
    """Open to staff with this role or a higher one."""
    return _mark(f"role:{role}")


def scope(name: str) -> Callable[[View], View]:
    """Open to management tokens with this scope; none includes another."""
    return _mark(f"scope:{name}")


def anyone_known(view: View) -> View:
    """Open to any member of staff and any management token."""
    view.access = "known"  # type: ignore[attr-defined]
    return view


def current_actor() -> Actor:
    """Who makes this request. Only behind a view that is not public."""
    if "actor" in g:
        actor: Actor = g.actor
        return actor
    return Actor(current_user.org_id, current_user.email, client_ip(), role=current_user.role)


def may(role: Role) -> bool:
    """Whether the logged-in person has this role or a higher one."""
    return current_user.is_authenticated and ROLES.index(current_user.role) >= ROLES.index(role)


def may_enter(app: Flask, endpoint: str) -> bool:
    """Whether the logged-in person may open this view, as its mark says."""
    kind, _, role = (access_of(app, endpoint) or "").partition(":")
    return kind in ("public", "known") or (kind == "role" and may(cast("Role", role)))


def client_ip() -> str | None:
    """The caller's address, behind the trusted proxies; None when nobody can tell."""
    settings: Settings = current_app.extensions["settings"]
    address = client_address(
        request.remote_addr or "", request.headers.getlist("X-Forwarded-For"), settings.trusted_proxies
    )
    return None if address is None else str(address)


def note_event(kind: str, **facts: object) -> None:
    """Note a security event of this request: from where, by whom, at which address."""
    actor: Actor | None = g.get("actor")
    who = actor.name if actor is not None else getattr(current_user, "user_id", None)
    EVENTS.note(
        kind, ip=client_ip(), by=who, method=request.method, path=request.path, request=g.get("request_id"), **facts
    )


def behind_untrusted_tls() -> bool:
    """Whether somebody whom nobody told us to trust says that the browser came by TLS."""
    return not request.is_secure and scheme_told(request.headers.get("X-Forwarded-Proto", "")) == "https"


def lacks_told_tls() -> bool:
    """Whether people reach the dashboard by https, and this request came by http as far as anybody says."""
    settings: Settings = current_app.extensions["settings"]
    return not request.is_secure and (settings.dashboard_url or "").startswith("https:")


def access_of(app: Flask, endpoint: str) -> str | None:
    """The mark of a view: "public", "known", "role:..." or "scope:..."; None is closed."""
    return getattr(app.view_functions[endpoint], "access", None)


def _mark(access: str) -> Callable[[View], View]:
    def mark(view: View) -> View:
        view.access = access  # type: ignore[attr-defined]
        return view

    return mark
