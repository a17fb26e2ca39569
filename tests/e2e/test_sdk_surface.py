"""Every method of the official SDKs reaches its provider on the bare base address just as below the provider's name."""

import json
from collections.abc import Callable

import pytest
from harness import Router
from raw_http import Heard, Line, ScriptedProvider, dial, reply, request
from sdk_surface import KEY, MODEL, Sent, Surface, anthropic_tree, gemini_tree, openai_tree

# Methods that send nothing over HTTP, or nothing with made-up arguments.
WEBSOCKETS = {
    "responses.connect", "beta.responses.connect", "realtime.connect", "realtime.translations.connect",
    "beta.realtime.connect", "live.connect", "live.forks.connect", "live.sideband.connect",
}  # fmt: skip
LOCAL = {
    "openai": {
        "webhooks.unwrap", "webhooks.verify_signature", *WEBSOCKETS,
        # These are made of other methods, which are called here.
        "responses.stream", "uploads.upload_file_chunked", "beta.agents.sessions.artifacts.for_result",
        "beta.agents.environments.files.prepare", "beta.agents.environments.files.prepare_directory",
        "beta.agents.environments.files.upload",
    },
    "anthropic": {
        "beta.webhooks.parse_unverified", "beta.webhooks.unwrap", "beta.messages.thread", "beta.messages.tool_runner",
    },
    "gemini": {
        "chats.create",
        # Only for Google's other platform, says the SDK.
        "models.compute_tokens", "models.edit_image", "models.generate_images", "models.generate_videos",
        "models.recontext_image", "models.segment_image", "models.upscale_image", "tunings.list", "tunings.validate_reward",
        # They want the credentials of a Google account, or look too closely at what they are given.
        "files.register_files", "credentials.create", "credentials.update", "decisions.create", "voices.create",
    },
}  # fmt: skip
NOT_REPEATED = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
OURS = ("x-request-id", "request-id")


def raw(sent: Sent, path: str, key: str) -> bytes:
    """The request with a key of the router's, to `path`."""
    fields = [
        f"{name}: {value.replace(KEY, key)}".encode()
        for name, value in sent.headers.items()
        if name.lower() not in NOT_REPEATED
    ]
    if sent.body or sent.method in ("POST", "PUT", "PATCH"):
        fields.append(b"Content-Length: %d" % len(sent.body))
    return request(f"{sent.method} {path}".encode(), *fields, body=sent.body)


def heard_by(provider: ScriptedProvider, line: Line, data: bytes) -> Heard | None:
    """What the provider hears of a request; None when the router answers it by itself."""
    provider.heard.clear()
    line.send(data)
    answer = line.answer()
    assert answer.status == 200, (data[:300], answer)
    return provider.heard[0] if provider.heard else None


@pytest.mark.parametrize(
    ("slug", "tree", "least"),
    [("openai", openai_tree, 350), ("anthropic", anthropic_tree, 250), ("gemini", gemini_tree, 60)],
)
def test_it_works(
    stage: Router, provider: ScriptedProvider, slug: str, tree: Callable[[str], Surface], least: int
) -> None:
    found, silent = tree(f"{stage.proxy_url}/v1" if slug == "openai" else stage.proxy_url)
    assert silent <= LOCAL[slug]
    everything = {sent for several in found.values() for sent in several}
    assert len(everything) >= least
    _, key = stage.create_key(name="surface")
    provider.play(lambda line, _: line.sock.sendall(reply(200, b"{}")))
    answered = set()
    with dial(stage) as line:
        for sent in everything:
            bare = heard_by(provider, line, raw(sent, sent.path, key))
            own = heard_by(provider, line, raw(sent, f"/{slug}{sent.path}", key))
            assert own is not None
            assert own.first == f"{sent.method} {sent.path} HTTP/1.1"
            if bare is None:
                answered.add(f"{sent.method} {sent.path}")
                continue
            assert (bare.first, bare.headers, bare.body) == (own.first, own.headers, own.body)
            assert key.encode() not in json.dumps([bare.first, bare.headers]).encode() + bare.body
    assert answered <= {"GET /v1/models", f"GET /v1/models/{MODEL[slug]}"}
