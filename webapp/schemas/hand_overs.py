"""Links that show a key's secret once."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from shared.keys import PROXY_TAG, looks_like_ours
from webapp.schemas import Input, Output
from webapp.schemas.values import Moment


def _secret(raw: object) -> str:
    """A secret of a proxy key; what is none is not repeated."""
    if not isinstance(raw, str) or not looks_like_ours(raw.encode("utf-8", "surrogatepass"), PROXY_TAG):
        raise ValueError("must be the secret of this key, as it was shown when it was made")
    return raw


class NewHandOver(Input):
    """The secret to be handed over."""

    key: Annotated[str, BeforeValidator(_secret), Field(max_length=80)] = Field(
        description="The secret that the creation or the rotation of the key answered with."
    )


class HandOverInfo(Output):
    """A link that was not opened yet."""

    id: str
    key_id: str
    prefix: str = Field(description="Of the secret behind it.")
    created_at: Moment
    created_by: str
    expires_at: Moment


class CreatedHandOver(HandOverInfo):
    """A link, at the only moment that it can be seen."""

    url: str = Field(description="Shows the secret once, to whoever opens it first.")


class HandOverList(Output):
    """The links of a key that can still be opened."""

    data: list[HandOverInfo]
