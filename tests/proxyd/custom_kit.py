"""Providers of an organisation's own before a gateway that is whole: what they were asked, and what they answer."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest
from gateway_kit import Gate, Provider
from gevent.pywsgi import WSGIServer
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from proxyd.upstream.pool import UpstreamLimits, UpstreamPool
from shared import ids
from shared.models import CustomProvider, Organization, PriceOverride, ProviderCredential, ProxyKey

SECRET = "sandbox-of-our-own-credential-0009"
HERE = (ip_network("127.0.0.0/8"),)


def pool(*, private: bool = True) -> UpstreamPool:
    """Connections, to this machine too if `private`."""
    limits = UpstreamLimits(connect_seconds=2.0, first_byte_seconds=20.0, private_networks=HERE if private else ())
    return UpstreamPool(limits)


def edit(gate: Gate, change: Callable[[Session], object]) -> None:
    """Change what the organisation's keys share, and tell the counters of it, as the dashboard does."""
    with Session(gate.engine) as session:
        change(session)
        session.execute(update(Organization).values(policy_version=Organization.policy_version + 1))
        version = session.scalar(select(Organization.policy_version)) or 0
        session.commit()
    gate.worker.counters.publish(gate.worker.membership.generation, {}, {"org_1": version})


def add(gate: Gate, name: str, base_url: str, *, secret: str | None = SECRET, **fields: Any) -> None:
    """A provider with a credential, unless `secret` is None."""
    at = datetime.now(UTC)
    columns: dict[str, Any] = {"auth": "bearer", "models": [], "stream_options": True, "enabled": True, **fields}
    row = CustomProvider(
        id=ids.new_id("prov"), org_id="org_1", name=name, base_url=base_url, created_at=at, created_by="t", **columns
    )

    def change(session: Session) -> None:
        session.add(row)
        if secret is not None:
            sealed = gate.sealer.seal(secret)
            credential = ProviderCredential(
                id=ids.new_id("cred"), org_id="org_1", provider=name, label="default", sealed=sealed, last4=secret[-4:]
            )
            credential.created_at, credential.created_by = at, "t"
            session.add(credential)

    edit(gate, change)


def set_of(gate: Gate, name: str, **fields: Any) -> None:
    """Edit a provider."""
    edit(gate, lambda session: session.execute(update(CustomProvider).filter_by(name=name).values(**fields)))


def remove(gate: Gate, name: str) -> None:
    """As the dashboard does, with its credentials."""

    def change(session: Session) -> None:
        session.execute(delete(ProviderCredential).filter_by(provider=name))
        session.execute(update(CustomProvider).filter_by(name=name).values(removed_at=datetime.now(UTC)))

    edit(gate, change)


def price(gate: Gate, name: str, model: str, **rates: str) -> None:
    """A price of the organisation's own, by usage key."""
    one = PriceOverride(id=ids.new_id("price"), org_id="org_1", provider=name, model=model, rates=rates)
    one.created_at = datetime.now(UTC)
    edit(gate, lambda session: session.add(one))


def key_with(gate: Gate, **fields: Any) -> None:
    """Edit the key."""
    with Session(gate.engine) as session:
        session.execute(update(ProxyKey).values(version=ProxyKey.version + 1, **fields))
        version = session.scalar(select(ProxyKey.version)) or 0
        session.commit()
    gate.worker.counters.publish(gate.worker.membership.generation, {gate.key_id: version}, {})


USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass
class Server:
    """A server of OpenAI's dialect that writes down what it is asked."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    status: str = "200 OK"
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = WSGIServer(("127.0.0.1", 0), self._serve, log=None)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _serve(self, environ: dict[str, Any], start: Callable[..., object]) -> list[bytes]:
        body = environ["wsgi.input"].read()
        headers = {name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name[:5] == "HTTP_"}
        told = {"method": environ["REQUEST_METHOD"], "path": environ["PATH_INFO"], "query": environ["QUERY_STRING"]}
        self.asked.append({**told, "headers": headers, "body": body})
        answer = self.body or self._usual(body)
        kind = "text/event-stream" if answer.startswith(b"data:") else "application/json"
        start(self.status, [("content-length", str(len(answer))), ("content-type", kind), *self.headers])
        return [answer]

    @staticmethod
    def _usual(body: bytes) -> bytes:
        asked = json.loads(body) if body else {}
        if not asked.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
            return json.dumps({"model": asked.get("model"), "choices": [choice], "usage": USAGE}).encode()
        delta = {"model": asked["model"], "choices": [{"index": 0, "delta": {"content": "hello"}}]}
        last = {
            "model": asked["model"],
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "usage": USAGE,
        }
        return b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in (delta, last)) + b"data: [DONE]\n\n"

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(name="server")
def compatible_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def lab(gate: Gate, provider: Provider) -> Gate:
    """A gateway whose built-in providers, and one of the organisation's own called `lab`, are all the sandbox."""
    gate.open(provider.url, pool())
    add(gate, "lab", f"{provider.url}/v1")
    return gate
