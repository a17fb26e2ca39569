"""What is billed later: jobs are noted when they begin, and booked when somebody asks what they came to.

A background response or a batch costs nothing that anybody could tell when it begins (its row is flagged `unmetered`;
keys with a spend limit are refused). What it did cost is told by a later request, of whichever key: it is charged to
the key that began it, at the prices and on the day of then, each result once.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import gevent
import orjson
from msgspec import Struct

from proxyd.accounting.job_booker import JobBooker
from proxyd.accounting.ledger_rows import Line
from proxyd.accounting.provider_jobs import Job, ResultsFile
from proxyd.accounting.records import Attempt, LedgerUnavailable, Settlement
from proxyd.bodies.parser import BodyParser, ParserBusy
from proxyd.credentials import ProviderCredentials
from proxyd.gateway import later_relay, relay
from proxyd.gateway.attempt import UpstreamAttempt
from proxyd.gateway.batch_finder import SLUG, BatchFinder
from proxyd.gateway.context import Admission, RequestContext
from proxyd.gateway.headers import ResponseHeaders
from proxyd.gateway.masking import blanked, without_coding
from proxyd.gateway.upload_links import UploadLinks
from proxyd.messages import BadRequest, Header, Response, UpstreamBroken
from proxyd.providers import BadBody
from proxyd.providers import later_answers as reading
from proxyd.providers.later import Result, of_batch
from proxyd.providers.later_answers import Reading, Work
from proxyd.wire.json_size import takes_long
from shared import pricing
from shared.later_endpoints import Later, Role, later_role
from shared.pricing import PriceBook

log = logging.getLogger(__name__)

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024  # of an answer that is read whole; batches with their results in it have 20 MB
FLAG = "booked_later"
PAUSE_BYTES = 1024 * 1024  # of lines that are read before others have their turn
_PARTIAL = 206
_LINK = re.compile(rb'"https?:(?:[^"\\]++|\\.)*+"', re.DOTALL | re.IGNORECASE)
Found = TypeVar("Found")


class LaterBilling(Struct, frozen=True):
    """Notes jobs and books their results, for one worker."""

    booker: JobBooker
    links: UploadLinks
    finder: BatchFinder
    parser: BodyParser

    def deferred(self, attempt: UpstreamAttempt, name: str) -> None:
        """An answer is made in the background, and has this name."""
        context = attempt.context
        path = None if context.target.endpoint is None else context.target.endpoint.path
        self.booker.register(_job(attempt, name, path, context.model, batch=False))

    def follow(self, context: RequestContext, admission: Admission, several: ProviderCredentials) -> None:
        """Let the credential with which a job was begun ask for it, as long as that one is used.

        Others may be of an account that knows nothing of it; then its results would be booked by nobody.
        """
        target = context.target
        slug = target.provider.slug
        found = later_role(slug, context.request.method, target.path)
        if found is None or not found.name:
            return
        try:
            job = admission.job = self._job_named(admission.known.key.org_id, slug, found)
        except LedgerUnavailable:
            return  # what it is answered cannot be booked either, and is not handed over
        credential = None if job is None or job.credential_id is None else several.of_id(job.credential_id)
        if credential is not None:
            admission.credential, admission.secrets = credential, credential.secrets

    def relayed(
        self, attempt: UpstreamAttempt, answer: ResponseHeaders, status: int, returned: list[Header], base: str
    ) -> Response | None:
        """The answer to a request that begins a job or tells of one; None: this is none, or of a job that is not ours.

        `base` is the path before all of the provider's own. Raises LedgerUnavailable, RequestError and UpstreamError;
        the attempt has ended then.
        """
        target, method = attempt.context.target, attempt.context.request.method
        found = later_role(target.provider.slug, method, target.path)
        if found is None:
            return None
        if found.role in (Role.BEGINS, Role.TELLS, Role.LINKS):
            data = relay.document(attempt, answer.coding, MAX_DOCUMENT_BYTES)
            try:
                data = self._documented(attempt, found.role, data, base)
            finally:
                attempt.end("ok")
            return Response(status, without_coding(returned), blanked(data, attempt.admission.secrets))
        try:
            job = self._job_of(attempt, found)
        except LedgerUnavailable:
            attempt.end("ok")
            raise
        if job is None:
            return None
        if status == _PARTIAL:
            attempt.end("ok")
            raise BadRequest("Results are booked as they are fetched, so a Range of them cannot be given")
        results = self._results(attempt, job)
        if found.role is not Role.ANSWER:
            return Response(status, returned, later_relay.lines(attempt, answer.coding, results.take_lines))
        if answer.events or relay.brings_events(attempt, answer.coding):
            return Response(status, returned, later_relay.events(attempt, answer.coding, results.take_events))
        data = relay.document(attempt, answer.coding, MAX_DOCUMENT_BYTES)
        try:
            results.take_answer(data)
        finally:
            attempt.end("ok")
        return Response(status, without_coding(returned), blanked(data, attempt.admission.secrets))

    def _job_of(self, attempt: UpstreamAttempt, found: Later) -> Job | None:
        if attempt.admission.job is not None:
            return attempt.admission.job
        org_id, slug = attempt.admission.known.key.org_id, attempt.context.target.provider.slug
        job = self._job_named(org_id, slug, found)
        unknown = job is None and found.role is Role.FILE and slug == SLUG
        return self.finder(attempt, found.name) if unknown else job

    def _job_named(self, org_id: str, slug: str, found: Later) -> Job | None:
        by_file = found.role is Role.FILE
        return (self.booker.find_by_results if by_file else self.booker.find)(org_id, slug, found.name)

    def _documented(self, attempt: UpstreamAttempt, role: Role, data: bytes, base: str) -> bytes:
        """Learn what an answer tells of jobs; links in it to their results lead through us."""
        target = attempt.context.target
        org_id, slug = attempt.admission.known.key.org_id, target.provider.slug
        begun_at = (target.path, target.path_model) if role is Role.BEGINS else None
        look = self._look(attempt)
        if role is Role.LINKS:
            begun, told, with_results = look(reading.telling_links, data=data)
        else:
            begun, told, with_results = look(reading.telling, slug, begun_at, data=data)
        if begun is not None:
            model = begun.model or attempt.context.model
            self.booker.register(_job(attempt, begun.name, begun.works_as, model, batch=True))
        if files := {one.name: ResultsFile(one.file, one.model) for one in told if one.file is not None}:
            self.booker.learn(org_id, slug, files)
        jobs = {
            name: self._results(attempt, job) for name in with_results if (job := self.booker.find(org_id, slug, name))
        }
        if jobs:
            found = look(reading.results, slug, {name: results.work for name, results in jobs.items()}, data=data)
            for first in range(0, len(found), later_relay.LINES_AT_ONCE):
                some = found[first : first + later_relay.LINES_AT_ONCE]
                self.booker.book([jobs[name].line(result) for name, result in some])
        links: dict[bytes, bytes] = {}
        for one in told:
            if one.link is not None:
                written = orjson.dumps(one.link)
                led_here = orjson.dumps(self.links.led_here(one.link, attempt.context.request, base, f"/{slug}"))
                links[written] = links[written.replace(b"/", rb"\/")] = led_here
        return _LINK.sub(lambda found: links.get(found[0], found[0]), data) if links else data

    def _results(self, attempt: UpstreamAttempt, job: Job) -> "_Results":
        work = Work(job.provider, job.works_as, job.model)
        return _Results(self.booker, job, attempt.admission.known.prices, self._look(attempt), work)

    def _look(self, attempt: UpstreamAttempt) -> "_Look":
        return _Look(self.parser, attempt.admission.known.key.id)


class _Look(Struct):
    """Reads answers, those of many values beside the worker."""

    parser: BodyParser
    key_id: str

    def __call__(self, read: Callable[..., Found], *arguments: object, data: bytes) -> Found:
        """What `read` finds. Raises LedgerUnavailable, and UpstreamBroken for what cannot be looked into."""
        try:
            if not takes_long(data):
                return read(*arguments, data)
            found: Found = self.parser.look(self.key_id, Reading(read, arguments), data)
        except ParserBusy as error:
            raise LedgerUnavailable(str(error)) from None
        except BadBody as error:
            raise UpstreamBroken(f"Its answer cannot be booked: {error.message}", sent=True) from None
        return found


class _Results(Struct):
    """The results of one job, as they pass by."""

    booker: JobBooker
    job: Job
    book: PriceBook | None
    look: _Look
    work: Work
    number: int = 0  # of the next line

    def take_lines(self, lines: list[bytes]) -> None:
        found = []
        size = 0
        for line in lines:
            found.append(self.look(reading.result_of_line, self.work, self.number, data=line))
            self.number += 1
            size += len(line)
            if size > PAUSE_BYTES:
                size = 0
                gevent.sleep(0)
        self._book(found)

    def take_events(self, events: list[bytes]) -> None:
        for event in events:
            # Of all the events of an answer only the last one has its figures.
            if b'"usage"' in event:
                self._book([self.look(reading.result_of_event, self.work, data=event)])

    def take_answer(self, data: bytes) -> None:
        self._book([self.look(reading.result_of_answer, self.work, data=data)])

    def _book(self, results: Sequence[Result | None]) -> None:
        found = [self.line(result) for result in results if result is not None]
        if found:
            self.booker.book(found)

    def line(self, result: Result) -> Line:
        """What is booked of one."""
        job = self.job
        usage = of_batch(result.usage) if job.batch else result.usage
        asked_model = job.model or usage.model
        if asked_model is None and "output_image_tokens" in usage.counts:
            cost = pricing.cost_of_pictures(job.provider, usage, at=job.admitted_at, book=self.book)
        else:
            cost = pricing.cost(job.provider, asked_model, usage, at=job.admitted_at, book=self.book)
        attempt = Attempt(
            id=_id(job, result.id),
            org_id=job.org_id,
            key_id=job.key_id,
            provider=job.provider,
            endpoint=job.endpoint,
            requested_model=asked_model,
            streamed=False,
            bound_nanos=cost.nanos,  # which is what it is charged if this process dies right here
            held_nanos=0,
            day=job.day,
            second=-1,
            admitted_at=job.admitted_at,
            client_ip=job.client_ip,
            label=job.label,
        )
        settlement = Settlement(
            status=200,
            outcome="ok",
            flags=(FLAG, *cost.flags),
            usage=usage.total(),
            served_model=usage.model,
            service_tier=usage.service_tier,
            price=None if cost.price is None else cost.price.json,
            cost_nanos=cost.nanos,
            duration_ms=0,
            provider_request_id=job.name[:128],
        )
        return attempt, settlement


def _job(attempt: UpstreamAttempt, name: str, works_as: str | None, model: str | None, *, batch: bool) -> Job:
    context, admission = attempt.context, attempt.admission
    key, endpoint = admission.known.key, context.target.endpoint
    return Job(
        key.org_id,
        context.target.provider.slug,
        name,
        key.id,
        "unlisted" if endpoint is None else endpoint.path,
        works_as,
        model,
        batch,
        admission.charged.day,
        admission.admitted_at,
        context.head.client_ip_text,
        context.head.label,
        admission.credential.id,
    )


def _id(job: Job, result_id: str) -> str:
    """The id of a result's row: the same for whoever fetches it, and as often as it is."""
    said = orjson.dumps((job.org_id, job.provider, job.name, result_id))
    return f"job_{hashlib.sha256(said).hexdigest()[:48]}"
