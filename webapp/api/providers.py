"""`/v1/providers`: where requests go, those of the organisation's own too, and the credentials that go with them."""

from typing import Any

from flask import Blueprint, Response

from shared.models import ADMIN_SCOPE
from shared.pricing import table
from webapp.access import current_actor
from webapp.actions.credentials import (
    add_credential,
    change_credential,
    remove_credential,
    remove_default,
    store_credentials,
)
from webapp.actions.custom_providers import add_provider, change_provider, remove_provider
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.queries.connection import check_connection
from webapp.queries.models import list_models
from webapp.queries.providers import get_credential, get_provider, list_providers
from webapp.schemas.catalog import ModelPrice, ModelPriceList, ModelQuery
from webapp.schemas.providers import (
    AddedCredential,
    Connection,
    Credential,
    CredentialPatch,
    NewCredential,
    NewProvider,
    ProviderInfo,
    ProviderList,
    ProviderPatch,
)
from webapp.validation import read

bp = Blueprint("api_providers", __name__, url_prefix="/v1/providers")

NAME = {"provider": "The provider's name, such as openai."}
ONE = NAME | {"credential_id": "The credential's id, cred_ and 26 characters."}


@bp.get("")
@operation("listProviders", "keys:read", ProviderList, "All providers")
def index() -> Response:
    """List the providers, the built-in ones and those of the organisation's own, and which have a credential."""
    views = list_providers(current_actor().org_id)
    return answer(ProviderList(data=[ProviderInfo.model_validate(view) for view in views]))


@bp.post("")
@operation("addProvider", ADMIN_SCOPE, ProviderInfo, "The provider", status=201, body=NewProvider, problems=(409,))
def create(document: dict[str, Any]) -> Response:
    """Add a provider of the organisation's own: a server that speaks OpenAI's dialect. It is used at once."""
    actor = current_actor()
    name = add_provider(actor, document)
    return answer(ProviderInfo.model_validate(get_provider(actor.org_id, name)), 201)


@bp.get("/<provider>")
@operation("getProvider", "keys:read", ProviderInfo, "The provider", path=NAME, problems=(404,))
def show(provider: str) -> Response:
    """Read one provider."""
    return answer(ProviderInfo.model_validate(get_provider(current_actor().org_id, provider)))


@bp.patch("/<provider>")
@operation(
    "updateProvider",
    ADMIN_SCOPE,
    ProviderInfo,
    "The provider as it is now",
    path=NAME,
    body=ProviderPatch,
    problems=(404, 409),
)
def update(provider: str, document: dict[str, Any]) -> Response:
    """Change a provider of the organisation's own; it holds for the next request."""
    actor = current_actor()
    served = ProviderInfo.model_validate(get_provider(actor.org_id, provider)).model_dump(mode="json")
    change_provider(actor, provider, document, served=served)
    return answer(ProviderInfo.model_validate(get_provider(actor.org_id, provider)))


@bp.delete("/<provider>")
@operation("removeProvider", ADMIN_SCOPE, ProviderInfo, "The provider that was", path=NAME, problems=(404, 409))
def delete(provider: str) -> Response:
    """Remove a provider of the organisation's own, with its credentials and prices; its usage stays."""
    actor = current_actor()
    told = ProviderInfo.model_validate(get_provider(actor.org_id, provider))
    remove_provider(actor, provider)
    return answer(told)


@bp.put("/<provider>/credential")
@operation(
    "setCredential",
    ADMIN_SCOPE,
    ProviderInfo,
    "The provider with its credential",
    path=NAME,
    body=NewCredential,
    problems=(404,),
)
def set_credential(provider: str, document: dict[str, Any]) -> Response:
    """Store a provider's own key as its `default`, sealed and switched on, for the next request. It is told to nobody.

    Where the sandbox of `make run` answers (`at_sandbox`), it is used once the router is started again.
    """
    org_id = current_actor().org_id
    get_provider(org_id, provider)
    store_credentials(current_actor(), {provider: read(NewCredential, document).credential})
    return answer(ProviderInfo.model_validate(get_provider(org_id, provider)))


@bp.post("/<provider>/test")
@operation("testConnection", ADMIN_SCOPE, Connection, "What the provider said", path=NAME, problems=(404,))
def test_connection(provider: str) -> Response:
    """Ask a provider whether it takes its credential: its list of models, which costs nothing, within 10 seconds."""
    return answer(Connection.model_validate(check_connection(current_actor().org_id, provider)))


@bp.get("/<provider>/models")
@operation("listModels", "keys:read", ModelPriceList, "Models by name", path=NAME, query=ModelQuery, problems=(404,))
def models(provider: str, query: ModelQuery) -> Response:
    """List the models of a provider that are known here, and what they cost the organisation today."""
    data = [ModelPrice.model_validate(view) for view in list_models(current_actor().org_id, provider, query.q)]
    return answer(ModelPriceList(data=data, table_version=table.version()))


@bp.delete("/<provider>/credential")
@operation(
    "forgetCredential", ADMIN_SCOPE, ProviderInfo, "The provider without its default", path=NAME, problems=(404,)
)
def forget_credential(provider: str) -> Response:
    """Forget the `default` credential of a provider. Without any other one, requests for it are refused from now on."""
    org_id = current_actor().org_id
    get_provider(org_id, provider)
    remove_default(current_actor(), provider)
    return answer(ProviderInfo.model_validate(get_provider(org_id, provider)))


@bp.post("/<provider>/credentials")
@operation(
    "addCredential",
    ADMIN_SCOPE,
    Credential,
    "The credential, without itself",
    status=201,
    path=NAME,
    body=AddedCredential,
    problems=(404, 409),
)
def add(provider: str, document: dict[str, Any]) -> Response:
    """Store a further credential of a provider, beside those that it has; requests are spread over them at once."""
    actor = current_actor()
    get_provider(actor.org_id, provider)
    credential_id = add_credential(actor, provider, document)
    return _credential(provider, credential_id, 201)


@bp.patch("/<provider>/credentials/<credential_id>")
@operation(
    "updateCredential",
    ADMIN_SCOPE,
    Credential,
    "The credential as it is now",
    path=ONE,
    body=CredentialPatch,
    problems=(404,),
)
def change(provider: str, credential_id: str, document: dict[str, Any]) -> Response:
    """Replace a credential, or change its label, its share, its order, or whether it is used."""
    actor = current_actor()
    _, view = get_credential(actor.org_id, provider, credential_id)
    served = Credential.model_validate(view).model_dump(mode="json")
    change_credential(actor, provider, credential_id, document, served=served)
    return _credential(provider, credential_id)


@bp.post("/<provider>/credentials/<credential_id>/test")
@operation("testCredential", ADMIN_SCOPE, Connection, "What the provider said", path=ONE, problems=(404,))
def test_credential(provider: str, credential_id: str) -> Response:
    """Ask a provider whether it takes this one of its credentials: its list of models, which costs nothing."""
    return answer(Connection.model_validate(check_connection(current_actor().org_id, provider, credential_id)))


@bp.delete("/<provider>/credentials/<credential_id>")
@operation("removeCredential", ADMIN_SCOPE, ProviderInfo, "The provider with the others", path=ONE, problems=(404,))
def remove(provider: str, credential_id: str) -> Response:
    """Forget one credential of a provider; with the last one, requests for it are refused from now on."""
    remove_credential(current_actor(), provider, credential_id)
    return answer(ProviderInfo.model_validate(get_provider(current_actor().org_id, provider)))


def _credential(provider: str, credential_id: str, status: int = 200) -> Response:
    _, view = get_credential(current_actor().org_id, provider, credential_id)
    return answer(Credential.model_validate(view), status)
