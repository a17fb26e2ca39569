"""What refusals tell for which the cost of a request had to be known: by which limits, and what of it nobody knows."""

from shared import money
from shared.model_limits import ModelLimit, ModelLimits
from shared.policy.values import Fact, KeySnapshot, PolicyQuery


def caps(key: KeySnapshot, limits: ModelLimits) -> tuple[dict[str, Fact], dict[str, str]]:
    """The limits for which its cost must be known, and the same for people with the way around them.

    That is the key's own, else those for models that the request may spend on, `limits`, else its organisation's.
    """
    prefix = f"the proxy key {key.prefix}..."
    if (own := key.own_limit_nanos) is not None:
        limit = f"{prefix} has a spend limit of ${money.to_usd(own)}"
        words = {"limit": limit, "way_out": "use a key without a spend limit"}
        return {"spend_limit_usd": money.to_usd(own)}, words
    if limits:
        limit = f"{prefix} has spend limits for models ({', '.join(one.model for one in limits)})"
        facts: dict[str, Fact] = {"spend_limit_usd": None, "model_limits": [_told(one) for one in limits]}
        return facts, {"limit": limit, "way_out": "use a key without them"}
    nanos = None if key.organization is None else key.organization.spend_limit_nanos
    shared = None if nanos is None else money.to_usd(nanos)
    limit = f"the organisation of {prefix} has a spend limit of ${shared}"
    words = {"limit": limit, "way_out": "have an administrator take that limit away"}
    return {"spend_limit_usd": None, "organization_spend_limit_usd": shared}, words


def _told(limit: ModelLimit) -> dict[str, Fact]:
    """As the API has it."""
    spend_limit_usd = money.to_usd(limit.spend_limit_nanos)
    return {"model": limit.model, "spend_limit_usd": spend_limit_usd, "spend_reset": limit.spend_reset}


# Ends of usage keys.
_BILLED = (
    "_tokens", "_searches", "_previews", "_executions", "_generations", "_seconds", "_characters",
    "_images", "_720p", "_1080p", "_4k",
)  # fmt: skip


def unpriced_words(query: PolicyQuery) -> dict[str, str]:
    """What has no price: the model, something it is billed by, or a feature of the request."""
    model = "a request without a model" if query.model is None else f"the model {query.model}"
    what = query.unpriced
    if what is None:
        return {
            "what": f"No price is known for {model} ({query.provider})",
            "cure": "Ask an administrator to add a price",
        }
    if what.endswith(_BILLED):
        named = what.replace("_", " ")
        return {
            "what": f"No price is known for {named} of {model} ({query.provider})",
            "cure": "Ask an administrator to add a price, leave out what needs it",
        }
    return {"what": f"Nobody can tell in advance what {what} costs ({model}, {query.provider})", "cure": "Leave it out"}
