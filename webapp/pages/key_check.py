"""The dry run on the page of a key: what somebody types, and what the proxy would answer, in plain words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.fields import SelectChoice

from shared.money import from_usd
from shared.policy import ERRORS
from shared.secret_text import masked
from webapp.queries.check import check_request
from webapp.render import dollars, sentence
from webapp.schemas.explain import CheckRequest
from webapp.schemas.values import number_in
from webapp.security import current_actor
from webapp.validation import FieldError
from webapp.views.check import CheckView
from webapp.views.custom_providers import label_of, provider_labels
from webapp.views.refusal_help import HELP, RefusalHelp


class CheckForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """A request that might be made, as far as somebody says it."""

    model = StringField("Model", id="check-model")
    provider = SelectField(
        "Provider",
        choices=[],
        id="check-provider",
    )
    ip = StringField("Address of the app", id="check-ip")
    max_tokens = StringField("Output limit (max_tokens)", id="check-max_tokens")
    path = StringField("Path", id="check-path")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        labels = provider_labels(current_actor().org_id)
        self.provider.choices = [
            SelectChoice("", "As the model tells"),
            *(SelectChoice(*one) for one in labels.items()),
        ]


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """What would become of it. `message` is the sentence that the app would be sent, if it is refused."""

    allowed: bool
    title: str
    facts: tuple[tuple[str, str], ...]
    message: str = ""
    help: RefusalHelp | None = None


def ask(org_id: str, key_id: str, form: CheckForm) -> CheckAnswer:
    """Judge what the form says. Raises Invalid with every fault, and NotFound."""
    said: dict[str, object] = {name: (form[name].data or "").strip() for name in CheckRequest.model_fields}
    said["max_tokens"] = number_in((form.max_tokens.data or "").strip())
    return _answer(check_request(org_id, key_id, {name: value for name, value in said.items() if value != ""}))


def attach(form: CheckForm, errors: Iterable[FieldError]) -> list[str]:
    """Put each message beside its field; those of no field are returned."""
    general = []
    for error in errors:
        if error.field in form and error.field != "csrf_token":
            form[error.field].errors = [*form[error.field].errors, sentence(error.message)]
        else:
            general.append(sentence(error.message))
    return general


def _answer(view: CheckView) -> CheckAnswer:
    told = view.as_json()
    facts = []
    if view.provider is not None:
        facts.append(("Goes to", f"{label_of(view.provider)}, {masked(view.endpoint or '')}"))
    if view.model is not None:
        facts.append(("Model", masked(view.model)))
    if told["needed_usd"] is not None:
        facts.append(("Costs at most", f"{dollars(from_usd(told['needed_usd']))} without any text of its own"))
    if view.output_limit is not None:
        facts.append(("Output limit", f"{view.output_limit:,} tokens, set by the router because the request has none"))
    if view.deny is None:
        return CheckAnswer(True, "It would be let through", tuple(facts))
    help_, status = HELP[view.deny.reason], ERRORS[view.deny.reason].status
    facts.append(("Code", f"{view.deny.reason.value}, HTTP {status}"))
    title = f"It would be refused: {help_.title.lower()}"
    return CheckAnswer(False, title, tuple(facts), masked(view.deny.sentence()), help_)
