"""`flask --app wsgi prices ...`: the organisation's own prices."""

import click

from shared.pricing import table
from webapp.actions.prices import forget_price, rates_in, set_price
from webapp.cli.output import as_json_option, tell_json
from webapp.cli.running import Commands, actor
from webapp.queries.prices import own_prices
from webapp.schemas.prices import OwnPrice, OwnPriceList
from webapp.views.prices import PriceView

prices = Commands(
    "prices",
    help="The organisation's own prices, which beat the price table's.",
    missing="There is no price of one's own for this model of this provider.",
)


@prices.command("set")
@click.argument("provider")
@click.argument("model")
@click.argument("rates", nargs=-1, required=True, metavar="CLASS=DOLLARS...")
@as_json_option
def set_command(provider: str, model: str, rates: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Price a model: dollars a million tokens, an hour of sound or a thousand calls, input_tokens=1.25.

    It holds for the next request, for bounds and costs, and takes the place of all token prices of the model.
    """
    told = rates_in((key, dollars) for key, _, dollars in (rate.partition("=") for rate in rates))
    _tell(set_price(actor(), provider, model, told), "", as_json=as_json)


@prices.command("unset")
@click.argument("provider")
@click.argument("model")
@as_json_option
def unset_command(provider: str, model: str, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Go by the price table again; prints the price that was."""
    _tell(forget_price(actor(), provider, model), "No more: ", as_json=as_json)


@prices.command("list")
@as_json_option
def list_command(as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Print the organisation's own prices."""
    views = own_prices(actor().org_id)
    if as_json:
        data = [OwnPrice.model_validate(view) for view in views]
        tell_json(OwnPriceList(data=data, table_version=table.version()))
        return
    for view in views:
        click.echo(_line(view))
    click.echo(f"All others are those of the price table, version {table.version()}.")


def _tell(view: PriceView, before: str, *, as_json: bool) -> None:
    if as_json:
        tell_json(OwnPrice.model_validate(view))
    else:
        click.echo(f"{before}{_line(view)}")


def _line(view: PriceView) -> str:
    return f"{view.provider} {view.model}: {', '.join(f'{key} ${dollars}' for key, dollars in view.rates.items())}"
