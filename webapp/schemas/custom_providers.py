"""Providers of an organisation's own: what may be set of one."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from shared import custom_providers as own
from webapp.schemas import Output, Stored
from webapp.schemas.values import Moment, each_once, one_of, reachable, read_flag, read_list, refuse_secret

MOST_MODELS = 200
_LONGEST_MODEL = 200
_MODEL = re.compile(r"[A-Za-z0-9._:@/*?+-]+")


def _text(raw: object) -> str:
    text = raw.strip() if isinstance(raw, str) else ""
    if not text:
        raise ValueError("must be text")
    refuse_secret(text)
    return text


def _name(raw: object) -> str:
    return own.read_name(_text(raw))


def _base_url(raw: object) -> str:
    return own.read_base_url(_text(raw))


def _api_version(raw: object) -> str:
    return own.read_api_version(_text(raw))


def _model(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("must be a list of texts")  # noqa: TRY004 - wrong input
    text = raw.strip()
    refuse_secret(text)
    if not 0 < len(text) <= _LONGEST_MODEL or _MODEL.fullmatch(text) is None:
        raise ValueError("must have names of models: letters, digits and . _ : @ / + - with * and ? only")
    return text


def _models(raw: object) -> list[Any]:
    return read_list(raw, MOST_MODELS, "texts")


_Name = Annotated[
    str,
    BeforeValidator(_name),
    Field(min_length=2, max_length=own.NAME_LENGTH, pattern=r"^[a-z][a-z0-9-]*[a-z0-9]$", examples=["groq"]),
]
_BaseUrl = Annotated[
    str,
    BeforeValidator(_base_url),
    AfterValidator(reachable("ROUTER_PROVIDERS_PRIVATE_ADDRESSES", own.host_of)),
    Field(min_length=1, max_length=own.URL_LENGTH, examples=["https://api.groq.com/openai/v1"]),
]
_Auth = Annotated[str, BeforeValidator(one_of(*own.AUTHS)), Field(json_schema_extra={"enum": list(own.AUTHS)})]
_ApiVersion = Annotated[
    str, BeforeValidator(_api_version), Field(min_length=1, max_length=own.VERSION_LENGTH, examples=["2024-10-21"])
]
_Models = Annotated[
    list[Annotated[str, BeforeValidator(_model), Field(min_length=1, max_length=_LONGEST_MODEL)]],
    BeforeValidator(_models),
    AfterValidator(each_once),
    Field(max_length=MOST_MODELS, examples=[["llama-3.3-70b-versatile", "qwen/*"]]),
]
_Flag = Annotated[bool, BeforeValidator(read_flag)]

_BASE_URL = "As an SDK of OpenAI takes it, version and all. `{model}` may stand for one segment of its path."
_AUTH = "How its credential goes: `Authorization: Bearer`, the header `api-key` (Azure's), or not at all."
_API_VERSION = "Goes as `api-version` into the query of each request. Null: none."
_MODELS = "Names and globs of the models that it has. Empty: any."
_STREAM_OPTIONS = "False for a server that refuses this field: then streams are not asked for their usage."
_ENABLED = "False: requests for it are refused."


class NewCustom(Stored):
    """A server that speaks OpenAI's dialect, under a name of the organisation's choosing."""

    provider: _Name = Field(description="Its name: before its models, in paths, in lists of keys. It is never edited.")
    base_url: _BaseUrl = Field(description=_BASE_URL)
    auth: _Auth = Field(default=own.BEARER, description=_AUTH)
    api_version: _ApiVersion | None = Field(default=None, description=_API_VERSION)
    models: _Models = Field(default_factory=list, description=_MODELS)
    stream_options: _Flag = Field(default=True, description=_STREAM_OPTIONS)
    enabled: _Flag = Field(default=True, description=_ENABLED)


class CustomPatch(Stored):
    """What is to change of a provider of the organisation's own; what is not named stays."""

    base_url: _BaseUrl = Field(default="", description=_BASE_URL)
    auth: _Auth = Field(default=own.BEARER, description=_AUTH)
    api_version: _ApiVersion | None = Field(default=None, description=_API_VERSION)
    models: _Models = Field(default_factory=list, description=_MODELS)
    stream_options: _Flag = Field(default=True, description=_STREAM_OPTIONS)
    enabled: _Flag = Field(default=True, description=_ENABLED)


class Custom(Output):
    """What was set of a provider of the organisation's own."""

    auth: str = Field(description=_AUTH, json_schema_extra={"enum": list(own.AUTHS)})
    api_version: str | None = Field(description=_API_VERSION)
    models: list[str] = Field(description=_MODELS)
    stream_options: bool = Field(description=_STREAM_OPTIONS)
    enabled: bool = Field(description=_ENABLED)
    created_at: Moment
    created_by: str
