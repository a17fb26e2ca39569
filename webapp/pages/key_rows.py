"""Rows of the table of keys: judged, worded and rendered, in a list or one by one for htmx."""

from collections.abc import Sequence

from markupsafe import Markup

from webapp.context import now
from webapp.pages.key_presenter import KeyRow, row
from webapp.queries.attention import judge_keys
from webapp.render import block, rows_out_of_band
from webapp.security import current_actor
from webapp.views.keys import KeyView
from webapp.views.organization import limited_standing


def rows(views: Sequence[KeyView]) -> tuple[KeyRow, ...]:
    """As they are seen now."""
    at, together = now(), limited_standing(current_actor().org_id)
    judged = judge_keys(views, at)
    return tuple(row(view, judged[view.id], at, together) for view in views)


def replaced(*views: KeyView) -> Markup:
    """The rows of keys, to take the place of those that are shown."""
    return rows_out_of_band("".join(_html(key, out_of_band=True) for key in rows(views)))


def added(view: KeyView) -> Markup:
    """The row of a new key, to come first in the table."""
    return rows_out_of_band(_html(rows([view])[0]), into="keys-body")


def _html(key: KeyRow, *, out_of_band: bool = False) -> str:
    return block("keys.html", "row", key=key, may_write=True, out_of_band=out_of_band)
