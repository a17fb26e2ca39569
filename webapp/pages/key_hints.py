"""What the key form says while someone types: how many models a pattern covers, and what an address means."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.addresses import parse_network
from shared.catalog import PROVIDERS, known_models
from shared.config import ANY_IPV4, ANY_IPV6
from shared.policy.rules import matches_model
from webapp.validation import MAX_ENTRIES

_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Hint:
    """A remark on one line of a field; `tone` is ok or warn."""

    line: str
    text: str
    tone: str


def lines_of(text: str | None) -> list[str]:
    """The entries of a text area: one a line, trimmed, empty ones left out."""
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def model_hints(patterns: Iterable[str], providers: Iterable[str]) -> tuple[Hint, ...]:
    """For each pattern the known models it covers, among the ticked providers (none ticked: all)."""
    chosen = [slug for slug in PROVIDERS if slug in set(providers)] or list(PROVIDERS)
    return tuple(_model_hint(pattern, chosen) for pattern in list(patterns)[:MAX_ENTRIES])


def _model_hint(pattern: str, providers: list[str]) -> Hint:
    found = [name for slug in providers for name in known_models(slug) if matches_model(pattern, slug, name)]
    if not found:
        return Hint(pattern, "matches no model known here. Check the spelling, unless it is new or fine-tuned.", "warn")
    examples = ", ".join(found[:_EXAMPLES]) + (", …" if len(found) > _EXAMPLES else "")
    return Hint(pattern, f"matches {len(found)} known model{'s' if len(found) > 1 else ''}: {examples}", "ok")


def ip_hints(lines: Iterable[str]) -> tuple[Hint, ...]:
    """A remark on each line that is wrong, or that covers less than it seems to."""
    hints = []
    for line in list(lines)[:MAX_ENTRIES]:
        try:
            network = parse_network(line)
        except ValueError as error:
            hints.append(Hint(line, f"cannot be used: {error}.", "warn"))
            continue
        if network == ANY_IPV4:
            hints.append(
                Hint(line, "covers every IPv4 address but no IPv6 one. Leave the field empty for any.", "warn")
            )
        elif network == ANY_IPV6:
            hints.append(
                Hint(line, "covers every IPv6 address but no IPv4 one. Leave the field empty for any.", "warn")
            )
    return tuple(hints)
