"""New secrets of a key."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from webapp.schemas import Input
from webapp.schemas.keys import Key, Secret
from webapp.schemas.values import is_none, whole

LONGEST_GRACE_SECONDS = 604_800
GRACE_SECONDS = 86_400


class Rotation(Input):
    """How to rotate."""

    optional: ClassVar = True  # a request without a body goes by the defaults

    grace_seconds: Annotated[
        int, BeforeValidator(whole(0, LONGEST_GRACE_SECONDS)), Field(ge=0, le=LONGEST_GRACE_SECONDS)
    ] = Field(
        default=GRACE_SECONDS, description="For how long the old secret opens the key as well. 0: it dies at once."
    )


class RotatedKey(Key):
    """A key with its new secret."""

    key: str = Field(description="The new secret, this once.")
    secrets: list[Secret] = Field(description="All secrets that open the key now, the newest first.")
    notice: str | None = Field(
        default=None, exclude_if=is_none, description="That the proxies could not be told at once, and what of it."
    )
