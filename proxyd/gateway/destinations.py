"""Where a request may lead: values that `route` finds by its head, and the gateway acts on."""

from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Struct

from proxyd.custom_providers import Custom
from proxyd.translation import Translation
from shared.builtin_paths import BuiltinName
from shared.catalog import Endpoint, Provider
from shared.routing import Named, Unified, Unknown, WrongMethod


class Builtin(Struct, frozen=True):
    """One of the router's own answers."""

    name: BuiltinName
    model: str = ""  # whose card is wanted
    otherwise: "Target | None" = None  # who is asked for the card of a model that we do not know


@dataclass(frozen=True, slots=True)
class Target:
    """A request for one provider. `endpoint` is None when the catalog does not list the path."""

    provider: Provider
    endpoint: Endpoint | None
    path: str  # below the provider's base URL
    path_model: str | None
    dialect: str
    credential_header: tuple[bytes, bytes]  # name and value prefix of the header that carries the real credential
    translation: Translation | None = None  # the caller speaks another dialect than this endpoint
    custom: Custom | None = None  # a provider of the organisation's own, and where it listens


FORWARDED = (Unified, Target)  # to a provider


class NoUpgrade(Struct, frozen=True):
    """A WebSocket is wanted, which is not spoken here."""


class NeedsUpgrade(Struct, frozen=True):
    """Nothing but a WebSocket is spoken here."""


class SessionRoute(Struct, frozen=True):
    """A WebSocket's handshake, for one provider."""

    target: Target
    endpoint: Endpoint


Route = Builtin | Target | Named | Unified | Unknown | WrongMethod | NoUpgrade | NeedsUpgrade | SessionRoute


class RouteMatch(NamedTuple):
    """All that a method, a path and the caller's dialect tell."""

    route: Route
    dialect: str  # in which the caller expects errors
    query_key_allowed: bool  # on Gemini routes only
