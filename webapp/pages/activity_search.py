"""What the address of the Requests page asks for, and the address of what is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import urlencode

from shared.policy import Reason
from webapp.pages.log_search import SIZES, Choice, period_choice, range_of, said_by, size_choice
from webapp.schemas.activity import FAILED, OUTCOMES, RefusedFilter, SentFilter
from webapp.security import current_actor
from webapp.validation import read
from webapp.views.custom_providers import provider_labels
from webapp.views.refusal_help import HELP
from webapp.views.request_words import OUTCOMES as OUTCOME_WORDS

Tab = Literal["sent", "refused"]
PATHS: Mapping[Tab, str] = {"sent": "/requests", "refused": "/requests/refused"}
_TEXTS = ("q", "key", "id", "model", "label", "from", "to", "cursor")
_OF_BOTH = ("q", "key", "model", "from", "to", "period")
_STATUSES = (
    ("", "Any status"),
    ("2xx", "Status 200 to 299"),
    ("4xx", "Status 400 to 499"),
    ("429", "Status 429"),
    ("5xx", "Status 500 to 599"),
    ("none", "No answer given"),
)


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for of one of the two lists: parameters with a value, by name."""

    tab: Tab
    said: Mapping[str, str]

    @classmethod
    def from_request(cls, tab: Tab) -> "Search":
        return cls(tab, said_by(_TEXTS, _choices(tab, {})))

    def __getitem__(self, name: str) -> str:
        return self.said.get(name, "")

    @property
    def narrowed(self) -> bool:
        """Whether something is left out."""
        return bool(self.said.keys() - {"limit", "cursor"})

    @property
    def unfolded(self) -> bool:
        """Whether one of the rarer filters is in use."""
        return bool(self.said.keys() & {"from", "to", "model", "label", "status", "limit"})

    def choices(self) -> tuple[Choice, ...]:
        """The usual ones first."""
        return _choices(self.tab, self.said)

    def href(self, tab: Tab | None = None, **changes: str | None) -> str:
        """The address of this search with something changed; None takes it out. The place in the list is not kept."""
        said = {**self.said, "cursor": None, **changes}
        if tab not in (None, self.tab):
            said = {name: said.get(name) for name in _OF_BOTH}
        path = PATHS[tab or self.tab]
        query = urlencode({name: value for name, value in said.items() if value})
        return f"{path}?{query}" if query else path

    def news_href(self, seen: str) -> str:
        """Where to ask whether this list begins otherwise by now."""
        return f"/requests/news?{urlencode({**self.said, 'tab': self.tab, 'seen': seen})}"

    def sent(self, key_id: str | None, at: datetime, **more: str) -> SentFilter:
        """Raises Invalid."""
        return read(SentFilter, {**self._document(key_id, at, ("provider", "outcome", "status", "label")), **more})

    def refused(self, key_id: str | None, at: datetime) -> RefusedFilter:
        """Raises Invalid."""
        return read(RefusedFilter, self._document(key_id, at, ("reason",)))

    def _document(self, key_id: str | None, at: datetime, own: Sequence[str]) -> dict[str, str]:
        said = {name: self[name] for name in (*own, "model", "cursor") if self[name]}
        said["limit"] = self["limit"] or SIZES[0]
        if key_id is not None:
            said["key"] = key_id
        return said | range_of(self.said, at)


def _choices(tab: Tab, said: Mapping[str, str]) -> tuple[Choice, ...]:
    def choice(name: str, label: str, *choices: tuple[str, str]) -> Choice:
        return Choice(name, label, choices, said.get(name, ""))

    if tab == "refused":
        titles = sorted(((reason.value, HELP[reason].title) for reason in Reason), key=lambda pair: pair[1])
        return (choice("reason", "Reason", ("", "Any reason"), *titles), period_choice(said), size_choice(said))
    providers = provider_labels(current_actor().org_id).items()
    outcomes = [(name, OUTCOME_WORDS[name]) for name in OUTCOMES]
    return (
        choice("provider", "Provider", ("", "Any provider"), *providers),
        choice("outcome", "Result", ("", "Any result"), (FAILED, "All that failed"), *outcomes),
        period_choice(said),
        choice("status", "Status given", *_STATUSES),
        size_choice(said),
    )
