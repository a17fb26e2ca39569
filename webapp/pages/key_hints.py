"""What the key form says while someone types: how many models a pattern covers, and what an address means."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from types import MappingProxyType

from shared.catalog import PROVIDERS, known_models, spelled_provider
from shared.config import ANY_IPV4, ANY_IPV6
from shared.policy.rules import matches_model
from shared.secret_text import shown
from webapp.schemas.provider_names import read_pattern
from webapp.schemas.values import MAX_ENTRIES, read_address
from webapp.views.custom_providers import label_of

_EXAMPLES = 3
NO_OWN: Mapping[str, tuple[str, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Hint:
    """A remark on one line of a field; `tone` is ok or warn."""

    line: str
    text: str
    tone: str


def amount_of(text: str | None) -> str | None:
    """An amount of dollars as it was typed, without the sign; None: there is none."""
    return (text or "").strip().removeprefix("$").strip() or None


def lines_of(text: str | None) -> list[str]:
    """The entries of a text area: one a line, or with commas between; trimmed, empty ones left out."""
    entries = (entry.strip() for line in (text or "").splitlines() for entry in line.split(","))
    return [entry for entry in entries if entry]


def model_hints(
    patterns: Iterable[str], providers: Iterable[str], own: Mapping[str, tuple[str, ...]] = NO_OWN
) -> tuple[Hint, ...]:
    """For each pattern the known models it covers, among the ticked providers (none ticked: all).

    `own` are the known models of each provider of the organisation's own.
    """
    ticked = set(providers)
    chosen = [slug for slug in (*PROVIDERS, *own) if slug in ticked] or [*PROVIDERS, *own]
    return tuple(_model_hint(pattern, chosen, own) for pattern in list(patterns)[:MAX_ENTRIES])


def _model_hint(pattern: str, providers: list[str], own: Mapping[str, tuple[str, ...]]) -> Hint:
    """What the form's judge says of it, and what it covers."""
    try:
        read_pattern(pattern, own)
    except ValueError as error:
        return Hint(shown(pattern).strip("'"), _ended(f"cannot be used: {error}"), "warn")
    before = pattern.partition("/")[0]
    named = before if before in own else spelled_provider(before)
    if "/" in pattern and named is not None and named not in providers:
        return Hint(pattern, f"covers nothing, because {label_of(named)} is not ticked.", "warn")
    known = [(slug, name) for slug in providers for name in own.get(slug) or known_models(slug)]
    found = [name for slug, name in known if matches_model(pattern, slug, name)]
    if not found and "/" in pattern and named in own:
        return Hint(pattern, f"means models of {named}; none of those that are known by name.", "ok")
    if not found:
        return Hint(pattern, "matches no model known here. Check the spelling, unless it is new or fine-tuned.", "warn")
    examples = ", ".join(found[:_EXAMPLES]) + (", …" if len(found) > _EXAMPLES else "")
    return Hint(pattern, f"matches {len(found)} known model{'s' if len(found) > 1 else ''}: {examples}", "ok")


def ip_hints(lines: Iterable[str]) -> tuple[Hint, ...]:
    """A remark on each line that is wrong, or that covers less than it seems to."""
    hints = []
    for line in list(lines)[:MAX_ENTRIES]:
        try:
            network = ip_network(read_address(line))
        except ValueError as error:
            hints.append(Hint(shown(line).strip("'"), _ended(f"cannot be used: {error}"), "warn"))
            continue
        if network == ANY_IPV4:
            hints.append(
                Hint(line, "covers every IPv4 address but no IPv6 one. Leave the field empty for any.", "warn")
            )
        elif network == ANY_IPV6:
            hints.append(
                Hint(line, "covers every IPv6 address but no IPv4 one. Leave the field empty for any.", "warn")
            )
        elif "/" in line and network.num_addresses == 1:
            hints.append(Hint(line, f"is one address alone, the same as {network.network_address}.", "ok"))
    return tuple(hints)


def _ended(text: str) -> str:
    """A sentence with its end, unless it has one."""
    return text if text.endswith((".", "?")) else f"{text}."
