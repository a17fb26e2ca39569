"""Names of providers and patterns of models, as keys, prices and filters have them.

An organisation has providers of its own beside the built-in ones: their names are the context's `providers`.
"""

import re
from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from shared.catalog import PROVIDERS, spelled_provider
from shared.custom_providers import NAME_LENGTH, may_be_name
from shared.secret_text import shown
from webapp.schemas.values import LIST, each_once, refuse_secret

_LONGEST_ENTRY = 200
IN_PATTERNS = re.compile(r"[A-Za-z0-9._:@/*?-]+")


def read_pattern(raw: object, own: Collection[str] = ()) -> str:
    """A glob of model names, perhaps with a provider before it, as somebody wrote it."""
    if not isinstance(raw, str):
        raise ValueError("must be a list of texts")  # noqa: TRY004 - wrong input
    glob = raw.strip()
    if not glob:
        raise ValueError("must not contain an empty pattern; leave the list empty to allow all models")
    refuse_secret(glob)
    if len(glob) > _LONGEST_ENTRY:
        raise ValueError(f"{shown(glob)}... is longer than {_LONGEST_ENTRY} characters")
    if not IN_PATTERNS.fullmatch(glob):
        raise ValueError(f"{shown(glob)} is not a model pattern: letters, digits and . _ : @ - / with * and ? only")
    _check_provider_of(glob, own)
    return glob


def _check_provider_of(glob: str, own: Collection[str]) -> None:
    """A pattern with a slash is `provider/model`; anything else before the slash could never match."""
    before, slash, model = glob.partition("/")
    if not slash or (("*" in before or "?" in before) and model):
        return
    if model and before in own:
        return  # whose models may have slashes in their names
    if not model or "/" in model:
        raise ValueError(f"{shown(glob)} is not a model pattern; write provider/model, such as anthropic/claude-*")
    if spelled_provider(before) is None:
        known = ", ".join((*PROVIDERS, *own))
        raise ValueError(f"{shown(glob)} names the unknown provider {shown(before)}; choose from {known}")


def _own(info: ValidationInfo) -> Collection[str]:
    """The names of the organisation's own providers: the context's `providers`."""
    found: Collection[str] = (info.context or {}).get("providers", ())
    return found


def _pattern(raw: object, info: ValidationInfo) -> str:
    return read_pattern(raw, _own(info))


def read_provider(raw: object, info: ValidationInfo) -> str:
    """A built-in provider, or one of the organisation's own."""
    known = (*PROVIDERS, *_own(info))
    if not isinstance(raw, str) or raw not in known:
        told = f"{shown(raw)} is not a provider" if isinstance(raw, str) else "must be a list of texts"
        raise ValueError(f"{told}; choose from {', '.join(known)}")
    return raw


def read_any_provider(raw: object) -> str:
    """A provider that there is, or that there may have been: rows tell of those that were removed too."""
    if not isinstance(raw, str) or (raw not in PROVIDERS and not may_be_name(raw)):
        raise ValueError(f"must be the name of a provider, such as {', '.join(PROVIDERS)}")
    return raw


def _built_in_first(names: list[str]) -> list[str]:
    return [name for name in PROVIDERS if name in names] + sorted({name for name in names if name not in PROVIDERS})


_PROVIDER = Field(min_length=2, max_length=NAME_LENGTH, pattern=r"^[a-z][a-z0-9-]*[a-z0-9]$", examples=list(PROVIDERS))
Provider = Annotated[str, BeforeValidator(read_provider), _PROVIDER]
AnyProvider = Annotated[str, BeforeValidator(read_any_provider), _PROVIDER]
Providers = Annotated[list[Provider], *LIST, AfterValidator(_built_in_first)]
ModelPattern = Annotated[str, BeforeValidator(_pattern), Field(min_length=1, max_length=_LONGEST_ENTRY)]
ModelPatterns = Annotated[list[ModelPattern], *LIST, AfterValidator(each_once)]
