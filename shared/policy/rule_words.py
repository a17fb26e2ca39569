"""What refusals tell for which the cost of a request had to be known: by which limits, and what of it nobody knows."""

from shared import money
from shared.policy.values import Fact, KeySnapshot, PolicyQuery


def caps(key: KeySnapshot) -> dict[str, Fact]:
    """The limits for which its cost must be known: the key's own, else its models', else its organisation's."""
    if (own := key.own_limit_nanos) is not None:
        return {"spend_limit_usd": money.to_usd(own)}
    if key.model_limits:
        return {"spend_limit_usd": None, "model_limits": [limit.model for limit in key.model_limits]}
    nanos = None if key.organization is None else key.organization.spend_limit_nanos
    return {"spend_limit_usd": None, "organization_spend_limit_usd": None if nanos is None else money.to_usd(nanos)}


def cap_words(key: KeySnapshot) -> dict[str, str]:
    """Those limits for people, and the way around them."""
    told = caps(key)
    if (own := told["spend_limit_usd"]) is not None:
        return {
            "limit": f"the proxy key {key.prefix}... has a spend limit of ${own}",
            "way_out": "use a key without a spend limit",
        }
    if key.model_limits:
        return {
            "limit": f"the proxy key {key.prefix}... has spend limits for models "
            f"({', '.join(limit.model for limit in key.model_limits)})",
            "way_out": "use a key without them",
        }
    return {
        "limit": f"the organisation of the proxy key {key.prefix}... has a spend limit of "
        f"${told['organization_spend_limit_usd']}",
        "way_out": "have an administrator take that limit away",
    }


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
