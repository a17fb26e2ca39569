"""Providers of an organisation's own, and sessions over WebSockets, which none of them speaks."""

from datetime import UTC, datetime

from accounting_kit import Router, Worker
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session
from talk_kit import MakeKey, opener

from shared.models import CustomProvider, Organization
from shared.sealing import Sealer


def test_a_provider_of_ones_own_speaks_no_websocket(
    router: Router, engine: Engine, sealer: Sealer, worker: Worker, make_key: MakeKey
) -> None:
    """Its models are none of OpenAI's, whatever their names are."""
    talk = opener(router, engine, sealer, worker, make_key)
    talk("responses")  # of a key, and so of an organisation
    own = CustomProvider(id="prov_1", org_id="org_1", name="lab", base_url="https://lab.example.com/v1", auth="none")
    own.models, own.created_at, own.created_by = [], datetime.now(UTC), "test"
    with Session(engine) as session:
        session.add(own)
        session.execute(update(Organization).values(policy_version=Organization.policy_version + 1))
        session.commit()
    said = talk("responses")
    assert said.says(type="response.create", model="lab/gpt-4o-mini", input="hello").forward is None
    assert said.says(type="response.create", model="openai/gpt-4o-mini", input="hello").forward is not None
