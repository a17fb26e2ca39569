"""Models and what they cost, below Providers: a search for all, and own prices for administrators to set and remove."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, redirect, request
from flask_wtf import FlaskForm
from markupsafe import Markup
from werkzeug.wrappers import Response
from wtforms import SelectField, StringField, TextAreaField
from wtforms.fields import SelectChoice

from shared.pricing import table
from shared.pricing.listing import unit_words
from webapp.actions.prices import forget_price, rates_in, set_price
from webapp.context import NotFound
from webapp.pages.log_search import has_secret, without_secret
from webapp.queries.models import ModelPriceView, list_models, price_of
from webapp.render import is_fragment, page, sentence, tell
from webapp.schemas.prices import MAX_MODEL
from webapp.security import current_actor, may, require
from webapp.validation import FieldError, Invalid
from webapp.views.custom_providers import label_of, provider_labels

bp = Blueprint("prices", __name__, url_prefix="/providers")

# The classes with a field, or a column, of their own.
MAIN = {
    "input_tokens": "Input",
    "cache_read_tokens": "Cached input",
    "cache_write_tokens": "Written to cache",
    "output_tokens": "Output",
}
_MOST_LINES = 50


class PriceForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """A price of one's own."""

    provider = SelectField("Provider", choices=[], id="price-provider")
    model = StringField("Model", id="price-model")
    input_tokens = StringField("Input", id="price-input_tokens")
    cache_read_tokens = StringField("Cached input", id="price-cache_read_tokens")
    cache_write_tokens = StringField("Written to cache", id="price-cache_write_tokens")
    output_tokens = StringField("Output", id="price-output_tokens")
    others = TextAreaField("Everything else", id="price-others")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.provider.choices = [SelectChoice(*one) for one in provider_labels(current_actor().org_id).items()]


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A model in the table: the prices with a column of their own, and all others in words."""

    view: ModelPriceView
    main: tuple[tuple[str, str], ...]  # label, dollars or ""
    others: tuple[str, ...]


@bp.get("/models")
@require("viewer")
def index() -> Response:
    q = without_secret(request.args.get("q", ""))[:MAX_MODEL].strip()
    chosen = request.args.get("provider", "")
    labels = provider_labels(current_actor().org_id)
    chosen = chosen if chosen in labels else ""
    own_only = request.args.get("own") == "yes"
    said = {"q": q, "provider": chosen, "own": "yes" if own_only else ""}
    query = urlencode({name: value for name, value in said.items() if value})
    here = f"/providers/models?{query}" if query else "/providers/models"
    if has_secret() and not is_fragment():
        return redirect(here, code=303)
    slugs = [chosen] if chosen else list(labels)
    org_id = current_actor().org_id
    views = [view for slug in slugs for view in list_models(org_id, slug, q)]
    rows = [_row(view) for view in views if not own_only or view.priced_by == "own"]
    response = page(
        "models.html",
        "results",
        rows=rows,
        q=q,
        chosen=chosen,
        own_only=own_only,
        labels=labels,
        count_text="1 model." if len(rows) == 1 else f"{len(rows)} models.",
        columns=list(MAIN.values()),
        may_administer=may("admin"),
        table_version=table.version(),
    )
    if is_fragment():
        response.headers["HX-Replace-Url"] = here  # without what must not stay there
    return response


@bp.get("/prices/edit")
@require("admin")
def edit() -> Response:
    """The form, with what the model costs at present; of no model it is empty."""
    slug, model = request.args.get("provider", ""), request.args.get("model", "")[:MAX_MODEL]
    labels = provider_labels(current_actor().org_id)
    data = {"provider": slug if slug in labels else next(iter(labels)), "model": model}
    if slug in labels and model.isprintable() and model:
        rates = price_of(current_actor().org_id, slug, model).rates
        data |= {name: rates.get(name, "") for name in MAIN}
        data["others"] = "\n".join(f"{name} = {dollars}" for name, dollars in rates.items() if name not in MAIN)
    return _form(PriceForm(formdata=None, data=data))


@bp.post("/prices/edit")
@require("admin")
def save() -> Response:
    """Price the model; it holds for the next request."""
    form = PriceForm()
    slug, model = form.provider.data or "", (form.model.data or "").strip()
    main = ((name, (form[name].data or "").strip().removeprefix("$")) for name in MAIN)
    rates = [(name, dollars) for name, dollars in main if dollars]
    try:
        set_price(current_actor(), slug, model, rates_in([*rates, *_lines(form.others.data or "")]))
    except Invalid as error:
        return _form(form, general=_attach(form, error.errors), status=422)
    tell(Markup("The price of <bdi>{}</bdi> is saved. It holds for the next request.").format(model))
    return redirect(f"/providers/models?provider={slug}&own=yes", code=303)


@bp.get("/prices/remove")
@require("admin")
def ask() -> Response:
    view = _own(request.args.get("provider", ""), request.args.get("model", ""))
    return page("price_form.html", "panel", step="remove", row=_row(view), label=label_of(view.provider))


@bp.post("/prices/remove")
@require("admin")
def remove() -> Response:
    """Go by the price table again."""
    price = forget_price(current_actor(), request.form.get("provider", ""), request.form.get("model", ""))
    tell(Markup("<bdi>{}</bdi> costs what the price table says again.").format(price.model))
    return redirect(f"/providers/models?provider={price.provider}", code=303)


def _own(slug: str, model: str) -> ModelPriceView:
    for view in list_models(current_actor().org_id, slug, model):
        if view.model == model and view.priced_by == "own":
            return view
    raise NotFound


def _form(form: PriceForm, *, general: Iterable[str] = (), status: int = 200) -> Response:
    failed = [field.id for field in form if field.errors]
    return page(
        "price_form.html",
        "panel",
        status=status,
        step="edit",
        form=form,
        general=tuple(general),
        first=failed[0] if failed else form.input_tokens.id if form.model.data else form.model.id,
    )


def _lines(text: str) -> list[tuple[str, str]]:
    """Classes and their dollars, one a line: `input_audio_tokens = 40`."""
    found = []
    for line in text.splitlines()[:_MOST_LINES]:
        name, _, dollars = line.partition("=")
        if line.strip():
            found.append((name.strip(), dollars.strip().removeprefix("$").strip()))
    return found


def _attach(form: PriceForm, errors: Iterable[FieldError]) -> list[str]:
    """Put each message beside its field; those of no field are returned."""
    general = []
    for error in errors:
        name = error.field.removeprefix("rates.")
        if error.field == "rates":
            name = "input_tokens"
        message = sentence(error.message)
        if name in MAIN or name in ("provider", "model"):
            form[name].errors = [*form[name].errors, message]
        elif error.field.startswith("rates."):
            form.others.errors = [*form.others.errors, f"{name}: {error.message}."]
        else:
            general.append(message)
    return general


def _row(view: ModelPriceView) -> PriceRow:
    main = tuple((label, _shown(view.rates.get(name, ""))) for name, label in MAIN.items())
    others = [*_words(view.rates, but=MAIN)]
    for step in view.steps:
        changed = {name: dollars for name, dollars in step.rates.items() if view.rates.get(name) != dollars}
        if changed:
            others.append(f"Input above {step.above_tokens:,} tokens: " + "; ".join(_words(changed, but={})))
    return PriceRow(view, main, tuple(others))


def _shown(dollars: str) -> str:
    """With two places at least, as people write money."""
    whole, _, places = dollars.partition(".")
    return f"{whole}.{places.ljust(2, '0')}" if whole else ""


def _words(rates: Mapping[str, str], *, but: Mapping[str, str]) -> list[str]:
    """`Input audio tokens: $40 a million`."""
    return [
        f"{re.sub('_', ' ', name).capitalize()}: ${_shown(dollars)} {unit_words(name)}"
        for name, dollars in rates.items()
        if name not in but
    ]
