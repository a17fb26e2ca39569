"""The edits of the accounting's state machine: of a key, of its limits for models, of what all keys may use."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from accounting_kit import Router, Worker
from accounting_oracle import MODEL, PROVIDER, Call, Oracle, Policy, today
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from shared.counters import CountersLost, CountersUnavailable
from shared.model_limits import ModelLimit, model_limits_of
from shared.models import ProxyKey
from shared.organization_limits import OrganizationLimits
from shared.policy import limits_for, matches_model
from webapp.actions.model_limits import from_now_on, lock_generation
from webapp.actions.model_sums import note_sums

KEYS = ("key_1", "key_2")
PATTERNS = ("gpt-4o", "gpt-*", "openai/*-mini", "claude-*")
AMOUNTS = st.integers(0, 1_200)
RESETS = ("daily", "monthly", "never")


def counting(limit: ModelLimit) -> Callable[[Call], bool]:
    """Whether a call counts against a limit."""
    return lambda call: matches_model(limit.model, PROVIDER, call.model)


def set_model_limits(engine: Engine, key: str, wanted: list[dict[str, Any]], version: int = 2) -> list[dict[str, Any]]:
    """As the dashboard does it; answers with them as they are stored."""
    with Session(engine) as session:
        noted = note_sums(session, key)  # type: ignore[arg-type] # a session as any other
    with Session(engine) as session, session.begin():
        generation = lock_generation(session)  # type: ignore[arg-type] # a session as any other
        row = session.get_one(ProxyKey, key, with_for_update=True)
        stored = row.model_limits = from_now_on(session, row, wanted, generation, noted)  # type: ignore[arg-type] # likewise
        session.flush()
        session.execute(text("update proxy_keys set version = :v where id = :k"), {"v": version, "k": key})
        session.execute(text("insert into policy_outbox (subject) values (:k)"), {"k": key})
    return stored or []


class Edits(RuleBasedStateMachine):
    """What may be decided while requests run. The rest of the machine makes and uses these."""

    engine: Engine
    router: Router
    oracle: Oracle
    newest: dict[str, Policy]  # as the database has them
    cached: dict[tuple[str, str], Policy]  # by worker and key
    workers: list[Worker]

    @rule(
        key=st.sampled_from(KEYS), limit=st.none() | AMOUNTS, rpm=st.none() | st.integers(0, 4),
        reset=st.sampled_from(RESETS), told=st.booleans(), dies=st.booleans(), most=st.sampled_from([None, None, 1, 2]),
        tpm=st.sampled_from([None, None, 600, 2_000]),
    )  # fmt: skip
    def edit(
        self, key: str, limit: int | None, rpm: int | None, reset: str, told: bool, dies: bool, most: int | None,
        tpm: int | None,
    ) -> None:  # fmt: skip
        """As the dashboard does it: commit, tell the counters, answer. One that could not tell is not answered."""
        version = self.newest[key].version + 1
        with self.engine.begin() as connection:
            connection.execute(
                text("update proxy_keys set version = :v, max_concurrent_requests = :m where id = :k"),
                {"v": version, "m": most, "k": key},
            )
            connection.execute(text("insert into policy_outbox (subject) values (:k)"), {"k": key})
        before = self.newest[key]
        self.newest[key] = replace(before, version=version, limit_nanos=limit, rpm=rpm, reset=reset, most=most, tpm=tpm)
        self.publish(key, {key: version}, {}, told=told, dies=dies)

    @rule(
        key=st.sampled_from(KEYS), limits=st.dictionaries(st.sampled_from(PATTERNS), AMOUNTS, max_size=3),
        reset=st.sampled_from(RESETS), told=st.booleans(), dies=st.booleans(),
    )  # fmt: skip
    def edit_models(self, key: str, limits: dict[str, int], reset: str, told: bool, dies: bool) -> None:
        """What may be spent on some models. A new limit wants new counters, in the edit's transaction."""
        version = self.newest[key].version + 1
        wanted = [
            {"model": pattern, "spend_limit_nanos": nanos, "spend_reset": reset} for pattern, nanos in limits.items()
        ]
        stored = set_model_limits(self.engine, key, wanted, version)
        self.newest[key] = replace(self.newest[key], version=version, models=model_limits_of(key, stored))
        self.publish(key, {key: version}, {}, told=told, dies=dies)

    @rule(
        limit=st.none() | AMOUNTS, rpm=st.none() | st.integers(1, 5), reset=st.sampled_from(RESETS),
        told=st.booleans(), dies=st.booleans(),
    )  # fmt: skip
    def edit_together(self, limit: int | None, rpm: int | None, reset: str, told: bool, dies: bool) -> None:
        """What all keys may use. A first limit wants new counters that keep a row of it, in the edit's transaction."""
        before = self.newest[KEYS[0]]
        version = before.org_version + 1
        limits = None if limit is None and rpm is None else OrganizationLimits(rpm, limit, reset)
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "update organizations set policy_version = :v, spend_limit_nanos = :l, rate_limit_rpm = :r,"
                    " spend_reset = :s where id = 'org_1'"
                ),
                {"v": version, "l": limit, "r": rpm, "s": reset},
            )
            connection.execute(text("insert into policy_outbox (subject) values ('org_1')"))
            if before.together is None and limits is not None:
                connection.execute(
                    text(
                        "update accounting_state set outdated = generation where not exists (select 1 from"
                        " organization_seeds where organization_seeds.generation = accounting_state.generation)"
                    )
                )
        for key in KEYS:
            self.newest[key] = replace(self.newest[key], org_version=version, together=limits)
        self.publish("org_1", {}, {"org_1": version}, told=told, dies=dies)

    def publish(self, subject: str, keys: dict[str, int], orgs: dict[str, int], *, told: bool, dies: bool) -> None:
        try:
            self.router.renew_observer()
            if dies:
                raise CountersLost("the dashboard died")
            self.router.observer.publish(self.router.database.generation(), keys, orgs)
        except CountersUnavailable:
            # Nobody was answered, so old snapshots may pass until the ledger writer has told.
            for worker in self.workers:
                for key in keys or KEYS:
                    self.cached[worker.id, key] = self.newest[key]
        else:
            if told:
                with self.engine.begin() as connection:
                    connection.execute(text("delete from policy_outbox where subject = :k"), {"k": subject})

    def agree_of_models(self, key: str) -> None:
        """The rows of its limits for models are what its calls of these models come to."""
        limits, oldest = self.newest[key].models, today(self.router.clock.wall_at) - 37
        rows = self.router.observer.rows([limit.row_id for limit in limits])
        for limit in limits_for(limits, PROVIDER, MODEL):
            assert rows[limit.row_id].seeded
        for limit in limits:
            row = rows.get(limit.row_id)
            if row is None or not row.seeded:
                continue  # nobody has asked for what counts against it
            assert limit.since <= self.router.database.generation()
            for at, days in enumerate((self.oracle.spent_by_day, self.oracle.held_by_day)):
                told = {day: entry[at] for day, entry in row.days.items() if entry[at] and day > oldest}
                expected = days(key, counting(limit))
                assert told == {day: nanos for day, nanos in expected.items() if day > oldest}, limit
            assert row.lifetime == sum(self.oracle.spent_by_day(key, counting(limit)).values())
