"""Whether a request names something that its provider keeps for one account, or makes it keep something.

Only whoever has several credentials needs to know, so nobody looks before there is a choice; of a large body it is
found out where it is parsed. The names stand anywhere in a body, and nothing is lost where a text happens to have one
as a word of its own: then the weights do not count for that request.
"""

from proxyd.providers.base import Parsed
from shared.catalog import Kind

LOOKED_AT_BYTES = 1024 * 1024  # of a form, which may be larger, no more than its fields is looked at

# Members at the top that name such a thing, of all dialects.
_MEMBERS = frozenset(
    {
        "background",
        "container",
        "continuation_token",
        "conversation",
        "environment",
        "previous_interaction_id",
        "previous_response_id",
        "thread",
    }
)
# What stands deeper, as it is written: files, caches, vector stores, containers, in either spelling of Gemini's.
_WRITTEN = (
    b'"file_id"',
    b'"file_ids"',
    b'"fileUri"',
    b'"file_uri"',
    b'"cachedContent"',
    b'"cached_content"',
    b'"vector_store_ids"',
    b'"container_id"',
    b"googleapis.com/v1beta/files/",
)
_BEGINNINGS = (b'"file', b'"cached', b'"vector_store', b'"container_', b"googleapis.com/v1")  # of all of them
_STORED_UNLESS_TOLD = frozenset((Kind.RESPONSES, Kind.INTERACT))
_STORED_IF_TOLD = frozenset((Kind.CHAT,))


def names_kept(parsed: Parsed, at_most: int | None = None) -> bool:
    """Look at a body whose document is complete; at its bytes only if there are no more than `at_most`."""
    document = parsed.document
    if not _MEMBERS.isdisjoint(document) and any(document.get(name) for name in _MEMBERS):
        return True
    store = document.get("store")
    if store is True and parsed.kind in _STORED_IF_TOLD:
        return True
    if store is not False and parsed.kind in _STORED_UNLESS_TOLD:
        return True
    if isinstance(document.get("prompt"), dict):  # one that is stored, by its id
        return True
    if _has(document.get("tools"), "container", str) or _has(document.get("messages"), "audio", dict):
        return True  # a container by its id; an earlier answer that was spoken, by its id
    return (at_most is None or len(parsed.raw) <= at_most) and _is_written(parsed.raw)


def _is_written(raw: bytes) -> bool:
    """Most bodies have none of the few beginnings, and are searched for no more than those."""
    for beginning in _BEGINNINGS:
        if beginning in raw:
            return any(name in raw for name in _WRITTEN)
    return False


def is_of_an_account(model: str | None) -> bool:
    """Whether a model was made by an account, and is known to it alone."""
    return model is not None and (model.startswith(("ft:", "tunedModels/")) or ":ft-" in model)


def _has(items: object, name: str, kind: type) -> bool:
    found = items if isinstance(items, list) else ()
    return any(isinstance(item, dict) and isinstance(item.get(name), kind) for item in found)
