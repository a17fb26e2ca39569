"""What the lists of a key let through together: which places, and whether two globs meet."""

import pytest

from shared.catalog import PROVIDERS
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
