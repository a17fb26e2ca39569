"""What templates need to show examples for one key: by its restrictions, and by the credentials that there are."""

from dataclasses import replace
from typing import Any

from webapp.addresses import proxy_url
from webapp.pages import snippets
from webapp.queries.providers import list_providers
from webapp.security import current_actor
from webapp.views.custom_providers import own_models
from webapp.views.keys import KeyView


def examples(view: KeyView, secret: str | None, *, org_id: str | None = None) -> dict[str, Any]:
    """The examples, the clients that there are none for, and why no model is named in them, if none is.

    The organisation is that of whoever is logged in, if none is named. A credential that no key opens counts as none:
    whatever is sent with it is refused.
    """
    asked = view.allowed_providers, view.allowed_models
    org_id = org_id or current_actor().org_id
    known = list_providers(org_id)
    configured = [each.provider for each in known if each.credential is not None and each.credential.readable]
    models = own_models(org_id)
    own = {each.provider: models[each.provider] for each in known if each.custom is not None and each.serves}
    shown = snippets.build(proxy_url(), secret, *asked, configured=configured, own=own)
    labels = {snippet.label for snippet in shown}
    left_out, why_unknown = [], ""
    for each in snippets.left_out(*asked, configured=configured, own=own):
        rest = tuple(label for label in each.labels if label not in labels)
        if rest:
            left_out.append(replace(each, labels=rest))
        else:
            why_unknown = each.why
    return {"snippets": shown, "left_out": left_out, "why_unknown": why_unknown}
