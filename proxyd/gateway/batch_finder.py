"""Which batch a file of OpenAI's has the results of, when nobody has asked for that batch through us.

A list of files names them as well as the batch does. So while a batch that was begun here has no known file, whoever
fetches an unknown one makes us ask the provider for its latest batches, once for each file.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from proxyd.accounting.job_booker import JobBooker
from proxyd.accounting.provider_jobs import Job, ResultsFile
from proxyd.accounting.records import LedgerUnavailable
from proxyd.gateway.attempt import UpstreamAttempt
from proxyd.gateway.side_question import answer_to
from proxyd.messages import Header, Origin, Outgoing, UpstreamError
from proxyd.providers import later as reading
from proxyd.upstream.pool import UpstreamPool
from proxyd.wire.json_size import takes_long

SLUG = "openai"
QUESTION = "/v1/batches?limit=100"
SECONDS = 5.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
KEPT_FILES = 10_000


@dataclass(slots=True)
class BatchFinder:
    """Asks for one worker."""

    pool: UpstreamPool
    origins: Mapping[str, tuple[Origin, str]]  # provider slug -> where it listens, base path
    booker: JobBooker
    _none: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict, repr=False)  # no batch's, for ever

    def __call__(self, attempt: UpstreamAttempt, name: str) -> Job | None:
        """The job whose results come in the file of this name; None: it has nothing to do with any of ours.

        Raises LedgerUnavailable when nobody can tell.
        """
        org_id = attempt.admission.known.key.org_id
        if (org_id, name) in self._none or not self.booker.has_open_batches(org_id, SLUG):
            return None
        told = reading.told(SLUG, self._ask(attempt))
        if files := {one.name: ResultsFile(one.file, one.model) for one in told if one.file is not None}:
            self.booker.learn(org_id, SLUG, files)
        found = self.booker.find_by_results(org_id, SLUG, name)
        if found is None:
            if len(self._none) >= KEPT_FILES:
                self._none.popitem(last=False)
            self._none[org_id, name] = None
        return found

    def _ask(self, attempt: UpstreamAttempt) -> dict[str, object]:
        target, context = attempt.context.target, attempt.context
        origin, base = self.origins[SLUG]
        header_name, prefix = target.credential_header
        header: Header = (header_name, prefix + attempt.admission.credential.secret.encode())
        lines = context.head.lines_for(target.provider, context.request)
        question = Outgoing(origin, "GET", base + QUESTION, [header], b"", None, lines)
        try:
            answer = answer_to(self.pool, question, SECONDS, MAX_ANSWER_BYTES)
            document = None if takes_long(answer) else orjson.loads(answer)
        except (UpstreamError, orjson.JSONDecodeError) as error:
            raise LedgerUnavailable("the provider does not tell of its batches") from error
        if not isinstance(document, dict):
            raise LedgerUnavailable("the provider does not tell of its batches")
        return document
