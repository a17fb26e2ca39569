"""One change of many keys."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from webapp.schemas import Fault, Input, Output
from webapp.schemas.keys import Key
from webapp.schemas.values import Expiry, is_none, one_of

ACTIONS = ("revoke", "pause", "resume", "extend")
MOST_KEYS = 200
_LONGEST_ID = 40


def _ids(raw: object) -> list[str]:
    if not isinstance(raw, list) or not all(isinstance(entry, str) for entry in raw):
        raise ValueError("must be a list of key ids")
    if not 1 <= len(raw) <= MOST_KEYS:
        raise ValueError(f"must have from 1 to {MOST_KEYS} key ids, not {len(raw)}")
    if any(not 0 < len(entry) <= _LONGEST_ID or not entry.isascii() or not entry.isprintable() for entry in raw):
        raise ValueError("has an entry that is no key id")
    return raw


class BulkChange(Input):
    """What to do, and with which keys."""

    action: Annotated[str, BeforeValidator(one_of(*ACTIONS)), Field(json_schema_extra={"enum": list(ACTIONS)})]
    ids: Annotated[
        list[str],
        BeforeValidator(_ids),
        AfterValidator(lambda ids: list(dict.fromkeys(ids))),
        Field(min_length=1, max_length=MOST_KEYS),
    ]
    expires_at: Expiry | None = Field(default=None, description="For `extend`: the new expiry; null is never.")

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        yield from super().judge(wrong, context)
        if wrong & {"action", "expires_at"}:
            return
        extends = self.action == "extend"
        if extends != ("expires_at" in self.model_fields_set):
            yield "expires_at", "is required to extend; null is never" if extends else "goes with extend only"


class BulkResult(Output):
    """What became of one key: as it is now, or why nothing was changed."""

    id: str
    status: int = Field(description="The status that the call for this key alone would have had.")
    key: Key | None = Field(default=None, exclude_if=is_none)
    code: str | None = Field(default=None, exclude_if=is_none)
    detail: str | None = Field(default=None, exclude_if=is_none)


class BulkResults(Output):
    """A result for each key, in the order in which they were named."""

    action: Literal["revoke", "pause", "resume", "extend"]
    changed: int = Field(description="How many are now as was asked for.")
    failed: int
    results: list[BulkResult]
