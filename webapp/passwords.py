"""Passwords of people: which are good enough, and how they are kept (argon2id, RFC 9106).

The rules are those of NIST SP 800-63B: length, and nothing that guessers try first; no demand for kinds of characters.
"""

import secrets
import unicodedata
from functools import lru_cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from webapp.offload import OFFLOAD

SHORTEST, MOST_BYTES = 12, 1024
_COMMON = Path(__file__).with_name("common_passwords.txt")
_HASHER = PasswordHasher()
# What people walk along with one finger.
_ROWS = (
    "abcdefghijklmnopqrstuvwxyz", "01234567890123456789", "09876543210987654321",
    "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "qwertyuiop[]asdfghjkl;'zxcvbnm,./",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "zaq1xsw2cde3vfr4bgt5nhy6mju7ki8lo9p0",
    "zaq12wsxcde34rfvbgt56yhnmju78iklo90p", "1qazxsw23edcvfr45tgbnhy67ujmki89olp0",
)  # fmt: skip
_SHORTEST_PIECE = 6  # of a pattern with digits or signs around it
_AROUND = "0123456789!?.,*#@$%&+=-_ "
_LOOK_ALIKES = str.maketrans("@4301!5$7", "aaeoiisst")
_JOINS = "-_."
_OWN_WORDS = ("enterprise router",)


def problem(password: str, *, email: str = "") -> str | None:
    """What is wrong with a new password, as the end of a sentence about it; None if nothing is."""
    if len(password.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        return f"must have at most {MOST_BYTES} bytes"
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in password):
        return "holds characters that cannot be typed"
    if len(password) < SHORTEST:
        return f"must have at least {SHORTEST} characters; a few words are easier to keep in mind than signs"
    plain = _squeezed(unicodedata.normalize("NFKC", password).casefold())
    name = email.casefold().partition("@")[0]
    for word in map(_squeezed, (email.casefold(), name, *_OWN_WORDS)):
        if len(word) >= 4 and word in plain and len(plain.replace(word, "")) < SHORTEST // 2:
            return "is little more than the name of its owner or of this service"
    if _is_common(plain):
        return "is one of those that are guessed first; choose one that is only yours"
    if _is_pattern(plain):
        return "is a pattern that is guessed soon; choose a few words that do not belong together"
    return None


def make_up() -> str:
    """A password that nobody guesses."""
    return secrets.token_urlsafe(15)


def hash_password(password: str) -> str:
    """argon2id with the library's parameters (RFC 9106, low-memory profile). May raise `offload.TooBusy`."""
    made: str = OFFLOAD.hashes(_HASHER.hash, password)
    return made


def matches(stored: str, password: str) -> bool:
    """Whether it is the password of a stored hash; takes as long when it is not. May raise `offload.TooBusy`."""
    try:
        if len(password.encode()) > MOST_BYTES:
            password, stored = "", unknown_hash()
        return bool(OFFLOAD.hashes(_HASHER.verify, stored, password))
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether it was hashed with weaker parameters than today's."""
    return _HASHER.check_needs_rehash(stored)


@lru_cache(maxsize=1)
def unknown_hash() -> str:
    """A hash that no password matches, for the time it takes."""
    return _HASHER.hash(secrets.token_urlsafe(32))


def _squeezed(text: str) -> str:
    """Without what takes no room or only separates: a word is no other one with spaces between its letters."""
    kept = (sign for sign in text if sign not in _JOINS and unicodedata.category(sign) not in ("Cf", "Zl", "Zp", "Zs"))
    return "".join(kept)


def _is_common(plain: str) -> bool:
    """Also with digits or signs around it or in the place of letters, as people do when they are told to."""
    spellings = {plain, plain.translate(_LOOK_ALIKES)}
    spellings |= {spelling.strip(_AROUND) for spelling in spellings} | {plain.strip(_AROUND).translate(_LOOK_ALIKES)}
    return not spellings.isdisjoint(_common())


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    lines = _COMMON.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _is_pattern(plain: str) -> bool:
    """One piece over and over, few different characters, or a walk along the keyboard or the alphabet."""
    inner = plain.strip(_AROUND)
    return _is_walk(plain) or (len(inner) >= _SHORTEST_PIECE and _is_walk(inner))


def _is_walk(plain: str) -> bool:
    if len(set(plain)) < 5:
        return True
    if any(plain == (plain[:size] * (len(plain) // size + 1))[: len(plain)] for size in range(1, len(plain) // 2 + 1)):
        return True
    return any(plain in row or plain in row[::-1] for row in _ROWS)
