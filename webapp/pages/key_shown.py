"""What the fields of a key's form hold when it is shown, and what they say of the key by that."""

import json
from typing import Any

from webapp.pages.expiry import shown_moment
from webapp.pages.key_values import to_the_minute
from webapp.pages.model_limits_field import rows_of
from webapp.render import rfc3339
from webapp.schemas.keys import EDITABLE
from webapp.views.keys import KeyView


def shown(view: KeyView) -> dict[str, Any]:
    """What the fields hold when the form is shown, but for the expiry."""
    return {
        "name": view.name,
        "spend_limit_usd": view.spend_limit_usd or "",
        "spend_reset": view.spend_reset,
        "spend_limit_boost_usd": view.spend_limit_boost_usd or "",
        "spend_limit_boost_until": shown_moment(view.spend_limit_boost_until),
        "model_limits": rows_of(view.model_limits),
        "allowed_providers": list(view.allowed_providers),
        "allowed_models": "\n".join(view.allowed_models),
        "rate_limit_rpm": "" if view.rate_limit_rpm is None else str(view.rate_limit_rpm),
        "rate_limit_tpm": "" if view.rate_limit_tpm is None else str(view.rate_limit_tpm),
        "max_concurrent_requests": "" if view.max_concurrent_requests is None else str(view.max_concurrent_requests),
        "allowed_ips": "\n".join(view.allowed_ips),
        "paused": view.paused,
        "tags": ", ".join(view.tags),
        "owner_email": view.owner_email or "",
        "note": view.note or "",
    }


def seen(view: KeyView) -> str:
    """The same as the document that the form would say if it were sent untouched."""
    told = ("expires_at", "spend_limit_boost_until", "model_limits")
    document = {field: getattr(view, field) for field in EDITABLE if field not in told}
    document["model_limits"] = rows_of(view.model_limits)
    ends = view.spend_limit_boost_until
    return json.dumps({**document, "spend_limit_boost_until": None if ends is None else rfc3339(to_the_minute(ends))})
