"""From views to HTML: templates, fragments and the words for money and time. Nothing here reads the database.

A fragment is a block of its page's template. `page` renders the whole page for a browser and the block alone for
htmx; both carry `Vary: HX-Request`, so that no cache mixes them up. Macros are a global (`ui`), because a block that
is rendered alone does not see its template's imports.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from flask import Flask, Response, current_app, flash, make_response, render_template, request
from flask_login import current_user
from jinja2_fragments.flask import render_block
from markupsafe import Markup

from shared.config import Settings
from shared.money import NANOS_PER_USD, to_usd
from shared.secret_text import masked
from webapp.access import may_enter
from webapp.views.calendar import exact

THEMES = ("system", "light", "dark")
THEME_COOKIE = "theme"
_NAVIGATION = (
    ("Overview", "/overview", "gauge"),
    ("API Keys", "/keys", "key"),
    ("Usage", "/usage", "bars"),
    ("Requests", "/requests", "list"),
    ("Providers", "/providers", "plug"),
    ("Members", "/settings/members", "users"),
    ("Alerts", "/settings/alerts", "bell"),
    ("Audit log", "/audit", "history"),
    ("Settings", "/settings", "settings"),
)
ToastKind = Literal["ok", "error"]
_CENT = NANOS_PER_USD // 100
_YEAR_SECONDS = 365 * 86_400


@dataclass(frozen=True, slots=True)
class NavigationItem:
    """A link of the top bar; `here` when the page shown lies below it."""

    label: str
    href: str
    icon: str
    here: bool


def init_app(app: Flask) -> None:
    """Give the templates of `app` their globals, filters and shared context."""
    app.jinja_env.filters.update(rfc3339=rfc3339, exact=exact, with_code=with_code)
    settings: Settings = app.extensions["settings"]
    app.jinja_env.globals.update(
        static_url=static_url,
        password_login=settings.password_login,
        single_sign_on=settings.sign_in is not None,
        roles_by_groups=settings.sign_in is not None and bool(settings.sign_in.roles),
    )
    app.context_processor(_shared_context)
    app.jinja_env.globals["ui"] = app.jinja_env.get_template("macros.html").module


def is_fragment() -> bool:
    """Whether htmx asks for a part of a page; when it restores history it wants the whole."""
    return request.headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in request.headers


def page(template: str, panel: str = "", *, status: int = 200, **context: Any) -> Response:
    """Render `template`, or for htmx its block `panel` alone (then `fragment` is true in it). Never cached."""
    fragment = bool(panel) and is_fragment()
    context["fragment"] = fragment
    html = render_block(template, panel, **context) if fragment else render_template(template, **context)
    return _answer(html, status)


def block(template: str, name: str, **context: Any) -> str:
    """Render one block of a template alone."""
    return str(render_block(template, name, **context))


def changed(*parts: str, message: str, kind: ToastKind = "ok", status: int = 200) -> Response:
    """Answer an htmx form: put out-of-band `parts` and a toast in place, and close the dialog if it is open."""
    response = _answer("".join((*parts, toast(message, kind))), status)
    response.headers["HX-Reswap"] = "none"
    response.headers["HX-Trigger-After-Swap"] = "modal:close"
    return response


def append(response: Response, *parts: str) -> None:
    """Add out-of-band `parts` to a fragment that is answered."""
    response.set_data("".join((response.get_data(as_text=True), *parts)))


def toast(message: str, kind: ToastKind = "ok") -> Markup:
    """A message for htmx to add to the toasts, out of band."""
    ui: Any = current_app.jinja_env.globals["ui"]
    return Markup('<template><div hx-swap-oob="beforeend:#toasts">{}</div></template>').format(ui.toast(kind, message))


def swapped(element_id: str, text: str) -> Markup:
    """A new text for one element, out of band."""
    return Markup('<template><div hx-swap-oob="innerHTML:#{}">{}</div></template>').format(element_id, text)


def tell(message: str) -> None:
    """The same message for the next full page, for a browser that is redirected."""
    flash(message, "ok")


def rows_out_of_band(html: str, *, into: str = "") -> Markup:
    """Table rows for htmx; bare rows would be dropped by the HTML parser, so a template carries them.

    Without `into` each row takes the place of the one with its id; with it they come first in that table body.
    """
    rows = Markup(html)  # noqa: S704 - rendered from a template, escaped there
    if into:
        rows = Markup('<tbody hx-swap-oob="afterbegin:#{}">{}</tbody>').format(into, rows)
    return Markup("<template>{}</template>").format(rows)


def _answer(html: str, status: int) -> Response:
    response = make_response(html, status)
    response.headers["Vary"] = "HX-Request, Cookie"
    response.headers["Cache-Control"] = "no-store"
    return response


def theme() -> str:
    """The theme this browser asked for, from its cookie."""
    chosen = request.cookies.get(THEME_COOKIE, "system")
    return chosen if chosen in THEMES else "system"


def _shared_context() -> dict[str, Any]:
    # Who asks is looked up by the shell alone, so that an error page can do without when the database is away.
    here = request.full_path.rstrip("?") if request.method == "GET" else ""
    if masked(here) != here:
        here = "/"  # somebody has pasted a secret, and a form of the page would send it on
    return {"navigation": _navigation, "theme": theme(), "me": current_user, "here": here}


def _navigation() -> tuple[NavigationItem, ...]:
    """The pages that this person may open, as the mark on each view says; the one shown is the nearest above."""
    routes = current_app.url_map.bind("")
    shown = [entry for entry in _NAVIGATION if may_enter(current_app, routes.match(entry[1], "GET")[0])]
    above = [href for _, href, _ in shown if f"{request.path}/".startswith(f"{href}/")]
    nearest = max(above, key=len, default=None)
    return tuple(NavigationItem(label, href, icon, here=href == nearest) for label, href, icon in shown)


def static_url(name: str) -> str:
    """The address of a file in static/; its content's hash makes a browser fetch it again when it changes."""
    path = Path(str(current_app.static_folder)) / name
    return f"{current_app.static_url_path}/{name}?v={_fingerprint(path, path.stat().st_mtime_ns)}"


@lru_cache(maxsize=64)
def _fingerprint(path: Path, modified_ns: int) -> str:  # noqa: ARG001 - part of the cache's key
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def with_code(text: str) -> Markup:
    """A text of the API's document, in which names of the language stand between backticks."""
    parts = text.split("`")
    marked = (Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts))
    return Markup().join(marked if len(parts) % 2 else (text,))


def dollars(nanos: int) -> str:
    """Money for people: cents, rounded down; below one cent two digits that say something."""
    if 0 < nanos < _CENT:
        places = to_usd(nanos)
        significant = len(places) - len(places.lstrip("0."))
        return f"${places[: significant + 2]}"
    cents = nanos // _CENT
    return f"${cents // 100:,}.{cents % 100:02d}"


def signed_dollars(nanos: int) -> str:
    """Money that may be less than nothing: a correction of an estimate that was too high."""
    return f"\u2212{dollars(-nanos)}" if nanos < 0 else dollars(nanos)


def sentence(message: str) -> str:
    """A validation's message ("must be in the future") as it stands alone beside its field."""
    message = masked(message[:1].upper() + message[1:])
    return message if message.endswith((".", "?", "!")) else f"{message}."


def span(length: timedelta) -> str:
    """A length of time in its largest whole unit: 40 s, 5 min, 3 h, 6 d, 2 y."""
    seconds = int(length.total_seconds())
    if seconds >= 2 * _YEAR_SECONDS:  # "400 d" says more than "1 y"
        return f"{seconds // _YEAR_SECONDS} y"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(seconds, 0)} s"


def length(milliseconds: int | None) -> str:
    """How long a request took, rounded down: 840 ms, 2.4 s, 3 min 5 s; of what never came, Never."""
    if milliseconds is None:
        return "Never"
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds // 1_000}.{milliseconds % 1_000 // 100} s"
    return f"{milliseconds // 60_000} min {milliseconds // 1_000 % 60} s"


def relative(moment: datetime | None, at: datetime) -> str:
    """`5 min ago`, `in 6 d`, `just now`; empty for None."""
    if moment is None:
        return ""
    if abs(moment - at) < timedelta(seconds=45):
        return "just now"
    return f"in {span(moment - at)}" if moment > at else f"{span(at - moment)} ago"
