"""Provider credentials at rest: Fernet (AES-128-CBC and HMAC-SHA256), with keys that rotate.

The first key encrypts; all of them decrypt. So a new key is put in front, credentials are sealed again, and the old
one is dropped.
"""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class UnsealError(Exception):
    """None of the keys opens this credential: ROUTER_ENCRYPTION_KEY was changed or lost."""


class Sealer:
    """Encrypts and decrypts with a list of Fernet keys."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._first = Fernet(keys[0])
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, secret: str) -> bytes:
        return self._fernet.encrypt(secret.encode())

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the first key, so that the others are not needed for it."""
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def opens(self, sealed: bytes) -> bool:
        """Whether one of the keys opens it."""
        try:
            self._fernet.decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def unseal(self, sealed: bytes) -> str:
        """Raises UnsealError; the text tells nothing about the secret."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise UnsealError("a stored credential cannot be opened with ROUTER_ENCRYPTION_KEY") from None
