"""The examples of docs/api.md, run as they stand there: each call is answered, and as the page says."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

from dashboard_kit import Api

PAGE = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```\n(curl .*?)```(?:\n\n```json\n(.*?)```)?", PAGE, re.DOTALL)
# What is another one each time.
MADE = {"id", "prefix", "key", "token", "created_at", "created_by", "request_id", "valid_until", "next_cursor", "at"}


def called(api: Api, command: str, known: dict[str, str]) -> Any:
    """The answer to a curl command."""
    words = shlex.split(re.sub(r"\$(\w+)", lambda found: known[found[1]], command.replace("\\\n", " ")))
    method, headers, body, url = None, {}, None, ""
    options = iter(words[1:])
    for word in options:
        if word == "-X":
            method = next(options)
        elif word == "-H":
            name, _, value = next(options).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(options)
        elif word != "-s":
            url = word
    answer = api(method or ("POST" if body else "GET"), url, data=body, headers=headers)
    assert answer.status_code != 404, command
    return answer.get_json(silent=True) or answer.text


def alike(told: Any, found: Any) -> bool:
    if isinstance(told, dict) and isinstance(found, dict):
        return told.keys() == found.keys() and all(name in MADE or alike(told[name], found[name]) for name in told)
    if isinstance(told, list) and isinstance(found, list):
        return len(told) == len(found) and all(map(alike, told, found))
    return bool(told == found)


def test_it_works(api: Api) -> None:
    assert len(EXAMPLES) >= 4
    key = api.create()
    known = {"ROUTER_URL": "", "ROUTER_TOKEN": api.token, "KEY_ID": str(key["id"]), "ROUTER_KEY": str(key["key"])}
    for command, expected in EXAMPLES:
        answer = called(api, command, known)
        if expected:
            assert alike(json.loads(expected), answer), f"{command}\n{json.dumps(answer, indent=2)}"
        else:
            assert "errors" not in answer or not answer["errors"], answer


def test_an_example_that_is_wrong_is_found() -> None:
    told = {"id": "x", "errors": [{"field": "name"}]}
    assert alike(told, {"id": "y", "errors": [{"field": "name"}]})
    assert not alike(told, {"id": "y", "errors": [{"field": "other"}]})
    assert not alike(told, {"id": "y", "errors": []})
    assert not alike(told, {"id": "y"})
