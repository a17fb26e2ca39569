"""Parameters in the address of a request that is translated: what they mean has to be said to the provider too."""

from urllib.parse import parse_qsl

from proxyd.translation.fields import shown
from shared.catalog import Kind

BETA = "beta=true"  # a query of Anthropic's SDK and of Claude Code, which says nothing that the body does not
GENERATING = (Kind.GENERATE, Kind.GENERATE_STREAM)


def untold(caller: Kind, query: str) -> str | None:
    """The name of a parameter that cannot be said to another provider; None: there is none."""
    if query in ("", BETA):
        return None
    if caller not in GENERATING:
        return shown(query.partition("=")[0])
    forms = ("json", "sse") if caller is Kind.GENERATE_STREAM else ("json",)
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "key" and (name not in ("alt", "$alt") or value not in forms):
            return shown(name)
    return None


def as_list(caller: Kind, query: str) -> bool:
    """Whether a stream is one JSON list, as Gemini's are unless events are asked for."""
    return caller is Kind.GENERATE_STREAM and all(value != "sse" for _, value in parse_qsl(query))
