"""The models that a key may use, as each provider's SDK expects to be told of them.

A client that speaks OpenAI's dialect reaches every provider through it, so it is told of all models; the others of
those of their own provider. Only what has a price is known here, and what an organisation says of its own providers.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from shared.catalog import PROVIDERS, known_models, provider_of_model
from shared.policy import KeySnapshot, matches_model

Card = dict[str, Any]
Own = Mapping[str, Sequence[str]]  # of each provider of the organisation's own the models that are known by name
NO_OWN: Own = MappingProxyType({})
_SOME_TIME = "1970-01-01T00:00:00Z"  # Anthropic's own word for a date that is not known


def listed(key: KeySnapshot, configured: frozenset[str], dialect: str, own: Own) -> Card:
    """The list of models, of providers that have a credential. To OpenAI's SDK also those of the organisation's own."""
    cards = [
        _card(slug, model, dialect)
        for slug in PROVIDERS
        if dialect in ("openai", PROVIDERS[slug].dialect) and _may_use(key, configured, slug)
        for model in _allowed(key, slug)
    ]
    if dialect == "openai":
        cards += [_card(name, f"{name}/{model}", dialect) for name in own for model in _own(key, configured, name, own)]
    if dialect == "anthropic":
        ids = [card["id"] for card in cards] or [None]
        return {"data": cards, "has_more": False, "first_id": ids[0], "last_id": ids[-1]}
    return {"models": cards} if dialect == "gemini" else {"object": "list", "data": cards}


def of(model: str, dialect: str) -> Card:
    """The card of a model that `knows` has found."""
    found = provider_of_model(model)
    return _card(*(found or (model.partition("/")[0], model)), dialect)


def knows(key: KeySnapshot, configured: frozenset[str], model: str, own: Own) -> bool:
    """Whether a model is on the list of a key, with or without its provider before it."""
    found = provider_of_model(model)
    if found is None:
        name, _, bare = model.partition("/")
        return name in own and bare in _own(key, configured, name, own)
    return _may_use(key, configured, found[0]) and found[1] in _allowed(key, found[0])


def _may_use(key: KeySnapshot, configured: frozenset[str], slug: str) -> bool:
    return slug in configured and (not key.allowed_providers or slug in key.allowed_providers)


def _allowed(key: KeySnapshot, slug: str) -> Iterator[str]:
    globs = key.allowed_models
    return (name for name in known_models(slug) if not globs or any(matches_model(glob, slug, name) for glob in globs))


def _own(key: KeySnapshot, configured: frozenset[str], name: str, own: Own) -> tuple[str, ...]:
    if not _may_use(key, configured, name):
        return ()
    globs = key.allowed_models
    return tuple(one for one in own[name] if not globs or any(matches_model(glob, name, one) for glob in globs))


def _card(slug: str, model: str, dialect: str) -> Card:
    if dialect == "anthropic":
        return {"type": "model", "id": model, "display_name": model, "created_at": _SOME_TIME}
    if dialect == "gemini":
        methods = ["embedContent"] if "embedding" in model else ["generateContent", "countTokens"]
        return {"name": f"models/{model}", "displayName": model, "supportedGenerationMethods": methods}
    return {"id": model, "object": "model", "created": 0, "owned_by": slug}
