"""What is refused of a provider of the organisation's own: the same for the proxy and for who asks it beforehand."""

from collections.abc import Sequence

from shared.custom_providers import has_model, path_of_base
from shared.policy import Deny, Reason


def refusal_of(name: str, base: str, models: Sequence[str], model: str | None, *, enabled: bool) -> Deny | None:
    """Why a request for one of its models is not sent; `base` is the path of its base URL."""
    if not enabled:
        return Deny(Reason.PROVIDER_DISABLED, {"provider": name})
    if model is not None and not has_model(models, model):
        return _invalid(
            name, f"the provider {name} has no model {model} here; an administrator can add it to its models."
        )
    if path_of_base(base, model) is None:
        return _invalid(name, f"{name} has its models in its addresses, where this name cannot stand.")
    return None


def _invalid(name: str, detail: str) -> Deny:
    return Deny(Reason.INVALID_REQUEST, {"detail": detail, "param": "model", "provider": name})
