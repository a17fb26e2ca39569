"""`flask --app wsgi providers ...`: where requests go, and the credentials that go with them."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from shared.catalog import PROVIDERS
from shared.models import DEFAULT_LABEL
from webapp.actions.credentials import (
    add_credential,
    change_credential,
    forget_credentials,
    remove_credential,
    store_credentials,
)
from webapp.actions.custom_providers import add_provider, change_provider, remove_provider
from webapp.cli.fields import options, said
from webapp.cli.output import as_json_option, tell_json, tell_table
from webapp.cli.running import Commands, Exit, actor, confirmed, refuse
from webapp.provider_test import Outcome
from webapp.queries.connection import outcome_of, outcomes_of
from webapp.queries.providers import get_provider, list_providers
from webapp.schemas.custom_providers import CustomPatch
from webapp.schemas.providers import CredentialPatch, NewCredential, NewProvider, ProviderInfo, ProviderList
from webapp.validation import read
from webapp.views.providers import CredentialView, ProviderView

providers = Commands(
    "providers",
    help="Providers and their credentials.",
    missing=f"There is no such provider. There are {', '.join(PROVIDERS)}, and those that `providers add` has added.",
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
    rows = [(view.provider, view.base_url, *_known(one)) for view in views for one in view.credentials or (None,)]
    tell_table(("PROVIDER", "BASE URL", "CREDENTIAL", "SINCE", "BY", "LABEL", "USED"), rows)


@providers.command("add")
@click.argument("provider", metavar="NAME")
@options(NewProvider, leave_out=("provider", "credential"))
@as_json_option
def add_command(provider: str, as_json: bool, **fields: Any) -> None:  # noqa: FBT001 - click's way
    """Add NAME, a server that speaks OpenAI's dialect, as a provider of the organisation's own.

    `providers set NAME` stores its credential then, and `prices set NAME MODEL` what a model of it costs.
    """
    who = actor()
    add_provider(who, {"provider": provider, **said(NewProvider, fields)})
    _tell(get_provider(who.org_id, provider), f"Requests for {provider}/MODEL go to {provider} now.", as_json=as_json)


@providers.command("change")
@click.argument("name")
@options(CustomPatch)
@click.option(
    "--credential-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Its credential is the first line of this file (- is standard input). Needed where the base URL leads to "
    "another server and some are stored, which it takes the place of.",
)
@as_json_option
def change_command(
    name: str,
    credential_file: Path | None,
    as_json: bool,  # noqa: FBT001 - click's way
    **fields: Any,
) -> None:
    """Change NAME, one of the organisation's own. What is not named stays. It holds for the next request."""
    who = actor()
    document = {field: None if value == "" else value for field, value in said(CustomPatch, fields).items()}
    if document.get("models") == [""]:
        document["models"] = []
    if credential_file is not None:
        document["credential"] = _first_line(None if str(credential_file) == "-" else credential_file)
    change_provider(who, name, document)
    _tell(get_provider(who.org_id, name), f"The provider {name} is changed.", as_json=as_json)


@providers.command("drop")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@as_json_option
def drop_command(name: str, yes: bool, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Remove NAME, one of the organisation's own, with its credentials and prices. Its usage stays."""
    who = actor()
    view = get_provider(who.org_id, name)
    confirmed(f"Remove the provider {name} at {view.base_url}, with its credentials and prices?", yes=yes)
    remove_provider(who, name)
    _tell(view, f"The provider {name} is removed.", as_json=as_json)


@providers.command("set")
@click.argument("provider")
@click.option(
    "--credential-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Read the first line of this file, and not of standard input.",
)
@click.option(
    "--label", default=DEFAULT_LABEL, show_default=True, help="Which of its credentials: a new label adds one."
)
@as_json_option
def set_command(
    provider: str,
    credential_file: Path | None,
    label: str,
    as_json: bool,  # noqa: FBT001 - click's way
) -> None:
    """Store a provider's own key, sealed: the first line of standard input. It holds for the next request.

    Where the sandbox of `make run` answers for the provider, it holds once the router is started again.

    It is no argument, because everybody on the machine can read command lines, and shells remember them. With another
    label it is stored beside those that the provider has, and requests are spread over all of them. One that was
    switched off is used again.
    """
    who = actor()
    view = get_provider(who.org_id, provider)
    secret = read(NewCredential, {"credential": _first_line(credential_file)}).credential
    known = [one for one in view.credentials if one.label == label]
    if label == DEFAULT_LABEL:
        store_credentials(who, {provider: secret})
    elif known:
        change_credential(who, provider, known[0].id, {"credential": secret, "enabled": True})
    else:
        add_credential(who, provider, {"label": label, "credential": secret})
    view = get_provider(who.org_id, provider)
    carry = "carry" if len(view.enabled) == 1 else "may carry"
    since = "once the router is started again: the sandbox answers until then" if view.at_sandbox else "now"
    _tell(view, f"Requests to {view.label} {carry} the credential that ends in {secret[-4:]} {since}.", as_json=as_json)


@providers.command("remove")
@click.argument("provider")
@click.option("--label", help="Forget this one alone, and not all that the provider has.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@as_json_option
def remove_command(
    provider: str,
    label: str | None,
    yes: bool,  # noqa: FBT001 - click's way
    as_json: bool,  # noqa: FBT001
) -> None:
    """Forget a provider's credentials, or one of them. Without any, requests for it are refused."""
    who = actor()
    view = get_provider(who.org_id, provider)
    if label is not None:
        one = _labelled(view, label)
        confirmed(f"Forget the credential {label!r} of {view.label} that ends in {one.last4}?", yes=yes)
        remove_credential(who, provider, one.id)
        _tell(get_provider(who.org_id, provider), f"The credential {label!r} is forgotten.", as_json=as_json)
        return
    if len(view.credentials) > 1:
        confirmed(f"Forget all {len(view.credentials)} credentials of {view.label}?", yes=yes)
        forget_credentials(who, [provider])
        view = get_provider(who.org_id, provider)
    elif view.credentials:
        confirmed(f"Forget the credential of {view.label} that ends in {view.credentials[0].last4}?", yes=yes)
        forget_credentials(who, [provider])
        view = get_provider(who.org_id, provider)
    _tell(view, f"Requests to {view.label} are refused from now on: it has no credential.", as_json=as_json)


@providers.command("test")
@click.argument("provider", required=False)
@as_json_option
def test_command(provider: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Ask PROVIDER, or all, with each of its credentials for a list of models: free of charge. Status 1: one fails."""
    org_id = actor().org_id
    views = list_providers(org_id) if provider is None else (get_provider(org_id, provider),)
    found = outcomes_of(org_id, views)
    if not found and provider is None:
        refuse("No provider has a credential. `providers set PROVIDER` stores one.")
    found = found or {view.provider: outcome_of(org_id, view) for view in views}
    if as_json:
        tell_json({"data": [{"provider": slug, **_told(outcome)} for slug, outcome in found.items()]})
    else:
        for slug, outcome in found.items():
            click.echo(f"{slug}: {outcome.message}")
    sys.exit(Exit.DONE if all(outcome.ok for outcome in found.values()) else Exit.NO)


@providers.command("edit")
@click.argument("provider")
@click.argument("label")
@click.option("--label", "new_label", metavar="NEW", help="What it is called from now on.")
@click.option("--weight", help="Its share of the requests, among those of the same priority: 1 to 100.")
@click.option("--priority", help="The lowest goes first: 1 to 100.")
@click.option("--enabled/--disabled", default=None, help="Whether requests are sent with it.")
@as_json_option
def edit_command(
    provider: str,
    label: str,
    new_label: str | None,
    weight: str | None,
    priority: str | None,
    enabled: bool | None,  # noqa: FBT001 - click's way
    as_json: bool,  # noqa: FBT001
) -> None:
    """Change how the credential LABEL of PROVIDER is used. It holds for the next request."""
    who = actor()
    one = _labelled(get_provider(who.org_id, provider), label)
    wanted = {"label": new_label, "weight": weight, "priority": priority, "enabled": enabled}
    change_credential(who, provider, one.id, said(CredentialPatch, wanted))
    _tell(get_provider(who.org_id, provider), f"The credential {new_label or label!r} is changed.", as_json=as_json)


def _labelled(view: ProviderView, label: str) -> CredentialView:
    known = {one.label: one for one in view.credentials}
    if label not in known:
        refuse(f"{view.label} has no credential of this label. It has {', '.join(known) or 'none'}.")
    return known[label]


def _known(one: CredentialView | None) -> tuple[object, ...]:
    if one is None:
        return "", "", "", "", ""
    used = f"priority {one.priority}, weight {one.weight}" if one.enabled else "no"
    if one.refused is not None:
        used = f"{used}; refused by the provider ({one.refused.status})"
    return f"...{one.last4}", one.created_at, one.created_by, one.label, used


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
