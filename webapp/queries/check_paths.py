"""The model of a request that might be made, where its path names it in Gemini's dialect."""

from shared.policy import Deny, Reason
from shared.translated import model_in_path
from webapp.validation import FieldError, Invalid


def told_by_path(model: str | None, path: str | None) -> tuple[str | None, str | None] | Deny:
    """Model and path by which its provider is found, as the proxy finds it. Raises Invalid for two models."""
    found = None if path is None else model_in_path(path)
    if found is None:
        return model, path
    if model not in (None, found.model):
        raise Invalid(FieldError("model", f"is not the one in the path, {found.model}"))
    if found.path is None:
        return Deny(Reason.UNKNOWN_ENDPOINT, {"detail": f"There is no endpoint at this address: {found.detail}"})
    return found.model, found.path
