"""Management tokens: what may be set of one."""

from webapp.schemas import Input
from webapp.schemas.values import Name, Scopes


class NewToken(Input):
    """A management token to be made."""

    name: Name
    scopes: Scopes
