"""How much of a list is read for one page or count of it, however many keys there are. On both databases."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from flask import Flask
from key_lists_kit import NONE_ARE_FEW, NOW, WAYS, expected, make_keys, query, walk
from plans_kit import plans_of

from shared.models import Refusal
from webapp.bootstrap import BootstrapReport
from webapp.db import db, writing
from webapp.queries import key_candidates, key_pages
from webapp.queries.key_pages import count_up_to, find_page

Made = tuple[Flask, BootstrapReport]


def test_a_walk_reads_little_more_than_it_needs(app: Flask, org_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = make_keys(app, org_id, 600)
    monkeypatch.setattr(key_candidates, "FEW", NONE_ARE_FEW)
    sizes: list[int] = []
    take = key_pages.Part.take

    def noted(part: key_pages.Part, size: int) -> tuple[Sequence[Any], key_pages.Part | None]:
        sizes.append(size)
        return take(part, size)

    monkeypatch.setattr(key_pages.Part, "take", noted)
    with app.app_context():
        for wanted in ("status=paused", "expiring=true", "provider=openai"):
            found = find_page(org_id, query(f"{wanted}&sort=name&limit=40"), NOW).rows
            assert len(found) == 41
            needed = 1 + expected(facts, query("sort=name")).index(found[-1][0].id)
            assert sum(sizes) <= max(4 * 41, 2 * needed), (wanted, sizes, needed)
            sizes.clear()
        assert find_page(org_id, query("q=no+such+name&limit=10"), NOW).rows == []
        assert len(sizes) > 3
        assert all(size <= max(4 * 11, sum(sizes[:number])) for number, size in enumerate(sizes)), sizes


def test_more_than_anybody_counts_are_not_come_upon_one_by_one(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an index has enough of them, nothing is walked through and nothing is sorted."""
    app, report = made
    make_keys(app, report.org_id, 120)
    monkeypatch.setattr(key_candidates, "FEW", 3)
    with app.app_context():
        for wanted in ("status=paused,expired", "has_limit=false", "created_by=a@example.com"):
            counted, plans = plans_of(partial(count_up_to, report.org_id, query(wanted), NOW, 4), "ORDER BY")
            assert (counted, plans) == (4, []), wanted


def test_of_very_many_refusals_few_are_read(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """To tell one key's from another's a database would read all of a day first, and then say that they are many."""
    app, report = made
    make_keys(app, report.org_id, 120)
    monkeypatch.setattr(key_candidates, "FEW", 3)
    with app.app_context():
        for wanted in ("refused=true", "attention=true"):
            known = list(key_candidates.narrowings(report.org_id, query(wanted), NOW))
            few, plans = plans_of(partial(key_candidates.few_of, known[:1]), "refusals")
            assert few is None
            assert plans or wanted == "attention=true"  # which may have had too many before
            for piece in known[0].pieces:
                _, plans = plans_of(partial(db.session.execute, piece), "refusals")
                every = ("TEMP B-TREE", "HashAggregate", "Unique", "Sort")
                assert not [plan for plan in plans if any(word in plan for word in every)], plans


def test_a_key_with_several_refusals_is_one_key(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    app, report = made
    keys = make_keys(app, report.org_id, 120)
    told = {
        "count": 1,
        "status": 403,
        "sentence": "No.",
        "request_id": "req_2",
        "org_id": report.org_id,
        "last_at": NOW,
    }
    with app.app_context(), writing() as session:
        session.add_all(
            Refusal(key_id=fact.key["id"], reason=reason, **told)
            for fact in keys
            if fact.refused
            for reason in ("ip_blocked", "provider_not_allowed")
        )
    wanted = expected(keys, query("refused=true"))
    assert len(wanted) > 1
    with app.app_context():
        for few, scanned in (*WAYS, (len(wanted), 20_000)):
            monkeypatch.setattr(key_candidates, "FEW", few)
            monkeypatch.setattr(key_pages, "SCANNED", scanned)
            assert walk(report.org_id, "refused=true", 7) == wanted
            if scanned > 9:
                assert count_up_to(report.org_id, query("refused=true"), NOW, 1_001) == len(wanted)
