import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient

from webapp.schemas.keys import EDITABLE, READ_ONLY


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    served = api("GET", "/openapi.json")
    assert served.status_code == 200
    found: dict[str, Any] = served.get_json()
    return found


def routes(app: Flask) -> set[tuple[str, str]]:
    """Method and path of each route of the management API, as OpenAPI writes them."""
    found = set()
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/v1"):
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            found |= {(method.lower(), path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    return found


def test_it_works(document: dict[str, Any], enter: Callable[[str], FlaskClient], app: Flask) -> None:
    assert document["openapi"].startswith("3.1")
    assert enter("viewer").get("/openapi.json").get_json() == document
    assert app.test_client().get("/openapi.json").status_code == 303


def test_it_describes_the_routes_that_exist(document: dict[str, Any], app: Flask) -> None:
    described = {(method, path) for path, operations in document["paths"].items() for method in operations}
    assert described == routes(app)


def test_each_reference_leads_somewhere_and_nothing_is_left_over(document: dict[str, Any]) -> None:
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert named == document["components"]["schemas"].keys()


def test_the_page_for_people_tells_every_call(
    document: dict[str, Any], enter: Callable[[str], FlaskClient], app: Flask
) -> None:
    text = enter("viewer").get("/docs").text
    for path, operations in document["paths"].items():
        assert f"<code>{path}</code>" in text
        for operation in operations.values():
            assert f'id="{operation["operationId"]}"' in text
    assert "<script" not in text.partition("<main")[2]
    assert app.test_client().get("/docs").status_code == 303


def test_the_guide_names_every_call_and_no_other(document: dict[str, Any]) -> None:
    guide = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(GET|POST|PATCH|PUT|DELETE) (/v1/[^`?]+)`", guide))
    assert told == {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}


def test_each_operation_says_what_it_is(document: dict[str, Any]) -> None:
    operations = [told for path in document["paths"].values() for told in path.items()]
    assert len({operation["operationId"] for _, operation in operations}) == len(operations)
    for method, operation in operations:
        assert operation["summary"].endswith((".", ")"))
        assert "Needs the scope" in operation["description"]
        for parameter in operation["parameters"]:
            assert parameter["description"], (operation["operationId"], parameter["name"])
        assert "requestBody" in operation or method == "get" or {"400", "413", "415"} <= set(operation["responses"])
        for status, answer in operation["responses"].items():
            if status == "304":
                assert "content" not in answer
                continue
            kinds = set(answer["content"])
            assert ("application/problem+json" in kinds) == (not status.startswith("2")), operation["operationId"]


def test_the_key_object_is_described_as_it_is(api: Api, document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    created = api.create()
    assert set(created) == set(schemas["CreatedKey"]["properties"]) - {"notice"}
    assert set(created) - {"key"} == set(schemas["Key"]["properties"]) == set(schemas["Key"]["required"])
    assert set(created["spend"]) == set(schemas["Spend"]["properties"])
    assert set(created) == READ_ONLY - {"notice", "secrets"} | set(EDITABLE)
    assert set(schemas["NewKey"]["properties"]) == set(EDITABLE) == set(schemas["KeyPatch"]["properties"])
    page = api("GET", "/v1/keys").get_json()
    assert set(page) == set(schemas["KeyList"]["properties"]) - {"total"}
    usage = api("GET", f"/v1/keys/{created['id']}/usage").get_json()
    assert set(usage) == set(schemas["Usage"]["properties"]) - {"has_more", "next_cursor"}  # which lists of keys have
    problem = api("GET", "/v1/keys/none").get_json()
    assert set(problem) == set(schemas["Problem"]["properties"])


def test_412_is_told_of_what_heeds_if_match_and_of_nothing_else(api: Api, document: dict[str, Any]) -> None:
    """Asked of each call, with a tag that fits nothing: what has a version, or has none to fit."""
    ids = iter(api.create()["id"] for _ in document["paths"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            place = re.sub(r"{\w+}", "openai", path.replace("{key_id}", next(ids) if "{key_id}" in path else ""))
            answer = api(method.upper(), place, headers={"If-Match": '"v99"'})
            told = "412" in operation["responses"]
            if "requestBody" not in operation or operation["requestBody"].get("required") is False:
                assert (answer.status_code == 412) == told, (method, path, answer.text)
            else:
                assert told or answer.status_code != 412, (method, path, answer.text)
