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
    ("pattern", "slug", "globs"),
    [
        ("*/mixtral", "groq", ("*/mixtral", "mixtral")),
        ("?roq/mixtral", "groq", ("mixtral",)),
        ("g*/mixtral", "groq", ("*/mixtral", "mixtral")),
        ("gr*q/*", "groq", ("*q/*", "*")),
        ("groq/meta/*", "groq", ("meta/*",)),
        ("?eep/mixtral", "groq", ()),
        ("groq?mixtral/x", "groq", ("mixtral/x",)),
        ("**/x", "groq", ("**/x", "*/x", "x")),
        ("goo?le/gemini-2.5-pro", "gemini", ("gemini-2.5-pro",)),
        ("*mixtral", "groq", ("*mixtral",)),
    ],
)
def test_a_glob_may_stand_for_the_name_of_a_provider(pattern: str, slug: str, globs: tuple[str, ...]) -> None:
    """As the proxy takes it, which looks at the whole of a name."""
    places = open_places((), (pattern,), {slug}, {})
    assert places == tuple((slug, glob) for glob in globs)
    assert all(is_within(place, pattern) for place in places)
    for model in ("mixtral", "meta/mixtral", "mixtral/x", "x", "a/x", "gemini-2.5-pro"):
        assert any(may_meet(glob, model) for _, glob in places) == matches_model(pattern, slug, model), model


def test_a_model_of_ones_own_provider_is_open_to_a_glob_of_names() -> None:
    own = {"groq": ("mixtral",)}
    for pattern in ("*/mixtral", "?roq/mixtral", "gr*/mix*"):
        assert open_places((), (pattern,), {"groq"}, own)
    assert open_places((), ("*/llama",), {"groq"}, own) == ()


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
