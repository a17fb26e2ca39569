"""A dry run, as its tests ask for it."""

from typing import Any

from dashboard_kit import Api

Json = dict[str, Any]


def checked(api: Api, key_id: str, **asked: Any) -> Json:
    answer = api("POST", f"/v1/keys/{key_id}/check", asked)
    assert answer.status_code == 200, answer.text
    found: Json = answer.get_json()
    schema = api("GET", "/openapi.json").get_json()["components"]["schemas"]["Check"]
    assert set(found) == set(schema["properties"]) == set(schema["required"])
    assert found["allowed"] is (found["refusal"] is None)
    return found
