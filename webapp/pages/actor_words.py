"""Who did something, in the words of a sentence: people by their email, tokens by their name."""

from collections.abc import Iterable, Mapping

from webapp.queries.audit import names_of

_SYSTEM = "the router itself"


def actor_words(org_id: str, actors: Iterable[str]) -> Mapping[str, str]:
    """By what stands in `created_by`, or in an event, for each of these. A token that is gone stays its id."""
    wanted = set(actors)
    tokens = {one for one in wanted if one.startswith("tok_")}
    names = names_of(org_id, tokens) if tokens else {}
    return {one: _SYSTEM if one == "system" else names.get(one, one) for one in wanted}
