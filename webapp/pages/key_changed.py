"""What answers a change of a key: the list that it was made in, or the page of the key, where its links say `back=key`.

In the list its row takes the place of the old one; the page of a key shows so much of it that it is loaded anew.
"""

from flask import Response, flash, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from webapp.pages.key_rows import replaced
from webapp.render import ToastKind, changed, is_fragment, page
from webapp.views.keys import KeyView

BACK = "?back=key"


def from_its_page() -> bool:
    """Whether the change was asked for on the page of the key."""
    return request.args.get("back") == "key"


def answer_change(view: KeyView, message: str, *, kind: ToastKind = "ok", status: int = 200) -> BaseResponse:
    """Show the key as it is now, and say what was done."""
    if is_fragment() and not from_its_page():
        return changed(replaced(view), message=message, kind=kind, status=status)
    flash(message, kind)
    if is_fragment():
        return Response(status=204, headers={"HX-Refresh": "true"})
    return redirect(f"/keys/{view.id}" if from_its_page() else "/keys", code=303)


def answer_refusal(key_id: str, title: str, text: str) -> Response:
    """Say why nothing was done; what leads back leads to where this was asked for."""
    there = (f"/keys/{key_id}", "the key") if from_its_page() else ("/keys", "the keys")
    return page("notice.html", "panel", status=409, title=title, text=text, back_href=there[0], back_to=there[1])
