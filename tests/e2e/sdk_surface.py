"""The official SDKs' whole resource trees as requests: every public method is called with made-up arguments.

What a method would send is taken down where the SDK hands it to its HTTP client, so nothing of the SDK is imitated.
"""

import inspect
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anthropic
import anthropic._resource
import httpx2
import openai
import openai._resource
from google import genai

KEY = "sk-placeholder"
MODEL = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-6", "gemini": "gemini-2.5-flash"}


@dataclass(frozen=True)
class Sent:
    """One request as the SDK sends it; `path` with its query, as it stands behind the host."""

    method: str
    path: str
    headers: dict[str, str] = field(compare=False, hash=False)
    body: bytes = field(compare=False, hash=False)


class Recorder:
    """Takes down each request and refuses it, so that no method goes on."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.client = httpx2.Client(transport=httpx2.MockTransport(self._take))

    def _take(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode()
        self.sent.append(Sent(request.method, path, dict(request.headers), request.read()))
        return httpx2.Response(400, json={"error": {"code": 400, "message": "taken down", "status": "NONE"}})


Surface = tuple[dict[str, list[Sent]], set[str]]


def openai_tree(base: str) -> Surface:
    recorder = Recorder()
    client = openai.OpenAI(
        base_url=base, api_key=KEY, admin_api_key=KEY, max_retries=0, http_client=recorder.client, webhook_secret="w"
    )
    return _called(_methods(client, openai._resource.SyncAPIResource), recorder, MODEL["openai"])


def anthropic_tree(base: str) -> Surface:
    recorder = Recorder()
    client = anthropic.Anthropic(base_url=base, api_key=KEY, max_retries=0, http_client=recorder.client)
    return _called(_methods(client, anthropic._resource.SyncAPIResource), recorder, MODEL["anthropic"])


def gemini_tree(base: str) -> Surface:
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of the resources are experimental
        options = genai.types.HttpOptions(base_url=base, httpx_client=recorder.client)
        client = genai.Client(api_key=KEY, http_options=options)
        methods = list(_gemini_methods("", client, 0))
    return _called(iter(methods), recorder, MODEL["gemini"], _GEMINI_ARGUMENTS)


_INTERNAL = frozenset({"aio", "close", "do_request", "dynamic_import", "parent_ref"})


def _gemini_methods(prefix: str, parent: object, depth: int) -> Iterator["Method"]:
    for name in dir(type(parent)):
        if name.startswith("_") or name in _INTERNAL:
            continue
        value = getattr(parent, name)
        if inspect.ismethod(value):
            yield prefix + name, value
        elif type(value).__module__.startswith("google.genai") and depth < 2:
            yield from _gemini_methods(f"{prefix}{name}.", value, depth + 1)


Method = tuple[str, Callable[..., Any]]


def _methods(client: object, resource: type) -> Iterator[Method]:
    """Every public method of every resource below a client, by its dotted name."""
    waiting: list[tuple[str, object]] = [("", client)]
    while waiting:
        prefix, parent = waiting.pop()
        for name in dir(type(parent)):
            if name.startswith(("_", "with_")):
                continue
            value = getattr(parent, name)
            if isinstance(value, resource):
                waiting.append((f"{prefix}{name}.", value))
            elif isinstance(parent, resource) and inspect.ismethod(value):
                yield prefix + name, value


def _called(
    methods: Iterator[Method], recorder: Recorder, model: str, known: Mapping[str, dict[str, Any]] | None = None
) -> Surface:
    """What each method sent, and the names of those that sent nothing."""
    found: dict[str, list[Sent]] = {}
    for name, method in methods:
        recorder.sent.clear()
        for arguments in _tries(method, model):
            _call(method, arguments | (known or {}).get(name, {}), name)
            if recorder.sent:
                break
        found[name] = list(recorder.sent)
    return found, {name for name, sent in found.items() if not sent}


def _call(method: Callable[..., Any], arguments: dict[str, Any], name: str) -> None:
    """Call it, with more arguments when it turns out to require them."""
    resource = name.partition(".")[0]
    if "name" in arguments and arguments["name"] == "x_name" and resource in _GEMINI_NAMES:
        arguments["name"] = f"{_GEMINI_NAMES[resource]}/x"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            try:
                result = method(**arguments)
                if hasattr(result, "__enter__"):
                    result.__enter__()
                elif inspect.isgenerator(result):
                    next(result)
            except TypeError as error:
                missing = re.search(r"missing \d+ required .* arguments?: (.*)", str(error))
                if missing is None:
                    return
                arguments.update({word: f"x_{word}" for word in re.findall(r"'(\w+)'", missing[1])})
            except Exception:  # noqa: BLE001 - made-up arguments; what counts is whether it came to send something
                return
            else:
                return


# How Gemini's resources are called, where a method looks at the name it is given.
_GEMINI_NAMES = {
    "batches": "batches",
    "caches": "cachedContents",
    "file_search_stores": "fileSearchStores",
    "files": "files",
    "tunings": "tunedModels",
}
# What Gemini's SDK takes where it looks closely at its arguments before it sends anything.
_GEMINI_ARGUMENTS: dict[str, dict[str, Any]] = {
    "batches.create": {"src": "files/x"},
    "batches.create_embeddings": {"src": {"file_name": "files/x"}},
    "files.download": {"file": "files/x"},
    "files.upload": {"file": io.BytesIO(b"x"), "config": {"mime_type": "text/plain"}},
    "file_search_stores.download_media": {"media_id": "fileSearchStores/x/media/y"},
    "file_search_stores.import_file": {"file_search_store_name": "fileSearchStores/x", "file_name": "files/x"},
    "file_search_stores.upload_to_file_search_store": {
        "file_search_store_name": "fileSearchStores/x",
        "file": io.BytesIO(b"x"),
        "config": {"mime_type": "text/plain"},
    },
    "interactions.create": {"model": MODEL["gemini"], "input": "hello"},
    "operations.get": {
        "operation": genai.types.GenerateVideosOperation.model_validate({"name": "models/x/operations/y"})
    },
    "triggers.create": {"interaction": {"agent": "x", "input": "x"}, "schedule": "0 0 * * *", "time_zone": "UTC"},
    "tunings.tune": {"base_model": "models/x", "training_dataset": {"examples": []}},
    "webhooks.create": {"subscribed_events": [], "uri": "https://example.test"},
}


def _tries(method: Callable[..., Any], model: str) -> Iterator[dict[str, Any]]:
    """Arguments for a method: only those it requires, with one sort of made-up files or another; then all it takes."""
    parameters = list(inspect.signature(method).parameters.values())
    for whole in (False, True):
        for file in (("a.wav", b"RIFF"), [("a.wav", b"RIFF")], io.BytesIO(b"RIFF")):
            yield {
                p.name: _made_up(p, model, file)
                for p in parameters
                if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
                and (
                    p.default is p.empty
                    or p.name == "model"
                    or (whole and not p.name.startswith("extra_") and p.name != "timeout")
                )
            }


_FILES = frozenset({"file", "files", "image", "video", "audio_sample", "recording", "archive"})


def _made_up(parameter: inspect.Parameter, model: str, file: object) -> object:
    name, kind = parameter.name, str(parameter.annotation)
    if name == "model":
        return model
    if name in _FILES or "FileTypes" in kind:
        return file
    if name == "messages":
        return [{"role": "user", "content": "hello"}]
    if name in ("stream", "background") or kind.startswith("bool"):
        return False
    if kind.startswith("int") or name in ("max_tokens", "n", "best_of", "partial_images", "frame_count", "speed"):
        return 1
    if any(word in kind for word in ("Sequence", "List[", "Iterable[", "list[")):
        return ["x"] if "str" in kind else [{}]
    if "Dict[" in kind or "Param" in kind:
        return {}
    return f"x_{name}"
