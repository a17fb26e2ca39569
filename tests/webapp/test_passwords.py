"""FINDINGS S11: which passwords are taken."""

import pytest
from argon2 import extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY
from kept_kit import REAL_HASHER

from webapp import passwords


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery", "Tr0ub4dor&3-and-more", "\u00e4\u00f6\u00fc\u00df \u4e2d\u6587 \u0441\u043b\u043e\u0432\u043e", "p w i t h s p a c e s", "x" * 500 + "yz ab", "h7Wq-2mVx-9Tkd", "12%4a!9=3+7#", "17-abc-29-!?-41", "my test of a router",
        "\U0001f511\U0001f40e\U0001f50b\U0001f4ce tiny keys",
    ],
)  # fmt: skip
def test_it_works(password: str) -> None:
    assert passwords.problem(password, email="ann@example.com") is None


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "at least 12"), ("password", "at least 12"), ("elevenchars", "at least 12"), ("x1!" * 400, "at most 1024"),
        ("test12345678", "guessed first"), ("router123456", "guessed first"),
        ("openai123456", "guessed first"), ("p a s s w o r d", "guessed first"), ("password\u200b1234", "guessed first"), ("pass_word_2026!", "guessed first"), ("password\u00a0\u00a01234", "guessed first"),
        ("qwertyqwerty1", "pattern"), ("xyzt9xyzt9xyzt!", "pattern"), ("!dafydafydafy1", "pattern"), ("asdfghjkl;12", "pattern"), ("zaq12wsxcde3", "pattern"),
        ("3edcxsw21qaz", "pattern"), ("a b c d e f g", "pattern"),
        ("enterprise_router1", "this service"), ("Enterprise.Router-2", "this service"),
        ("password1234", "guessed first"), ("Password2026!", "guessed first"), ("1qaz2wsx3edc", "guessed first"),
        ("administrator", "guessed first"), ("P@ssw0rd!!!!", "guessed first"), ("!!!!password!!!!", "guessed first"),
        ("aaaaaaaaaaaaaaaa", "pattern"), ("abcabcabcabc", "pattern"), ("abcdefghijklm", "pattern"), ("lkjhgfdsapoiu", "pattern"),
        ("12345678901234", "pattern"), ("xyzt9xyzt9xyzt9", "pattern"), ("121212121212", "pattern"),
        ("ann@example.com", "owner"), ("ann@example.com1", "owner"), ("enterprise router", "this service"), ("EnterpriseRouter1", "this service"),
        ("twelve chars\0", "typed"), ("twelve chars\ud800", "typed"),
    ],
)  # fmt: skip
def test_what_is_guessed_is_refused(password: str, words: str) -> None:
    told = passwords.problem(password, email="ann@example.com")
    assert told is not None
    assert words in told
    assert not password or password not in told


def test_a_made_up_password_is_good() -> None:
    made = {passwords.make_up() for _ in range(20)}
    assert len(made) == 20
    assert all(passwords.problem(one) is None for one in made)


def test_a_hash_is_no_password() -> None:
    stored = passwords.hash_password("correct horse battery")
    assert passwords.matches(stored, "correct horse battery")
    assert not passwords.matches(stored, stored)
    assert not passwords.matches("-", "correct horse battery")
    assert not passwords.matches(stored, "\ud800")


def test_guessing_from_a_stolen_hash_takes_as_much_work_as_the_standard_asks_for() -> None:
    assert extract_parameters(REAL_HASHER.hash("correct horse battery")) == RFC_9106_LOW_MEMORY
