"""How much a model shall think: levels at OpenAI and Gemini, tokens or levels at Anthropic."""

from collections.abc import Mapping
from dataclasses import replace

from proxyd.providers import BadBody
from proxyd.translation.conversation import DISPLAYS, EFFORTS, Display, Effort, Reasoning
from proxyd.translation.fields import Fields, refusal

# Tokens that a level of effort stands for where one side gives a number; Google's own table of the first three.
BUDGETS: Mapping[Effort, int] = {
    "minimal": 1_024,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 49_152,
}


def reasoning_of(body: Fields) -> Reasoning | None:
    """OpenAI's effort, or Anthropic's budget, which its own compatible endpoint takes as well."""
    thinking = body.part("thinking")
    effort = body.text("reasoning_effort")
    if effort not in (None, "none", *EFFORTS):
        raise BadBody("reasoning_effort is none of its levels.", "reasoning_effort")
    found = None if thinking is None else thinking_of(thinking)
    if effort is None:
        return found
    budget_tokens = None if found is None else found.budget_tokens
    if thinking is not None and ((found is None) != (effort == "none") or budget_tokens is not None):
        raise refusal("reasoning_effort", "says something else than thinking does")
    if effort == "none":
        return None
    level = next(each for each in EFFORTS if each == effort)
    return Reasoning(level) if found is None else replace(found, effort=level)


def thinking_of(thinking: Fields) -> Reasoning | None:
    """Anthropic's `thinking`: off, so many tokens, or as the model likes."""
    kind = thinking.needed("type")
    display = _display(thinking)
    budget = thinking.count("budget_tokens")
    if kind not in ("enabled", "disabled", "adaptive") or (budget is None) == (kind == "enabled"):
        raise refusal(thinking.place)
    thinking.done()
    if kind == "disabled":
        return None
    return Reasoning("high" if budget is None else effort_of(budget), budget, display)


def _display(thinking: Fields) -> Display | None:
    asked = thinking.text("display")
    found = next((display for display in DISPLAYS if display == asked), None)
    if found != asked:
        raise refusal(thinking.at("display"))
    return found


def effort_of(budget_tokens: int) -> Effort:
    """The level of effort that a number of tokens comes nearest to, from below; of those that all models know."""
    levels: tuple[Effort, ...] = ("high", "medium")
    return next((each for each in levels if BUDGETS[each] <= budget_tokens), "low")
