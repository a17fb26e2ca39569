"""Headers that calls of the API heed, for OpenAPI; what they say is judged where it is used."""

from pydantic import BaseModel, Field


class IfMatch(BaseModel):
    """For changes."""

    if_match: str | None = Field(default=None, alias="If-Match", description="The ETag of what you have seen.")


class IfNoneMatch(BaseModel):
    """For reads."""

    if_none_match: str | None = Field(
        default=None, alias="If-None-Match", description="The ETag of what you have: 304 when it is the same still."
    )


class IdempotencyKey(BaseModel):
    """For creations."""

    idempotency_key: str | None = Field(
        default=None,
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="For 24 hours the same request again answers with the same key, without its secret.",
    )
