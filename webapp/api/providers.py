"""`/v1/providers`: where requests go, and the credentials that go with them."""

from typing import Any

from flask import Blueprint, Response

from shared.models import ADMIN_SCOPE
from shared.pricing import table
from webapp.access import current_actor
from webapp.actions.credentials import forget_credentials, store_credentials
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.queries.connection import check_connection
from webapp.queries.models import list_models
from webapp.queries.providers import get_provider, list_providers
from webapp.schemas.catalog import ModelPrice, ModelPriceList, ModelQuery
from webapp.schemas.providers import Connection, NewCredential, ProviderInfo, ProviderList
from webapp.validation import read

bp = Blueprint("api_providers", __name__, url_prefix="/v1/providers")

NAME = {"provider": "The provider's name, such as openai."}


@bp.get("")
@operation("listProviders", "keys:read", ProviderList, "All providers")
def index() -> Response:
    """List the providers, and which of them have a credential."""
    views = list_providers(current_actor().org_id)
    return answer(ProviderList(data=[ProviderInfo.model_validate(view) for view in views]))


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
    """Store a provider's own key, sealed; it holds for the next request and is never told again."""
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
    "forgetCredential", ADMIN_SCOPE, ProviderInfo, "The provider without a credential", path=NAME, problems=(404,)
)
def forget_credential(provider: str) -> Response:
    """Forget a provider's credential; requests for it are refused from now on."""
    org_id = current_actor().org_id
    get_provider(org_id, provider)
    forget_credentials(current_actor(), [provider])
    return answer(ProviderInfo.model_validate(get_provider(org_id, provider)))
