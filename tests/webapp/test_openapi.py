import re
from collections.abc import Callable

from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient

from webapp.api.openapi import document


def routes(app: Flask) -> set[tuple[str, str]]:
    """Method and path of each route of the management API, as OpenAPI writes them."""
    found = set()
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/v1"):
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            found |= {(method.lower(), path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    return found


def test_it_works(api: Api, enter: Callable[[str], FlaskClient], app: Flask) -> None:
    served = api("GET", "/openapi.json")
    assert served.status_code == 200
    assert served.get_json() == document()
    assert enter("viewer").get("/openapi.json").status_code == 200
    assert app.test_client().get("/openapi.json").status_code == 303


def test_it_describes_the_routes_that_exist(app: Flask) -> None:
    described = {
        (method, path)
        for path, operations in document()["paths"].items()
        for method in operations
        if method != "parameters"
    }
    assert described == routes(app)


def test_each_reference_leads_somewhere() -> None:
    text = str(document())
    schemas = document()["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= schemas.keys()


def test_the_key_object_is_described_as_it_is(api: Api) -> None:
    schemas = document()["components"]["schemas"]
    created = api.create()
    assert set(created) == set(schemas["CreatedKey"]["properties"])
    assert set(created) - {"key"} == set(schemas["Key"]["properties"]) == set(schemas["Key"]["required"])
    assert set(created["spend"]) == set(schemas["Key"]["properties"]["spend"]["properties"])
    page = api("GET", "/v1/keys").get_json()
    assert set(page) == set(schemas["KeyList"]["properties"])
    usage = api("GET", f"/v1/keys/{created['id']}/usage").get_json()
    assert set(usage) == set(schemas["Usage"]["properties"])
    problem = api("GET", "/v1/keys/none").get_json()
    assert set(problem) == set(schemas["Problem"]["properties"])
