"""Secrets among the settings: whether they are what they should be, and nothing that somebody could guess.

No sentence repeats any of them.
"""

import base64
import re
from itertools import pairwise

from cryptography.fernet import Fernet

from shared import provider_credential
from shared.config.values import SettingError, is_header_safe

_SECRET_KEY_MIN = 16
_FERNET_KEY_LENGTH = 44
_LEAST_LEFT, _LEAST_KINDS = 8, 5  # characters of a secret beside words that everybody thinks of, and different ones
_BETWEEN_WORDS = " -_.,"
# What examples, tutorials and people who are in a hurry write.
_PLACEHOLDERS = re.compile(
    r"change|replace|please|insert|enter|your|this|here|later|with|random|string|value|unsafe|insecure|secret|private|"
    r"password|passwort|passphrase|pass|key|token|default|example|sample|placeholder|dummy|test|todo|fixme|"
    r"development|develop|dev|production|prod|staging|local|super|very|really|admin|root|user|login|welcome|letmein|"
    r"hello|world|enterprise|router|proxy|openai|flask|django|session|signing|sign|cookie|app|qwertyuiop|qwertz|qwerty|"
    r"asdfghjkl|asdf|yxcvbnm|zxcvbnm|abcdefghijklmnopqrstuvwxyz|abcdefgh|abcdef|abcd|abc|01234567890?|1234567890?|"
    r"12345678|123456|12345|1234|123|9876543210?|now|the|not|for|me|my|to|is|in|it|a|x+"
)
_LEAST_DIFFERENT = 8  # of 32 bytes; random ones, or as many hex digits, have more


def secret_key(name: str, text: str) -> str:
    if len(text) < _SECRET_KEY_MIN or len(set(text)) < _SECRET_KEY_MIN // 4 or _is_guessed(text.casefold()):
        raise SettingError(
            f"{name} must have at least {_SECRET_KEY_MIN} characters that nobody can guess, such as those of "
            "`openssl rand -hex 32`."
        )
    return text


def secret_keys(name: str, text: str) -> tuple[str, ...]:
    """Those of before, of which none can hold a comma."""
    return tuple(secret_key(name, part.strip()) for part in text.split(",")) if text else ()


def _is_guessed(plain: str) -> bool:
    """One piece over and over, or little beside words and rows that everybody thinks of."""
    if any(plain == (plain[:size] * (len(plain) // size + 1))[: len(plain)] for size in range(1, len(plain) // 2 + 1)):
        return True
    left = [character for character in _PLACEHOLDERS.sub("", plain) if character not in _BETWEEN_WORDS]
    return len(left) < _LEAST_LEFT or len(set(left)) < _LEAST_KINDS


def encryption_keys(name: str, text: str) -> tuple[str, ...]:
    """Fernet keys, of which the first one seals. Those behind it only open what they once sealed, whatever they are."""
    keys = tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        for key in keys:
            Fernet(key)
    except ValueError:
        keys = ()
    # Two keys with a lost comma between them decode to the first one: the decoder stops at the padding.
    if not keys or any(len(key) != _FERNET_KEY_LENGTH for key in keys):
        raise SettingError(f"{name} must be one or more Fernet keys ({_FERNET_KEY_LENGTH} characters of base64).")
    if len(set(keys)) < len(keys):
        raise SettingError(f"{name} holds the same key twice: another one is to take its place, in front of it.")
    if _is_pattern(base64.urlsafe_b64decode(keys[0])):
        raise SettingError(
            f"{name} must begin with a key that nobody can guess, such as "
            "`python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'` prints."
        )
    return keys


def _is_pattern(key: bytes) -> bool:
    """Few different bytes, or few different steps from one to the next."""
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    return min(len(set(key)), len(steps)) < _LEAST_DIFFERENT


def credential(name: str, text: str, slug: str, *, at_home: bool) -> str:
    """A provider's credential; it becomes a header. `at_home`: it goes to the provider itself, not to a gateway."""
    if not is_header_safe(text):
        raise SettingError(f"{name} holds characters that no provider key has.")
    wrong = provider_credential.problem(text)
    if wrong is None and at_home:
        wrong = provider_credential.of_another(slug, text)
    if wrong is not None:
        raise SettingError(f"{name} {wrong}.")
    return text
