"""Providers of an organisation's own, and sessions over WebSockets, which none of them speaks."""

from datetime import UTC, datetime

from accounting_kit import Router, Worker
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session
from talk_kit import MakeKey, opener

from shared.models import CustomProvider, Organization
from shared.sealing import Sealer


def test_a_provider_of_ones_own_speaks_no_websocket(
    router: Router, engine: Engine, sealer: Sealer, worker: Worker, make_key: MakeKey
) -> None:
    """Its models are none of OpenAI's, whatever their names are; nor are those of a name that was mistyped."""
    talk = opener(router, engine, sealer, worker, make_key)
    before = talk("responses")  # of a key, and so of an organisation
    assert before.says(type="response.create", model="meta-llama/llama-3", input="hello").forward is not None
    own = CustomProvider(id="prov_1", org_id="org_1", name="lab", base_url="https://lab.example.com/v1", auth="none")
    own.models, own.created_at, own.created_by = [], datetime.now(UTC), "test"
    with Session(engine) as session:
        session.add(own)
        session.execute(update(Organization).values(policy_version=Organization.policy_version + 1))
        version = session.scalar(select(Organization.policy_version)) or 0
        session.commit()
    worker.counters.publish(worker.membership.generation, {}, {"org_1": version})
    assert before.says(type="response.create", model="lab/gpt-4o-mini", input="hello").forward is None
    said = talk("responses")
    assert said.says(type="response.create", model="lab/gpt-4o-mini", input="hello").forward is None
    assert said.says(type="response.create", model="lba/gpt-4o-mini", input="hello").forward is None
    assert said.says(type="response.create", model="openai/gpt-4o-mini", input="hello").forward is not None
