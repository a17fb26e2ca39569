"""Anthropic's Message Batches.

Shapes: https://docs.anthropic.com/en/api/creating-message-batches and the types of the anthropic package.
"""

from proxyd.sandbox import anthropic, reading
from proxyd.sandbox.invoice import Attempt
from proxyd.sandbox.jobs import Done, Jobs, as_lines
from proxyd.sandbox.values import Bill, Document
from proxyd.sandbox.work import spoken

_WHEN = "2025-01-01T00:00:00Z"


def create(jobs: Jobs, document: Document, attempt: Attempt, host: str) -> Document:
    """Begin a batch; it is worked off at once. `host` is where this provider was reached."""
    asked = [(one.get("custom_id"), one.get("params") or {}) for one in reading.objects(document, "requests")]
    done = jobs.work_off(attempt, "/v1/messages", asked, _answered)
    name = f"msgbatch_{attempt.id}"
    good = sum(1 for one in done if one.refusal is None)
    jobs.store(name, as_lines([_line(one) for one in done]))
    begun: Document = {
        "id": name,
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": _counts(processing=len(done)),
        "created_at": _WHEN,
        "expires_at": _WHEN,
        "ended_at": None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": None,
    }
    jobs.batches[name] = {
        **begun,
        "processing_status": "ended",
        "request_counts": _counts(succeeded=good, errored=len(done) - good),
        "ended_at": _WHEN,
        "results_url": f"http://{host}/v1/messages/batches/{name}/results",
    }
    return begun


def _answered(body: Document, attempt: Attempt) -> tuple[Document, Bill]:
    telling, bill, _ = spoken("anthropic", anthropic.hear(body, None, ""), attempt)
    message = anthropic.whole(telling)
    message["usage"]["service_tier"] = "batch"
    return message, bill


def _counts(**counts: int) -> Document:
    return {**dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0), **counts}


def _line(done: Done) -> Document:
    if done.refusal is None:
        return {"custom_id": done.key, "result": {"type": "succeeded", "message": done.answer}}
    error = anthropic.error(done.refusal, f"req_{done.attempt_id}")
    return {"custom_id": done.key, "result": {"type": "errored", "error": error}}


def listed(jobs: Jobs) -> Document:
    """All batches."""
    data = [batch for name, batch in jobs.batches.items() if name.startswith("msgbatch_")]
    return {"data": data, "has_more": False, "first_id": None, "last_id": None}
