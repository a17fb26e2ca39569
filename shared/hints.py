"""What is told to callers whose address or method leads nowhere: which one would.

Nothing is mended for them in silence: the path that is judged is the one that was sent.
"""

import re
from collections.abc import Iterator

from shared import path_case
from shared.builtin_paths import BUILTINS
from shared.catalog import PROVIDERS, Provider

NOTHING = "There is no endpoint at this address"
PREFLIGHT = (
    "Preflights of browsers (CORS) are not answered: whoever sees a web page would see the proxy key in it. Call the "
    "router from a server of yours."
)
NO_WEBSOCKET = (
    "No WebSocket is spoken at this address. They are at /v1/responses, /v1/realtime?model=... and, for Gemini Live, "
    "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent."
)
ONLY_WEBSOCKET = "Only a WebSocket is spoken at this address: send its handshake, version 13."
NO_MODEL = (
    "Realtime sessions go through the router with `?model=` in their address. Those of `intent=transcription` and of "
    "calls (`call_id`) are billed by time, or in another connection, which it cannot meter."
)
# What the clients of two clouds make of our address. Anthropic has deployments as well, which do other things.
_AZURE = re.compile(
    r"(?:/v\d[a-z0-9]*)?(?:/openai)+(?:/v\d[a-z0-9]*)?/deployments/.*|(?:/v\d[a-z0-9]*)?/deployments/[^/]+/"
    r"(?:chat/completions|completions|embeddings|responses|(?:audio|images)/[a-z]+)"
)
_VERTEX = re.compile(r"(?:/gemini)?(?:/v\d[a-z0-9]*)?(?:/projects/[^/]+/locations/[^/]+|/publishers/[^/]+/models)/(.*)")
# Two versions in a row: one of the base URL, and one that the SDK adds.
TWO_VERSIONS = re.compile(r"(/[a-z][a-z0-9-]*)?(/v\d[a-z0-9]*)(/v\d[a-z0-9]*)(/.*|)")
# What an OpenAI client asks for whose base URL is Gemini's; its compatible endpoints are elsewhere.
COMPATIBLE = re.compile(r"((?:/gemini)?)(/v\d[a-z0-9]*)?(/chat/completions|/embeddings)")
# Gemini's compatible endpoints with the version that other providers of that dialect have.
_COMPATIBLE_VERSION = re.compile(r"((?:/gemini)?(?:/v\d[a-z0-9]*)?/openai)(/v\d[a-z0-9]*)(/.+)")
_COMPATIBLE_PLACE = re.compile(r"/v\d[a-z0-9]*/openai/.*")
_VERSION = re.compile(r"v\d[a-z0-9]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]*")  # of something that is kept at an endpoint
_MOST_BEFORE = 3  # segments that a base URL may have too many
_GENERAL = (
    "Use /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/messages, /v1beta/models/..., another /v1/... of an "
    "official SDK, or a provider's own path below /openai, /anthropic or /gemini."
)


def takes(path: str, methods: tuple[str, ...]) -> str:
    """Which methods a path takes."""
    return f"{path} takes {' or '.join(methods)}."


def of(path: str) -> str:
    """What is wrong with a path that nothing is at, as far as it can be guessed."""
    if _AZURE.fullmatch(path):
        return f"{NOTHING}: Azure's paths are not spoken here. Use OpenAI's client with a base URL that ends with /v1."
    if (vertex := _VERTEX.fullmatch(path)) is not None:
        right = f"/v1beta/models/{vertex[1].rpartition('/')[2]}"
        found = f"; then it is {right}" if _is_listed(right) else ""
        return f"{NOTHING}: Vertex AI's paths are not spoken here. Use Google's client without `vertexai`{found}."
    slashless = "/" + "/".join(piece for piece in path.split("/") if piece)
    if slashless not in (path, "/"):
        found = f", then it is {slashless}" if _leads(slashless) else ""
        return f"{NOTHING}: there is a slash too many in it{found}; check the base URL for one at its end."
    if "/v1/v1/messages" in path:
        return f"{NOTHING}: leave /v1 out of the Anthropic base URL."
    if (versions := TWO_VERSIONS.fullmatch(path)) is not None:
        return f"{NOTHING}: {_of_versions(versions)}"
    if path.startswith("/gemini/") and (asked := COMPATIBLE.fullmatch(path)) is not None:
        return (
            f"{NOTHING}: Gemini speaks OpenAI's dialect at /gemini/v1beta/openai{asked[3]}, and so does /v1{asked[3]}."
        )
    if path.startswith("/v1beta/") and (asked := COMPATIBLE.fullmatch(path)) is not None:
        return f"{NOTHING}: Gemini speaks OpenAI's dialect at /v1beta/openai{asked[3]}, and so does /v1{asked[3]}."
    if path.startswith("/google/"):
        right = f"/gemini/{path.removeprefix('/google/')}"
        return f"{NOTHING}: Gemini is below /gemini{f', then it is {right}' if _leads(right) else ''}."
    if path.startswith("/models/") and ":" in path and _is_listed(f"/v1beta{path}"):
        return f"{NOTHING}: the base URL must end with /v1beta, then it is /v1beta{path}."
    if _is_listed(f"/v1{path}"):
        return f"{NOTHING}: the base URL must end with /v1, then it is /v1{path}."
    if (cased := _in_the_right_case(path)) is not None:
        return path_case.sentence(cased)
    if (without := _without_its_beginning(path)) is not None:
        return _leave_out(path.removesuffix(without), without)
    return f"{NOTHING}. {_GENERAL}"


def is_elsewhere(path: str) -> bool:
    """Whether a path is one of a cloud's whose ways are not spoken here."""
    return _AZURE.fullmatch(path) is not None or _VERTEX.fullmatch(path) is not None


def of_two_bases(provider: Provider, path: str, sent: str) -> str | None:
    """What is told of two beginnings in a row, as of `/openai/openai/v1/files`; None: there is but one.

    `path` is the provider's own, which none of its rows fits, and `sent` the whole. A provider may have endpoints that
    are not listed, so the second beginning counts only if it leads somewhere by itself.
    """
    if provider.dialect == "gemini" and _COMPATIBLE_PLACE.fullmatch(path) is not None:
        found = _COMPATIBLE_VERSION.fullmatch(sent)
        return None if found is None else _leave_out(found[2], f"{found[1]}{found[3]}")
    if provider.slug not in PROVIDERS:
        return None
    segments = sent.split("/")[1:]
    for count in range(1, min(_MOST_BEFORE + 1, len(segments))):
        before, rest = segments[:count], "/" + "/".join(segments[count:])
        if _VERSION.fullmatch(segments[count]):
            is_second = count > 1
        else:
            is_second = segments[count] in PROVIDERS and all(map(_is_beginning, before))
        if is_second and _leads(rest):
            return _leave_out("/" + "/".join(before), rest)
    return None


def _is_beginning(segment: str) -> bool:
    return segment in PROVIDERS or _VERSION.fullmatch(segment) is not None


def _leave_out(wrong: str, right: str) -> str:
    return f"{NOTHING}: leave {wrong} out of the base URL, then it is {right}."


def _of_versions(match: re.Match[str]) -> str:
    """What is told of two versions in a row: which one is wrong, if either leads somewhere alone."""
    slug, first, second, rest = (part or "" for part in match.groups())
    if first == second == "/v1":
        return "/v1 stands in it twice; check the base URL."
    for wrong, right in ((first, second), (second, first)):
        if _leads(f"{slug}{right}{rest}"):
            return f"leave {wrong} out of the base URL, then it is {slug}{right}{rest}."
    return f"two versions stand in it, {first} and {second}; check the base URL."


def _without_its_beginning(path: str) -> str | None:
    """What is left of a path without the first of its segments, if that leads somewhere."""
    segments = path.split("/")[1:]
    rests = ("/" + "/".join(segments[count:]) for count in range(1, min(_MOST_BEFORE + 1, len(segments))))
    return next((rest for rest in rests if rest in BUILTINS or (_is_listed(rest) and _is_somewhere(rest))), None)


def _is_somewhere(path: str) -> bool:
    """Whether a path would lead to a provider."""
    return path.startswith(("/v1/", "/v1beta/", *(f"/{slug}/" for slug in PROVIDERS)))


def _places(path: str) -> Iterator[tuple[Provider, str, str]]:
    """Who may have a path, with what is before his own one, and that one: the version may be left out behind a name."""
    slug, _, rest = path[1:].partition("/")
    provider = PROVIDERS.get(slug.lower())
    if provider is None:
        yield from ((one, "", path) for one in PROVIDERS.values())
    else:
        version = "/v1beta" if provider.dialect == "gemini" else "/v1"
        yield from ((provider, f"/{provider.slug}", f"{before}/{rest}") for before in ("", version))


def _is_listed(path: str) -> bool:
    """Whether a path is one of our own, or a provider's table has a row for it, but for those that fit everything."""
    return path in BUILTINS or any(path_case.listed(provider, own) for provider, _, own in _places(path))


def _leads(path: str) -> bool:
    """Whether a path is an endpoint, or one thing of those that are kept there."""
    parent, _, name = path.rpartition("/")
    return _is_listed(path) or (_NAME.fullmatch(name) is not None and _is_listed(parent))


def _in_the_right_case(path: str) -> str | None:
    """The path of an endpoint that differs from this one in its case alone."""
    for provider, before, own in _places(path):
        right = own if path_case.listed(provider, own) else path_case.meant(provider, own)
        if right is not None and f"{before}{right}" != path:
            return f"{before}{right}"
    return None
