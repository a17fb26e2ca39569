"""Translation between the providers' dialects: for a client that speaks one, and a model whose provider speaks another.

Pure functions over frozen values. A reader makes a `Conversation` of a caller's body, a writer makes the provider's
body of it; the answer comes back through a reader and a writer of its own, whole or piece by piece. What a provider
cannot be asked for is refused by the name of its field, and nothing is dropped in silence; docs/translation.md says
what that is.

Which way a request takes stands in `shared.translated`. To translate one more, add a row there; to add a dialect, its
readers and writers in the tables of `translation.py`.
"""

from proxyd.translation.exact_json import exact
from proxyd.translation.translation import Answering, Translation

__all__ = ["Answering", "Translation", "exact"]
