"""What is refused of a provider of the organisation's own: the same for the proxy and for who asks it beforehand."""

from collections.abc import Sequence

from shared.custom_providers import has_model, path_there
from shared.policy import Allow, Deny, Reason

_UNPRICED = (Reason.MODEL_NOT_PRICED, Reason.ENDPOINT_NOT_METERED)


def refusal_of(
    name: str, base: str, path: str, models: Sequence[str], model: str | None, *, enabled: bool
) -> Deny | None:
    """Why a request for `path`, or for one of its models, is not sent; `base` is the path of its base URL."""
    if not enabled:
        return Deny(Reason.PROVIDER_DISABLED, {"provider": name})
    if model is not None and not has_model(models, model):
        return _invalid(
            name, f"the provider {name} has no model {model} here; an administrator can add it to its models."
        )
    if path_there(base, path, model) is None:
        why = "and this request names none" if model is None else "where this name cannot stand"
        return _invalid(name, f"{name} has its models in its addresses, {why}.")
    return None


def removed(name: str, *, in_path: bool) -> Deny:
    """What is told of one that was removed, to whoever names it before a model or at the beginning of a path."""
    detail = f"the provider {name} was removed; an administrator can tell what took its place."
    if in_path:
        return Deny(Reason.UNKNOWN_ENDPOINT, {"detail": f"T{detail[1:]}", "provider": name})
    return _invalid(name, detail)


def no_endpoint(name: str, tail: str) -> Deny:
    """What is told of a model of its where none of its endpoints is; `tail` is the path without version."""
    return Deny(Reason.UNKNOWN_ENDPOINT, {"detail": f"{name} has no {tail} that the router knows.", "provider": name})


def told_first(verdict: Allow | Deny, unsent: Deny | None) -> Deny | None:
    """Which of two refusals is told: by the rules of the key, and why the provider would be sent nothing.

    What the key may not use comes before; that a price is missing is no news of one that would serve nobody.
    """
    if isinstance(verdict, Deny) and (unsent is None or verdict.reason not in _UNPRICED):
        return verdict
    return unsent


def _invalid(name: str, detail: str) -> Deny:
    return Deny(Reason.INVALID_REQUEST, {"detail": detail, "param": "model", "provider": name})
