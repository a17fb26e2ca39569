"""Schemathesis against the whole API: what OpenAPI promises is what is answered, to sense and to nonsense.

Examples are few and the same each time, so that this takes seconds; ROUTER_SCHEMA_EXAMPLES for more of them.
"""

import os
from typing import Any

import pytest
import schemathesis
from dashboard_kit import Api
from flask import Flask
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode, checks

EXAMPLES = int(os.environ.get("ROUTER_SCHEMA_EXAMPLES", "8"))
checks.load_all_checks()
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
OPERATIONS = [
    "createKey", "listKeys", "getKey", "updateKey", "pauseKey", "resumeKey", "rotateKey", "revokeKey", "changeKeys",
    "getKeyUsage", "getUsage", "listAudit", "listMembers", "createMember", "getMember", "updateMember", "removeMember",
    "listTokens", "createToken", "revokeToken", "listProviders", "setCredential", "forgetCredential", "testConnection",
    "listModels", "listPrices", "addProvider", "getProvider", "updateProvider", "removeProvider",
    "setPrice", "forgetPrice", "getOrganization", "updateOrganization", "checkKey", "listKeyRequests", "listKeyRefusals",
    "listRequests", "listRefusals",
    "addCredential", "updateCredential", "testCredential", "removeCredential",
    "listInvitations", "createInvitation", "withdrawInvitation",
    "getAlerts", "updateAlerts", "testAlerts", "listDeliveries", "retryDelivery", "getKeyAlerts", "updateKeyAlerts",
    "listWebhooks", "createWebhook", "getWebhook", "updateWebhook", "deleteWebhook", "rotateWebhook", "testWebhook",
    "listWebhookDeliveries", "createHandOver", "listHandOvers", "endHandOver", "getForecast",
]  # fmt: skip


@pytest.fixture
def schema(api: Api, app: Flask) -> Any:
    loaded = schemathesis.openapi.from_dict(api("GET", "/openapi.json").get_json())
    loaded.app = app
    return loaded


def test_it_works(schema: Any) -> None:
    found = {result.ok().definition.raw["operationId"] for result in schema.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_as_promised(api: Api, schema: Any, mode: GenerationMode) -> None:
    """All calls with one app after the other, as a client's come; a failure names the call and repeats it with curl."""
    # Within whatever maxima the calls before may have given the organisation.
    within = {"spend_limit_usd": "0", "rate_limit_rpm": 1, "expires_at": "2026-11-25T00:00:00Z"}
    for operation_id in OPERATIONS:
        known = str(api.create(**within)["id"])
        judge(api, schema.find_operation_by_id(operation_id), mode, known)


def judge(api: Api, operation: Any, mode: GenerationMode, key_id: str) -> None:
    judges = CHECKS if mode.is_positive else [*CHECKS, checks.negative_data_rejection]

    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Case[Any]) -> None:
        if mode.is_positive and "key_id" in (case.path_parameters or {}):
            case.path_parameters["key_id"] = key_id
        case.call_and_validate(checks=judges, headers={"Authorization": f"Bearer {api.token}"})

    call()
