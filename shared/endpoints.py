"""The endpoints of the providers that are not metered: which cost nothing, and which cost what nobody can tell.

Data only; `shared.catalog` puts these rows behind the metered ones of the same provider. A row is a method and a path
below the provider's base URL. `{model}` is a model's name, `{id}` one opaque identifier, `...` at the end the rest of a
path, an empty one too. The narrowest row that fits counts. What fits none is unmetered as well. docs/metering.md says
the same with the reasons, and a test compares them.

The lists follow the resources of the official SDKs (openai 3, anthropic 2, google-genai 3). A POST is free only where
the provider's price list or reference says or implies it; in doubt it stands with the unmetered ones.
"""

import re
from collections.abc import Mapping

# GET and HEAD are safe by RFC 9110, section 9.2.1, and none of the three bills one. DELETE ends costs. What is left to
# the administration of an organisation there makes keys and budgets that we do not see, so it is no free call.
_READS = ("GET /...",)
_DELETES = ("DELETE /...",)

FREE: Mapping[str, tuple[str, ...]] = {
    "openai": (
        "GET /v1/models",
        "GET /v1/models/{model}",
        "DELETE /v1/models/{model}",
        "GET /v1/chat/completions",
        "POST /v1/chat/completions/{id}",
        "GET /v1/responses/{id}",
        "POST /v1/responses/{id}/cancel",
        "POST /v1/responses/input_tokens",
        "POST /v1/moderations",
        "POST /v1/files",
        "POST /v1/uploads",
        "POST /v1/uploads/{id}/...",
        "GET /v1/files/{id}/content",
        "GET /v1/batches",
        "GET /v1/batches/{id}",
        "POST /v1/batches/{id}/cancel",
        "POST /v1/conversations",
        "POST /v1/conversations/{id}",
        "POST /v1/conversations/{id}/items",
        "POST /v1/assistants",
        "POST /v1/assistants/{id}",
        "POST /v1/threads",
        "POST /v1/threads/{id}",
        "POST /v1/threads/{id}/messages",
        "POST /v1/threads/{id}/messages/{id}",
        "POST /v1/threads/{id}/runs/{id}",
        "POST /v1/threads/{id}/runs/{id}/cancel",
        "POST /v1/evals",
        "POST /v1/evals/{id}",
        "POST /v1/evals/{id}/runs/{id}",
        "POST /v1/evals/{id}/runs/{id}/cancel",
        "POST /v1/fine_tuning/alpha/graders/validate",
        "POST /v1/fine_tuning/jobs/{id}/cancel",
        "POST /v1/fine_tuning/jobs/{id}/pause",
        "POST /v1/vector_stores/{id}/file_batches/{id}/cancel",
        "POST /v1/realtime/calls/{id}/hangup",
        "POST /v1/realtime/calls/{id}/reject",
        *_READS,
        *_DELETES,
    ),
    "anthropic": (
        "GET /v1/models",
        "GET /v1/models/{model}",
        "POST /v1/messages/count_tokens",
        "GET /v1/messages/batches",
        "GET /v1/messages/batches/{id}",
        "POST /v1/messages/batches/{id}/cancel",
        "GET /v1/messages/batches/{id}/results",
        "POST /v1/files",
        *_READS,
        *_DELETES,
    ),
    "gemini": (
        "GET /{version}/models",
        "GET /{version}/models/{model}",
        "DELETE /{version}/models/{model}",
        "GET /{version}/openai/models",
        "GET /{version}/openai/models/{model}",
        "POST /{version}/models/{model}:countTokens",
        "GET /{version}/files",
        "GET /{version}/files/{id}",
        "POST /{version}/files",
        "POST /upload/{version}/files",
        "PUT /upload/{version}/files",
        "POST /{version}/fileSearchStores",
        "GET /{version}/batches",
        "GET /{version}/batches/{id}",
        "POST /{version}/batches/{id}:cancel",
        "GET /{version}/files/{id}:download",
        "GET /download/{version}/files/{id}:download",
        "GET /{version}/interactions/{id}",
        "POST /{version}/interactions/{id}/cancel",
        *_READS,
        *_DELETES,
    ),
}

UNMETERED: Mapping[str, tuple[str, ...]] = {
    "openai": (
        "POST /v1/audio/voices",
        "POST /v1/audio/voice_consents/...",
        "POST /v1/videos/...",
        "POST /v1/batches",
        "POST /v1/fine_tuning/...",
        "POST /v1/vector_stores/...",
        "POST /v1/containers/...",
        "POST /v1/threads/runs",
        "POST /v1/threads/{id}/runs",
        "POST /v1/threads/{id}/runs/{id}/submit_tool_outputs",
        "POST /v1/evals/{id}/runs",
        "POST /v1/realtime/...",
        "POST /v1/live/...",
        "POST /v1/chatkit/...",
        "POST /v1/agents/...",
        "POST /v1/skills/...",
        "POST /v1/decisions",
        "POST /v1/organization/...",
        "DELETE /v1/organization/...",
        "POST /v1/projects/...",
        "DELETE /v1/projects/...",
    ),
    "anthropic": (
        "POST /v1/messages/batches",
        "POST /v1/complete",
        "POST /v1/agents/...",
        "POST /v1/sessions/...",
        "POST /v1/deployments/...",
        "POST /v1/environments/...",
        "POST /v1/dreams/...",
        "POST /v1/memory_stores/...",
        "POST /v1/skills/...",
        "POST /v1/organizations/...",
        "DELETE /v1/organizations/...",
    ),
    "gemini": (
        "POST /{version}/models/{model}:batchGenerateContent",
        "POST /{version}/models/{model}:asyncBatchEmbedContent",
        "POST /{version}/cachedContents",
        "PATCH /{version}/cachedContents/...",
        "POST /{version}/fileSearchStores/...",
        "POST /upload/{version}/fileSearchStores/...",
        "POST /{version}/tunedModels/...",
        "POST /{version}/agents/...",
        "POST /{version}/environments/...",
        "POST /{version}/triggers/...",
        "POST /{version}/auth_tokens",
        "POST /{version}/decisions",
    ),
}

# The last words of paths that do something and keep nothing under their name: there is nothing to be read or deleted.
_CALLS = frozenset(
    {
        "moderations", "input_tokens", "count_tokens", "countTokens", "validate", "cancel", "pause", "hangup", "reject",
        "submit_tool_outputs", "batchGenerateContent", "asyncBatchEmbedContent", "complete",
    }
)  # fmt: skip


def is_call(path: str) -> bool:
    """Whether a row's path names something to be done, and not something that is kept."""
    return re.split("[/:]", path)[-1] in _CALLS


GEMINI_VERSIONS = ("v1beta", "v1", "v1alpha")


def rows_of(table: Mapping[str, tuple[str, ...]], slug: str) -> tuple[tuple[str, str], ...]:
    """Method and path of each row of a provider, in order, one for each version where it stands in several."""
    found: dict[tuple[str, str], None] = {}
    for version in GEMINI_VERSIONS:
        for row in table[slug]:
            method, _, path = row.replace("{version}", version).partition(" ")
            found[method, path] = None
    return tuple(found)
