"""The limits for models in the form of a key: a row each of a pattern, an amount and a period.

A row whose pattern and amount are empty says nothing, so that one is taken away without JavaScript too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from werkzeug.datastructures import MultiDict
from wtforms import Field

from shared.model_limits import MAX_MODEL_LIMITS
from webapp.pages.key_hints import amount_of
from webapp.views.model_limits import ModelLimitView

Row = Mapping[str, str]  # as it was typed
BLANK: Row = {"model": "", "spend_limit_usd": "", "spend_reset": "never"}


class ModelLimitsField(Field):  # type: ignore[misc] # WTForms publishes no types
    """Three inputs, each repeated once a row. `data` is what was typed, a `Row` each.

    `was_sent`: the form that was sent has such rows, be it none; one of the release before has not.
    """

    def process(self, formdata: MultiDict[str, str] | None, data: Any = None, extra_filters: Any = None) -> None:  # noqa: ARG002 - WTForms' own signature
        self.process_errors: list[str] = []
        self.object_data = self.data = list(data) if isinstance(data, list) else []
        self.was_sent = bool(formdata) and f"{self.name}_sent" in (formdata or {})
        if formdata and self.was_sent:
            parts = (formdata.getlist(self.name + part) for part in ("", "_usd", "_reset"))
            self.data = [
                {"model": model, "spend_limit_usd": usd, "spend_reset": reset}
                for model, usd, reset in zip(*parts, strict=False)
                if model.strip() or usd.strip()
            ]

    def rows(self) -> list[Row]:
        """Those of the form: what is there, and an empty one while there may be more."""
        return [*self.data, *([BLANK] if len(self.data) < MAX_MODEL_LIMITS else [])]


def rows_of(limits: Sequence[ModelLimitView]) -> list[Row]:
    """As the form shows what is stored."""
    return [
        {"model": limit.model, "spend_limit_usd": limit.spend_limit_usd, "spend_reset": limit.spend_reset}
        for limit in limits
    ]


def limits_in(rows: Sequence[Row]) -> list[dict[str, object]]:
    """What the rows say, as the document of the JSON endpoints has it."""
    return [
        {
            "model": row["model"].strip(),
            "spend_limit_usd": amount_of(row["spend_limit_usd"]),
            "spend_reset": row["spend_reset"],
        }
        for row in rows
    ]
