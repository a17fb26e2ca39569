"""What the two lists of a key, of providers and of models, let through together. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from shared.catalog import PROVIDERS, known_models, spelled_provider, spellings
from shared.custom_providers import may_be_name, own_names
from shared.policy.rules import matches_model
from webapp.views.custom_providers import label_of

NONE_HAS_ANY = "No provider that it may use has a model of its list, so every request is refused."
Place = tuple[str, str]  # a provider, and a glob of models that may be asked of it, without its name before them


def contradiction(providers: Sequence[str], patterns: Sequence[str], own: Collection[str] | None = None) -> str | None:
    """Why no request can pass both lists, as a sentence; None when one can.

    `own` are the names of the organisation's own providers, those that were removed not among them; None: nobody knows.
    """
    gone = [] if own is None else [name for name in names_of_own(providers, patterns) if name not in own]
    allowed = tuple(slug for slug in providers if slug not in gone)
    if providers and not allowed:
        return _none_left(gone, "which is all that it may use")
    served = [pattern for pattern in patterns if pattern.partition("/")[0] not in gone]
    if patterns and not served:
        return _none_left(gone, "whose models are all that it may use")
    if not patterns or any(covers(pattern, allowed) for pattern in served):
        return None
    named = " and ".join(label_of(slug) for slug in allowed)
    return f"No model in its list belongs to {named}, which is all that it may use, so every request is refused."


def reaches(providers: Sequence[str], patterns: Sequence[str], usable: Collection[str]) -> bool:
    """Whether one of the providers that can be asked is among those that both lists let through."""
    open_to = tuple(sorted(slug for slug in usable if not providers or slug in providers))
    return bool(open_to) and (not patterns or any(covers(pattern, open_to) for pattern in patterns))


def open_places(
    providers: Sequence[str], patterns: Sequence[str], usable: Collection[str], own: Mapping[str, Sequence[str]]
) -> tuple[Place, ...]:
    """All that both lists let through to the providers that can be asked (`usable`).

    `own` are the organisation's own providers with the globs of their models; one without any may have every model.
    """
    return tuple(
        (slug, glob)
        for slug in sorted(usable)
        if not providers or slug in providers
        for pattern in patterns or ("*",)
        if covers(pattern, (slug,))
        for glob in _bare(pattern, slug)
        if not own.get(slug) or any(may_meet(glob, model) for model in own[slug])
    )


def is_within(place: Place, pattern: str) -> bool:
    """Whether a pattern covers all of a place; in doubt it does not."""
    slug, glob = place
    # A star of the place stands for any text, and so for none that a question mark could.
    return glob in _bare(pattern, slug) or ("?" not in pattern and matches_model(pattern, slug, glob))


@lru_cache(maxsize=4_096)
def _bare(pattern: str, slug: str) -> tuple[str, ...]:
    """The globs of a provider's models that a pattern leaves behind the name of the provider, if it has any.

    A star may end before the slash, or go on behind it: `*/mixtral` leaves both `mixtral` and `*/mixtral`.
    """
    left = {glob for name in spellings(slug) for glob in _behind(pattern, f"{name}/")} if "/" in pattern else set()
    return tuple(sorted(left)) or (pattern,)


def _behind(pattern: str, text: str) -> set[str]:
    """What a glob leaves for the rest of a name that begins with a text."""
    left = {pattern}
    for sign in text:
        left = {rest for glob in left for rest in _after(glob, sign)}
    return left


def _after(glob: str, sign: str) -> Iterator[str]:
    while glob.startswith("*"):
        yield glob
        glob = glob[1:]
    if glob[:1] in (sign, "?"):
        yield glob[1:]


@lru_cache(maxsize=4_096)
def may_meet(one: str, other: str) -> bool:
    """Whether a name could fit two globs."""
    # Row by row: whether the first i signs of the one and the first j of the other could be of one name.
    row = [other[:end].strip("*") == "" for end in range(len(other) + 1)]
    for sign in one:
        above, row = row, [row[0] and sign == "*"]
        for place, beside in enumerate(other, 1):
            if "*" in (sign, beside):
                row.append(above[place] or row[-1])
            else:
                row.append(above[place - 1] and (sign == beside or "?" in (sign, beside)))
    return row[-1]


def names_of_own(providers: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """The names of an organisation's own providers that stand in both lists."""
    before = (pattern.partition("/")[0] for pattern in patterns if "/" in pattern)
    return tuple(dict.fromkeys((*own_names(providers), *(name for name in before if may_be_name(name)))))


@lru_cache(maxsize=4_096)
def covers(pattern: str, providers: tuple[str, ...]) -> bool:
    """Whether a pattern lets anything through to these providers (none: all).

    What no provider is known to have is taken for a new or a fine-tuned model of one of them.
    """
    if not providers:
        return True
    before, slash, _ = pattern.partition("/")
    if slash and before in providers:
        return True
    if slash and (named := spelled_provider(before)) is not None:
        return named in providers
    if slash and may_be_name(before):
        return False  # another one of the organisation's own
    if any(slug not in PROVIDERS for slug in providers):
        return True  # one of the organisation's own may have any model
    if any(_knows(slug, pattern) for slug in providers):
        return True
    return not any(_knows(slug, pattern) for slug in PROVIDERS)


@lru_cache(maxsize=4_096)
def _knows(slug: str, pattern: str) -> bool:
    return any(matches_model(pattern, slug, name) for name in known_models(slug))


def _none_left(gone: Iterable[str], why: str) -> str:
    return f"There is no provider {' and '.join(gone)} any more, {why}, so every request is refused."
