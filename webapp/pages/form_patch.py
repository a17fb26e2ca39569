"""What was changed in a form since it was shown: so that two who change two fields at the same time both get that."""

import json
from collections.abc import Mapping


def seen_text(document: Mapping[str, object]) -> str:
    """What the form carries of what was stored when it was shown."""
    return json.dumps(document)


def changed_since(seen: str | None, said: Mapping[str, object]) -> dict[str, object]:
    """What somebody changed; all that they said where the form does not tell what it had shown."""
    try:
        shown = json.loads(seen or "")
    except (ValueError, RecursionError):
        shown = None
    if not isinstance(shown, dict):
        return dict(said)
    return {name: value for name, value in said.items() if name not in shown or shown[name] != value}
