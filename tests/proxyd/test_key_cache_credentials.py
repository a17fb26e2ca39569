"""What a worker loads of an organisation's credentials."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from proxyd.credentials import CredentialHealth
from proxyd.key_cache import KeyCache
from shared.keys import NewKey
from shared.models import CredentialRefusal, ProviderCredential
from shared.sealing import Sealer

MakeKey = Callable[..., tuple[str, NewKey]]
AT = 1000.0


def test_it_works(engine: Engine, sealer: Sealer, make_key: MakeKey) -> None:
    """All that are switched on, in their order, with what was heard of them."""
    health = CredentialHealth(now=lambda: AT)
    cache = KeyCache(engine, sealer, lambda function, *arguments: function(*arguments), health=health, now=lambda: AT)
    _, secret = make_key()
    heard = datetime.fromtimestamp(AT, UTC)
    with Session(engine) as session:
        (first,) = session.scalars(select(ProviderCredential)).all()
        first.priority = 9
        for name, enabled, since in [("off", False, 0), ("old", True, 60), ("new", True, 0)]:
            row = ProviderCredential(
                id=f"cred_{name}", org_id="org_1", provider="openai", sealed=sealer.seal(f"sk-{name}"), last4=name[-4:],
                created_at=heard, created_by="test", label=name, enabled=enabled,
            )  # fmt: skip
            session.add(row)
            session.flush()
            # What was said to the secret before it was replaced is no news of this one.
            set_at = heard - timedelta(seconds=since)
            session.add(CredentialRefusal(credential_id=row.id, set_at=set_at, at=heard, status=401, words=""))
        session.commit()
    known = cache.find(secret.digest)
    assert known is not None
    several = known.credentials["openai"]
    assert several.choose(in_order=True).secret == "sk-old"
    assert [(one.id, model) for one, model in health.resting] == [("cred_new", None)]
    follower = several.following([several.choose(in_order=True)], None)
    assert follower is not None
    assert follower.secret == "sk-real"
