"""What the lists of a key let through together: which places, and whether two globs meet."""

import pytest

from shared.catalog import PROVIDERS
from shared.policy.rules import matches_model
from webapp.views.key_lists import is_within, may_meet, open_places


def test_it_works() -> None:
    own = {"groq": ("llama-*",), "ollama": ()}
    usable = {*PROVIDERS, *own}
    assert open_places((), (), usable, own) == tuple((slug, "*") for slug in sorted(usable))
    assert open_places((), ("google/gemini-*",), usable, own) == (("gemini", "gemini-*"),)
    assert open_places((), ("gpt-4o",), usable, own) == (("ollama", "gpt-4o"), ("openai", "gpt-4o"))
    assert open_places(("groq",), ("llama-3", "qwen*"), usable, own) == (("groq", "llama-3"),)
    assert open_places(("anthropic",), (), {"openai"}, {}) == ()


@pytest.mark.parametrize(
    ("pattern", "slug", "model"),
    [
        ("*/mixtral", "groq", "mixtral"),
        ("?roq/mixtral", "groq", "mixtral"),
        ("g*/mixtral", "groq", "mixtral"),
        ("*q/mix?ral", "groq", "mix?ral"),
        ("g*tral", "groq", None),
        ("x*/mixtral", "groq", None),
        ("*/gpt-4o", "openai", "gpt-4o"),
        ("goo*/gemini-2.5-pro", "gemini", "gemini-2.5-pro"),
    ],
)
def test_a_provider_that_a_pattern_names_by_a_glob(pattern: str, slug: str, model: str | None) -> None:
    """What the proxy lets through is a place, and nothing is said of what it does not."""
    own = {"groq": ("mixtral",)} if slug == "groq" else {}
    places = open_places((), (pattern,), {slug}, own)
    assert ((slug, model) in places) == (model is not None)
    assert model is None or (
        matches_model(pattern, slug, model.replace("?", "t")) and is_within((slug, model), pattern)
    )


@pytest.mark.parametrize(
    ("glob", "pattern", "within"),
    [
        ("gpt-4o", "gpt-*", True),
        ("gpt-4*", "gpt-4o*", False),
        ("gpt-4o", "openai/gpt-4o", True),
        ("gpt-4o", "anthropic/*", False),
        ("gpt-?", "gpt-?", True),
        ("gpt-*", "gpt-?", False),
        ("*", "*", True),
        ("*", "openai/*", True),
    ],
)
def test_a_pattern_covers_all_of_a_place_or_is_in_doubt(glob: str, pattern: str, within: bool) -> None:
    assert is_within(("openai", glob), pattern) == within


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("qwen*", "llama-*", False),
        ("*-mini", "gpt-*", True),
        ("a*b*c", "*x*c", True),
        ("a?c", "*bc", True),
        ("a?c", "ac", False),
        ("*", "", True),
        ("?*", "", False),
        ("*" * 100 + "a", "*" * 100 + "b", False),
    ],
)
def test_two_globs_meet_where_a_name_fits_both(one: str, other: str, meet: bool) -> None:
    assert may_meet(one, other) == may_meet(other, one) == meet
