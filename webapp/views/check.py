"""What a dry run of a request tells."""

from dataclasses import dataclass
from typing import Any

from shared import money
from shared.policy import ERRORS, Deny
from shared.secret_text import masked


@dataclass(frozen=True, slots=True)
class CheckView:
    """What would become of it. Where its key is refused for itself, nothing else was looked at."""

    deny: Deny | None = None
    provider: str | None = None
    model: str | None = None
    endpoint: str | None = None
    needed_nanos: int | None = None  # what it can cost at most; None: nobody can tell
    output_limit: int | None = None  # that the router would set

    def as_json(self) -> dict[str, Any]:
        deny = self.deny
        refusal = None
        if deny is not None:
            spec = ERRORS[deny.reason]
            refusal = {
                "code": deny.reason.value,
                "status": spec.status,
                "retry": deny.retry,
                "message": deny.sentence(),
                "facts": dict(deny.fields),
            }
        told = {
            "allowed": deny is None,
            "provider": self.provider,
            "model": self.model,
            "endpoint": self.endpoint,
            "needed_usd": None if self.needed_nanos is None else money.to_usd(self.needed_nanos),
            "max_tokens": self.output_limit,
            "refusal": refusal,
        }
        return {name: _without_secrets(value) for name, value in told.items()}


def _without_secrets(value: Any) -> Any:
    """Somebody may have pasted a secret for a model or a path."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {name: _without_secrets(part) for name, part in value.items()}
    return [_without_secrets(part) for part in value] if isinstance(value, list | tuple) else value
