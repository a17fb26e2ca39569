"""OpenAI's files, batches and background responses.

Shapes: https://platform.openai.com/docs/api-reference (batch, files, responses) and the types of the openai package.
"""

from email import message_from_bytes

from proxyd.sandbox import openai, reading
from proxyd.sandbox.invoice import Attempt
from proxyd.sandbox.jobs import Done, Jobs, as_lines, lines_of
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.responses import RESPONSES
from proxyd.sandbox.values import Bill, Document, Operation, SandboxRequest
from proxyd.sandbox.work import prepared, spoken

_OPERATIONS: dict[str, Operation] = {"/v1/chat/completions": openai.CHAT, "/v1/responses": RESPONSES}


def upload(jobs: Jobs, ask: SandboxRequest, attempt: Attempt) -> Document:
    """Store a file that comes in a form."""
    head = f"content-type: {ask.headers.get('content-type', '')}\r\n\r\n".encode()
    form = {str(part.get_param("name", header="content-disposition")): part for part in _parts(head + ask.body)}
    if "file" not in form or "purpose" not in form:
        raise Refusal(400, "Missing required parameter: 'file' and 'purpose'.")
    content = form["file"].get_payload(decode=True)
    assert isinstance(content, bytes)  # noqa: S101 - of a part that is no form itself
    name = f"file-{attempt.id}"
    jobs.store(name, content)
    return {
        "id": name,
        "object": "file",
        "bytes": len(content),
        "created_at": int(attempt.at),
        "filename": form["file"].get_filename() or "file",
        "purpose": str(form["purpose"].get_payload()),
        "status": "processed",
    }


def _parts(message: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the email package's own, generic in itself
    parsed = message_from_bytes(message)
    return parsed.get_payload() if parsed.is_multipart() else []


def create(jobs: Jobs, document: Document, attempt: Attempt) -> Document:
    """Begin a batch; it is worked off at once."""
    endpoint = reading.string(document, "endpoint")
    asked = lines_of(jobs.stored(document.get("input_file_id")))

    def work(body: Document, line: Attempt) -> tuple[Document, Bill]:
        return _answered(endpoint, body, line)

    done = jobs.work_off(attempt, endpoint, [(one.get("custom_id"), one.get("body") or {}) for one in asked], work)
    name, output, errors = f"batch_{attempt.id}", f"file-out{attempt.id}", f"file-err{attempt.id}"
    good, bad = [one for one in done if one.refusal is None], [one for one in done if one.refusal is not None]
    jobs.store(output, as_lines([_line(one) for one in good]))
    jobs.store(errors, as_lines([_line(one) for one in bad]))
    begun: Document = {
        "id": name,
        "object": "batch",
        "endpoint": endpoint,
        "errors": None,
        "input_file_id": document["input_file_id"],
        "completion_window": document.get("completion_window", "24h"),
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": int(attempt.at),
        "metadata": document.get("metadata"),
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
    }
    jobs.batches[name] = {
        **begun,
        "status": "completed",
        "completed_at": int(attempt.at),
        "output_file_id": output if good else None,
        "error_file_id": errors if bad else None,
        "request_counts": {"total": len(done), "completed": len(good), "failed": len(bad)},
    }
    return begun


def _answered(endpoint: str, body: Document, attempt: Attempt) -> tuple[Document, Bill]:
    operation = _OPERATIONS.get(endpoint)
    if operation is not None:
        telling, bill, _ = spoken("openai", operation.hear(body, None, ""), attempt)
        return operation.whole(telling), bill
    if endpoint != "/v1/embeddings":
        raise Refusal(400, f"Batches have no endpoint {endpoint[:80]}.", param="endpoint")
    inputs = openai.embedding_inputs(body)
    model, _ = prepared("openai", reading.string(body, "model"), "", attempt)
    attempt.marker = str(inputs[0])[:80]
    return openai.embeddings(body, model, usage=True), Bill(model, openai.input_tokens(inputs), 0)


def _line(done: Done) -> Document:
    refusal = done.refusal
    body = done.answer if refusal is None else openai.error(refusal)
    status = 200 if refusal is None else refusal.status
    response = {"status_code": status, "request_id": f"req_{done.attempt_id}", "body": body}
    return {"id": f"batch_req_{done.attempt_id}", "custom_id": done.key, "response": response, "error": None}


def listed(jobs: Jobs) -> Document:
    """All batches."""
    data = [batch for name, batch in jobs.batches.items() if name.startswith("batch_")]
    return {"object": "list", "data": data, "has_more": False}
