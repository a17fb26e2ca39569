"""Gemini serves a request in a cheaper tier than the one that was asked for, and says so in a header or in the usage."""

import json
from decimal import Decimal

import pytest
from gateway_kit import OTHER, Gate, Reply, scripted

PATH = "/gemini/v1beta/models/gemini-3.8-flash:generateContent"
BODY = {"contents": [{"parts": [{"text": "x" * 1_000}]}], "generationConfig": {"maxOutputTokens": 1_000}}
STANDARD, PRIORITY = Decimal("0.0045"), Decimal("0.0081")


@pytest.mark.parametrize(
    ("asked", "header", "told", "cost"),
    [
        ("priority", None, None, PRIORITY),
        ("priority", "priority", None, PRIORITY),
        ("priority", "Standard", None, STANDARD),
        ("priority", "standard", "priority", PRIORITY),
        ("priority", None, "standard", STANDARD),
        ("priority", "of tomorrow", None, PRIORITY),
        (None, None, None, STANDARD),
    ],
)
def test_it_works(gate: Gate, asked: str | None, header: str | None, told: str | None, cost: Decimal) -> None:
    def answer(secret: str, what: str) -> Reply:
        del secret, what
        usage = {"promptTokenCount": 1_000, "candidatesTokenCount": 1_000, "totalTokenCount": 2_000}
        candidate = {"content": {"parts": [{"text": "Hello"}]}, "finishReason": "STOP"}
        body = {"candidates": [candidate], "usageMetadata": {**usage, **({"serviceTier": told} if told else {})}}
        headers = [] if header is None else [("X-Gemini-Service-Tier", header)]
        return "200 OK", headers, json.dumps(body).encode()

    server = scripted(answer)
    gate.open(f"http://127.0.0.1:{server.server_port}")
    gate.store(OTHER, provider="gemini")
    try:
        got = gate.ask({**BODY, **({"serviceTier": asked} if asked else {})}, path=PATH)
    finally:
        server.stop(timeout=1)
    assert got.status == 200
    (row,) = gate.rows()
    assert (Decimal(row.cost_nanos) / 10**9, row.flags) == (cost, [])
