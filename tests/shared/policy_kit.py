"""A key that may do everything, and a request that every key may make, for tests of policy to take from."""

from ipaddress import ip_address

from shared.policy import KeySnapshot, PolicyQuery

NOW = 1_800_000_000.0
OPEN = KeySnapshot(
    id="key_1", org_id="org_1", name="app", prefix="sk-proxy-a1b2", revoked=False, expires_at=None,
    paused=False, allowed_providers=frozenset(), allowed_models=(), allowed_networks=(), rate_limit_rpm=None,
    spend_limit_nanos=None, spend_reset="never",
)  # fmt: skip
ASK = PolicyQuery(client_ip=ip_address("203.0.113.7"), provider="openai", model="gpt-4o", metered=True, bound_nanos=5)
