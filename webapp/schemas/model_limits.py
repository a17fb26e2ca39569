"""Spend limits of a key for some models: what may be set of one, and what is told of one."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from shared.catalog import spelled_provider
from shared.model_limits import MAX_MODEL_LIMITS
from webapp.schemas import Input, Output
from webapp.schemas.provider_names import ModelPattern
from webapp.schemas.values import Moment, Money, Reset, dollars_in_json, read_dollars, read_list


def _amount(raw: object) -> int:
    """Nano-dollars; there is no limit without an amount."""
    if raw is None or raw == "":
        raise ValueError("must be an amount in dollars, such as 20 or 0.50; 0 lets nothing be spent")
    return read_dollars(raw)


_Amount = Annotated[int, BeforeValidator(_amount), dollars_in_json(minimum=0)]


class ModelBudget(Input):
    """The most that a key may spend in a period on the models that a pattern matches."""

    model: ModelPattern = Field(description="A glob as of `allowed_models`, perhaps provider/model.")
    spend_limit_usd: _Amount = Field(description="The most that may be spent on them per period.")
    spend_reset: Reset | None = Field(default=None, description="Period of that limit. Null: never.")
    spend: Any = Field(default=None, description="Ignored: what the router tells of it may be sent back.")

    def column(self) -> dict[str, Any]:
        """As it is stored, but for since when the counters know all that counts against it."""
        return {
            "model": self.model,
            "spend_limit_nanos": self.spend_limit_usd,
            "spend_reset": self.spend_reset or "never",
        }


def _limits(raw: object) -> list[Any]:
    return read_list(raw, MAX_MODEL_LIMITS, "limits, each with model and spend_limit_usd", "limits")


def _each_pattern_once(limits: list[ModelBudget]) -> list[ModelBudget]:
    """Raises PydanticCustomError "of_field": where the same pattern stands a second time."""
    seen: dict[str, int] = {}
    for place, limit in enumerate(limits):
        before, slash, model = limit.model.partition("/")
        pattern = f"{spelled_provider(before) or before}/{model}" if slash else limit.model
        if pattern in seen:
            field = f"model_limits[{place}].model"
            message = f"is the pattern of model_limits[{seen[pattern]}] already"
            raise PydanticCustomError("of_field", field, {"field": field, "message": message})
        seen[pattern] = place
    return limits


ModelBudgets = Annotated[
    list[ModelBudget],
    BeforeValidator(_limits),
    AfterValidator(_each_pattern_once),
    Field(max_length=MAX_MODEL_LIMITS),
]


class ModelSpend(Output):
    """What counts against a limit for models in its running period."""

    spent_usd: Money
    held_usd: Money = Field(description="Held by requests in flight.")
    remaining_usd: Money
    period_start: Moment | None
    resets_at: Moment | None


class ModelLimit(Output):
    """A spend limit for some models, and what is left of it."""

    model: str = Field(examples=["gpt-4o*"])
    spend_limit_usd: Money
    spend_reset: str = Field(json_schema_extra={"enum": ["never", "daily", "weekly", "monthly"]})
    spend: ModelSpend
