"""What can be a provider's credential at all: one judgement for the environment, forms, JSON and commands.

A wrong one would go out with every request, and a secret of the router's own to a stranger. What is wrong is told as
the end of a sentence about it, and repeats nothing.
"""

from shared.catalog import PROVIDERS
from shared.keys import MANAGEMENT_TAG, PROXY_TAG

SHORTEST, LONGEST = 8, 500
LONGEST_OF_GATEWAY = 4_096  # it may be a JWT, and with others it has to fit into the head of a request
_QUOTES = ("'", '"', "`")
# How credentials of other makers begin. Keys of a provider's own may begin otherwise one day.
_OF_ANOTHER = {
    "openai": {"sk-ant-": "anthropic", "AIza": "gemini"},
    "anthropic": {"sk-proj-": "openai", "sk-svcacct-": "openai", "AIza": "gemini"},
    "gemini": {"sk-ant-": "anthropic", "sk-proj-": "openai", "sk-svcacct-": "openai"},
}


def problem(text: str, *, shortest: int = SHORTEST, longest: int = LONGEST) -> str | None:
    """What keeps it from being any provider's; None if nothing does.

    People who type a short one have left something out; a gateway whose key stands in a file may have one like that,
    or a long one.
    """
    if not shortest <= len(text) <= longest or not text.isascii() or not text.isprintable() or " " in text:
        return f"must have {shortest} to {longest:,} printable ASCII characters without space between them"
    if text.startswith(_QUOTES) or text.endswith(_QUOTES):
        return "must stand there without the quotes around it"
    if text.startswith((PROXY_TAG, MANAGEMENT_TAG)):
        return "is a secret of this router; the provider's own key belongs here"
    return None


def of_another(slug: str, text: str) -> str | None:
    """What keeps it from being this provider's; None for providers of an organisation's own, which take anything."""
    for beginning, owner in _OF_ANOTHER.get(slug, {}).items():
        if text.startswith(beginning):
            return f"is a key of {PROVIDERS[owner].label}; that of {PROVIDERS[slug].label} belongs here"
    return None
