"""`flask --app wsgi providers ...`: where requests go, and the credentials that go with them."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from shared.catalog import PROVIDERS
from webapp.actions.credentials import forget_credentials, store_credentials
from webapp.cli.output import as_json_option, tell_json, tell_table
from webapp.cli.running import Commands, Exit, actor, confirmed, refuse
from webapp.provider_test import Outcome
from webapp.queries.connection import outcome_of
from webapp.queries.providers import get_provider, list_providers
from webapp.schemas.providers import NewCredential, ProviderInfo, ProviderList
from webapp.validation import read
from webapp.views.providers import ProviderView

providers = Commands(
    "providers",
    help="Providers and their credentials.",
    missing=f"There is no such provider. There are {', '.join(PROVIDERS)}.",
)

_MOST_BYTES = 64 * 1024


@providers.command("list")
@as_json_option
def list_command(as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Print the providers, and which of them have a credential."""
    views = list_providers(actor().org_id)
    if as_json:
        tell_json(ProviderList(data=[ProviderInfo.model_validate(view) for view in views]))
        return
    rows = [(view.provider, view.base_url, *_known(view)) for view in views]
    tell_table(("PROVIDER", "BASE URL", "CREDENTIAL", "SINCE", "BY"), rows)


@providers.command("set")
@click.argument("provider")
@click.option(
    "--credential-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Read the first line of this file, and not of standard input.",
)
@as_json_option
def set_command(provider: str, credential_file: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Store a provider's own key, sealed: the first line of standard input. It holds for the next request.

    It is no argument, because everybody on the machine can read command lines, and shells remember them.
    """
    who = actor()
    get_provider(who.org_id, provider)
    secret = read(NewCredential, {"credential": _first_line(credential_file)}).credential
    store_credentials(who, {provider: secret})
    view = get_provider(who.org_id, provider)
    _tell(view, f"Requests to {view.label} carry the credential that ends in {secret[-4:]} now.", as_json=as_json)


@providers.command("remove")
@click.argument("provider")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@as_json_option
def remove_command(provider: str, yes: bool, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Forget a provider's credential; requests for it are refused from now on."""
    who = actor()
    view = get_provider(who.org_id, provider)
    if view.credential is not None:
        confirmed(f"Forget the credential of {view.label} that ends in {view.credential.last4}?", yes=yes)
        forget_credentials(who, [provider])
        view = get_provider(who.org_id, provider)
    _tell(view, f"Requests to {view.label} are refused from now on: it has no credential.", as_json=as_json)


@providers.command("test")
@click.argument("provider", required=False)
@as_json_option
def test_command(provider: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Ask PROVIDER, or all that have a credential, for a list of models: free of charge. Exit status 1: one fails."""
    org_id = actor().org_id
    views = list_providers(org_id) if provider is None else (get_provider(org_id, provider),)
    found = {view.provider: outcome_of(org_id, view) for view in views if provider or view.credential is not None}
    if not found:
        refuse("No provider has a credential. `providers set PROVIDER` stores one.")
    if as_json:
        tell_json({"data": [{"provider": slug, **_told(outcome)} for slug, outcome in found.items()]})
    else:
        for slug, outcome in found.items():
            click.echo(f"{slug}: {outcome.message}")
    sys.exit(Exit.DONE if all(outcome.ok for outcome in found.values()) else Exit.NO)


def _known(view: ProviderView) -> tuple[object, object, object]:
    known = view.credential
    return ("", "", "") if known is None else (f"...{known.last4}", known.created_at, known.created_by)


def _told(outcome: Outcome) -> dict[str, object]:
    told = asdict(outcome)
    told.pop("server_time")
    return {**told, "seconds": round(outcome.seconds, 3)}


def _first_line(path: Path | None) -> str:
    """Of a file, or of standard input; from a terminal it is asked for, and not shown."""
    if path is None and sys.stdin.isatty():
        typed: str = click.prompt("Credential", hide_input=True, err=True)
        return typed
    try:
        if path is None:
            line = sys.stdin.buffer.readline(_MOST_BYTES)
        else:
            with path.open("rb") as file:
                line = file.readline(_MOST_BYTES)
        return line.decode("utf-8-sig").strip()
    except OSError as error:
        refuse(f"--credential-file cannot be read: {(error.strerror or str(error)).lower()}.")
    except UnicodeDecodeError:
        refuse("The credential is no text in UTF-8.")


def _tell(view: ProviderView, sentence: str, *, as_json: bool) -> None:
    if as_json:
        tell_json(ProviderInfo.model_validate(view))
    else:
        click.echo(sentence)
