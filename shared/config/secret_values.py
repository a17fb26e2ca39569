"""Secrets among the settings: whether they are what they should be, and nothing that somebody could guess.

No sentence repeats any of them.
"""

import re

from cryptography.fernet import Fernet

from shared import provider_credential
from shared.config.values import SettingError, is_header_safe

_SECRET_KEY_MIN = 16
_FERNET_KEY_LENGTH = 44
# Of nothing but these are what examples, tutorials and people in a hurry write. A word more, and nobody can be sure.
_PLACEHOLDER = re.compile(
    r"(?:(?:change|replace|set|me|this|please|now|default|insecure|unsafe|password|passphrase|secret|key|your|my|here|"
    r"in|production|admin|example|enterprise|router)[ ._-]*)+"
)


def secret_key(name: str, text: str) -> str:
    if not _is_long(text) or _is_guessed(text.casefold()):
        raise SettingError(
            f"{name} must have at least {_SECRET_KEY_MIN} characters that nobody can guess, such as those of "
            "`openssl rand -hex 32`."
        )
    return text


def former_secret_keys(name: str, text: str) -> tuple[str, ...]:
    """Those of before, of which none can hold a comma. What releases before took as SECRET_KEY is left this way."""
    keys = tuple(part.strip() for part in text.split(",")) if text else ()
    if not all(_is_long(key) for key in keys):
        raise SettingError(f"{name} must have at least {_SECRET_KEY_MIN} characters, of several kinds, in each key.")
    return keys


def _is_long(text: str) -> bool:
    return len(text) >= _SECRET_KEY_MIN and len(set(text)) >= _SECRET_KEY_MIN // 4


def _is_guessed(plain: str) -> bool:
    """One piece over and over, or nothing but words that stand for a secret."""
    if any(plain == (plain[:size] * (len(plain) // size + 1))[: len(plain)] for size in range(1, len(plain) // 2 + 1)):
        return True
    return _PLACEHOLDER.fullmatch(plain) is not None


def encryption_keys(name: str, text: str) -> tuple[str, ...]:
    """Fernet keys, of which the first one seals. Those behind it only open what they once sealed."""
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
    return keys


def credential(name: str, text: str, slug: str, *, at_home: bool) -> str:
    """A provider's credential; it becomes a header. `at_home`: it goes to the provider itself, not to a gateway."""
    if not is_header_safe(text):
        raise SettingError(f"{name} holds characters that no provider key has.")
    longest = provider_credential.LONGEST if at_home else provider_credential.LONGEST_OF_GATEWAY
    wrong = provider_credential.problem(text, shortest=1, longest=longest)
    if wrong is None and at_home:
        wrong = provider_credential.of_another(slug, text)
    if wrong is not None:
        raise SettingError(f"{name} {wrong}.")
    return text
