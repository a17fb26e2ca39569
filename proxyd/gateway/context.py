"""One request on its way through the gateway: what its stations learn of it, and what its admission brought."""

from collections.abc import Callable
from typing import cast

from msgspec import Struct

from proxyd.accounting.provider_jobs import Job
from proxyd.accounting.records import Attempt, Try
from proxyd.bodies.memory import Claim
from proxyd.credentials import Credential, ProviderCredentials
from proxyd.gateway.destinations import Target
from proxyd.gateway.head import HeadInfo
from proxyd.gateway.payload import NO_PAYLOAD, Payload
from proxyd.gateway.rejection import Rejection
from proxyd.known_key import KnownKey
from proxyd.messages import Request
from proxyd.providers import Parsed
from proxyd.providers.kept_names import LOOKED_AT_BYTES, is_of_an_account, names_kept
from shared.catalog import Kind, bare_model
from shared.counters import Admitted
from shared.later_endpoints import later_role
from shared.policy import Address, KeySnapshot

MAX_MODEL_CHARACTERS = 255  # of a name in the ledger
MAX_ENDPOINT_CHARACTERS = 64  # likewise; the path of Gemini Live has more
NOWHERE_YET = cast("Target", None)  # until the body was read, or need not be; nobody asks before


class RequestContext(Struct, eq=False):
    """A request, and what is known of it so far."""

    request: Request
    seq: int  # the number of its attempt in the journal
    id: str  # of the request and its attempt, as the client is told it
    head: HeadInfo
    client_ip: Address | None  # None: cannot be told
    dialect: str  # in which its caller expects errors
    started: float  # monotonic
    digest: str = ""  # of the proxy key, once it was found
    key: KeySnapshot | None = None  # as it was looked up last
    target: Target = NOWHERE_YET
    model: str | None = None  # bare, from the body or the path; None: neither names one that we can read
    parsed: Parsed | None = None  # None: it is not metered, and `payload` goes on as it comes
    payload: Payload = NO_PAYLOAD
    new_model: str | None = None  # to be written into the body, in unified mode
    shows_usage: bool = True  # in a stream that is translated: the client asked for it
    free: bool = False  # costs nothing at the provider
    claim: Claim | None = None  # on memory, for a large body
    credential: Credential | None = None  # of the connection that it goes over, when there is one already
    # Finds anew who serves its model, by a later snapshot: a provider of that name may have been added. None: by none.
    reroute: Callable[[KnownKey], Rejection | None] | None = None

    def lead_to(self, target: Target, model: str | None) -> None:
        """It is known where the request goes, and for which model."""
        self.target = target
        self.model = None if model is None else bare_model(target.provider.slug, model)
        if target.translation is None:
            self.dialect = target.dialect  # else the caller's, which it has by now
        self.free = target.endpoint is not None and target.endpoint.kind is Kind.FREE

    def let_go(self) -> None:
        """Its body is not needed any more."""
        if self.claim is not None:
            self.claim.release()


class Admission(Struct):
    """Yes: charged and begun, and what the request must be sent with."""

    known: KnownKey
    credential: Credential  # with which it is sent, or was last
    charged: Admitted
    bound_nanos: int | None  # None: the model has no known price
    output_limit: int | None  # set by us, because the client set none and the model's maximum is too dear
    admitted_at: float  # Unix seconds, by which prices and the period are chosen
    secrets: tuple[bytes, ...]  # of all credentials with which it was sent, the longest first
    several: ProviderCredentials | None = None  # None: there is no other credential
    tried: tuple[tuple[Credential, Try], ...] = ()  # those before `credential`
    job: Job | None = None  # that it asks for, where that was looked up before it was sent

    def __repr__(self) -> str:
        return f"Admission({self.charged!r}, bound_nanos={self.bound_nanos!r})"  # the secrets are for nobody to read

    @property
    def tried_credentials(self) -> list[Credential]:
        return [credential for credential, _ in self.tried]

    def all_tries(self) -> tuple[Try, ...] | None:
        """For the record of the request; None where there was no choice."""
        if self.several is None:
            return None
        return (*(one for _, one in self.tried), Try(self.credential.label, self.credential.last4, None))


def refers_to_an_account(context: RequestContext) -> bool:
    """Whether it matters with which credential a request is sent, because of what a provider keeps for an account.

    Another credential may be of another one, which knows nothing of a file, a batch, a cache or an earlier answer.
    """
    parsed, endpoint = context.parsed, context.target.endpoint
    if parsed is None:  # not metered, or a session, of which those of Realtime alone have nothing to go back to
        return endpoint is None or endpoint.kind is not Kind.REALTIME
    if is_of_an_account(context.model):
        return True
    return names_kept(parsed, LOOKED_AT_BYTES) if parsed.spans is None else parsed.names_kept


def credential_for(context: RequestContext, credentials: ProviderCredentials) -> Credential:
    """With which of several a request begins."""
    if context.credential is not None:
        return context.credential
    target, model = context.target, context.model
    if context.parsed is None:
        found = later_role(target.provider.slug, context.request.method, target.path)
        if found is not None and found.name:
            return credentials.first(model)  # until it is known who began the job; see `LaterBilling.follow`
    return credentials.choose(in_order=refers_to_an_account(context), model=model)


def attempt_of(
    context: RequestContext,
    key: KeySnapshot,
    bound_nanos: int | None,
    held_nanos: int,
    now: float,
    admitted: Admitted,
    held_tokens: int = 0,
) -> Attempt:
    endpoint, model, parsed = context.target.endpoint, context.model, context.parsed
    return Attempt(  # by position, which costs half as much as by name
        context.id,
        key.org_id,
        key.id,
        context.target.provider.slug,
        "unlisted" if endpoint is None else endpoint.path[:MAX_ENDPOINT_CHARACTERS],
        None if model is None else model[:MAX_MODEL_CHARACTERS],
        parsed is not None and parsed.stream,
        0 if context.free else bound_nanos or 0,
        held_nanos,
        admitted.day,
        admitted.second,
        now,
        context.head.client_ip_text,
        context.head.trace_parent,
        context.head.label,
        held_tokens,
    )
