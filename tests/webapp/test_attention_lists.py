"""Badge, list and number say the same of a key: who is told to look at it finds it, and finds why."""

import pytest
from flask import Flask
from key_lists_kit import NOW, make_keys, query
from sqlalchemy import update

from shared.models import ProxyKey
from webapp.db import writing
from webapp.queries.attention import judge_keys
from webapp.queries.key_counts import ASKED, count_keys_to_look_at
from webapp.queries.key_pages import find_page
from webapp.views.attention import State
from webapp.views.keys import KeyView, views_of

TOLD = {State.REFUSED, State.EXPIRES_SOON, State.NEAR_LIMIT, State.OVER_LIMIT}


@pytest.fixture
def _many(app: Flask, org_id: str) -> None:
    """Half of them without a limit, which most others have used up."""
    make_keys(app, org_id, 190)
    with app.app_context(), writing() as session:
        session.execute(update(ProxyKey).values(rate_limit_rpm=5))
        session.execute(update(ProxyKey).where(ProxyKey.created_by == "a@example.com").values(spend_limit_nanos=None))


def listed(org_id: str, asked: str) -> tuple[KeyView, ...]:
    rows = find_page(org_id, query(f"{asked}&limit=200"), NOW).rows
    return views_of([row[0] for row in rows], NOW)


@pytest.mark.usefixtures("_many")
@pytest.mark.usefixtures("served")
def test_it_works(app: Flask, org_id: str) -> None:
    """Every key whose badge asks for a look is listed, and each that is listed for a refusal says which."""
    with app.app_context():
        active = listed(org_id, "status=active")
        judged = judge_keys(active, NOW)
        wanted = {key for key, one in judged.items() if one.state in TOLD or one.refusal is not None}
        found = {key.id for key in listed(org_id, "attention=true")}
        assert {judged[key].state for key in wanted} >= {State.REFUSED, State.BLOCKED, State.EXPIRES_SOON}
        assert wanted <= found
        for key in listed(org_id, "refused=true"):
            one = judged[key.id]
            assert one.refusal is not None or one.state != State.ACTIVE or "has been changed since" in one.why


@pytest.mark.usefixtures("_many")
def test_a_number_is_that_of_its_list(app: Flask, org_id: str) -> None:
    with app.app_context():
        numbers = count_keys_to_look_at(org_id, NOW).numbers
        for look, asked in ASKED.items():
            found = listed(org_id, "&".join(f"{name}={value}" for name, value in asked.items()))
            assert numbers[look] == len(found) > 0, look
            assert {key.status for key in found} == {"active"}
