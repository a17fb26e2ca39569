"""What belongs to another organisation, put straight into the database."""

from datetime import UTC, datetime

from harness import Json, Router
from sqlalchemy.orm import Session

from shared import db, ids, keys
from shared.models import KeySecret, Organization, ProxyKey


def foreign_key(router: Router, name: str) -> Json:
    """A key which nobody of the router's own organisation may see."""
    now, secret = datetime.now(UTC), keys.mint(keys.PROXY_TAG)
    org = Organization(id=ids.new_id("org"), name="Others", created_at=now)
    key = ProxyKey(
        id=ids.new_id("key"), org_id=org.id, name=name, prefix=secret.prefix, created_at=now, created_by="them"
    )
    key.secrets.append(KeySecret(digest=secret.digest, created_at=now))
    engine = db.create(router.settings.database_url)
    with Session(engine) as session:
        session.add(org)
        session.flush()
        session.add(key)
        session.commit()
        found = {"id": key.id, "name": name, "key": secret.raw}
    engine.dispose()
    return found
