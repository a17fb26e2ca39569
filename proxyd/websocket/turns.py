"""The turns of one session: each is admitted like a request, and ends like one."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from proxyd.accounting.accounting import Accounting
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.context import Admission, RequestContext
from proxyd.gateway.masking import masked
from proxyd.gateway.metered_attempt import MeteredAttempt
from proxyd.gateway.rejection import Rejection
from proxyd.gateway.session_admission import SessionAdmission
from proxyd.known_key import KnownKey
from proxyd.providers import Parsed
from proxyd.providers.accumulator import UsageAccumulator
from shared.pricing import Usage


class Turn(MeteredAttempt):
    """What a client asks for once, or what the provider begins by itself, up to the figures that tell its cost."""

    sent: bool = False  # something of it has reached the provider

    def begun(self, provider_id: object = None) -> None:
        """The provider has begun to answer; from here on it costs something."""
        self.sent, self.status = True, 200
        if isinstance(provider_id, str):
            self.provider_request_id = masked(provider_id.encode(), self.admission.secrets).decode()[:128]

    def note(self) -> None:
        """Leave a note of what it has cost so far: nothing, until it began."""
        nanos = self._cost(self.meter.delivered()).nanos if self.meter is not None and self.sent else 0
        self.accounting.note_progress(self.context.seq, nanos)

    def finish(self, outcome: str) -> None:
        """Settle it, or take it back when it never began."""
        if self.sent:
            self.end(outcome)
        else:
            self.void()


@dataclass(frozen=True, slots=True)
class Told:
    """A usage that was told whole."""

    figures: Usage | None
    failed: bool = False
    wrote: bool = False

    def usage(self) -> Usage | None:
        return self.figures

    def delivered(self) -> Usage:
        return self.figures or Usage({}, unmetered=True)


@dataclass(frozen=True, slots=True)
class Turns:
    """Admits those of one session, whose handshake `session` was. Its key is judged as it stands then."""

    accounting: Accounting
    admission: AdmissionController
    sessions: SessionAdmission
    session: RequestContext
    opened: Admission  # of that handshake
    # What is in use of which nobody can bound the cost, or the tokens, as `refuses` takes it.
    standing: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_restricted(self) -> bool:
        """Whether its key may use some models only, or spend no more than so much on them."""
        key = self.session.key
        return key is not None and bool(key.allowed_models or key.model_limits)

    def is_open_to(self, known: KnownKey) -> bool:
        """Whether the credential that the session was opened with is still one of those that are used."""
        credentials = known.credentials.get(self.session.target.provider.slug)
        return credentials is not None and credentials.has(self.opened.credential)

    def current(self) -> KnownKey | Rejection:
        """The key as it stands now, by the checks that need no more than the handshake."""
        known = self.admission.check_key(self.session)
        return known if isinstance(known, Rejection) else self.admission.revalidate(known, self.session)

    def refuses(self, model: str | None, what: str) -> Rejection | None:
        """The refusal of something whose cost, or tokens, nobody can bound; None on keys without such a limit."""
        known = self.admission.check_key(self.session)
        if isinstance(known, Rejection):
            return known
        return self.sessions.judge(known, self._context(model, None), None, what, what)

    def stand(self, used: Sequence[tuple[str, str]]) -> Rejection | None:
        """What a session goes on using, of which model each is, and the refusal of it. It is judged again later."""
        self.standing[:] = used
        return next(filter(None, (self.refuses(model, what) for model, what in used)), None)

    def renew(self, known: KnownKey) -> Rejection | None:
        """Go by the key as it stands now; the refusal of something in use that it may not use any more."""
        self.session.key = known.key
        for model, what in self.standing:
            refused = self.sessions.judge(known, self._context(model, None), None, what, what)
            if refused is not None:
                return refused
        return None

    def admit(
        self, parsed: Parsed, model: str, meter: UsageAccumulator, *, new_model: str | None = None
    ) -> Turn | Rejection:
        """Admit one. Its money is held and its BEGIN is written when there is a `Turn`."""
        context = self._context(model, parsed)
        context.new_model = new_model
        known = self.admission.check_key(context)
        if isinstance(known, Rejection):
            return known
        admission = self.admission.admit(known, context)
        self.session.key = context.key
        if isinstance(admission, Rejection):
            return admission
        # It goes over the connection that there is, and its row tells by whose credential, as any other does.
        opened = self.opened
        admission = replace(
            admission, credential=opened.credential, secrets=opened.secrets, tried=(), several=opened.several
        )
        turn = Turn(self.accounting, context, admission)
        turn.meter = meter
        return turn

    def post(self, parsed: Parsed, model: str, usage: Usage | None) -> None:
        """Write down what is billed beside the turns that were admitted, once it is told."""
        context = self._context(model, parsed)
        if self.sessions.begin_told(context, self.opened) is None:
            turn = Turn(self.accounting, context, replace(self.opened, bound_nanos=None, tried=()))
            turn.meter = Told(usage)
            turn.begun()
            turn.end("ok")

    def _context(self, model: str | None, parsed: Parsed | None) -> RequestContext:
        session = self.session
        seq, number = self.accounting.new_id()
        context = RequestContext(
            session.request, seq, f"req_{number}", session.head, session.client_ip, session.dialect, time.monotonic()
        )
        context.digest, context.key, context.target = session.digest, session.key, session.target
        context.model, context.parsed = model, parsed
        context.credential = self.opened.credential
        return context
