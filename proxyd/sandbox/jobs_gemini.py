"""Gemini's files and batches, of generated content and of embeddings.

Shapes: https://ai.google.dev/api/batch-api, https://ai.google.dev/api/files and the types of the google-genai package.
"""

from typing import Any

from proxyd.sandbox import gemini, reading
from proxyd.sandbox.invoice import Attempt
from proxyd.sandbox.jobs import Done, Jobs, as_lines, lines_of
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.values import Answer, Bill, Document, SandboxRequest
from proxyd.sandbox.work import prepared, spoken

_WHEN = "2025-01-01T00:00:00Z"


def upload(jobs: Jobs, ask: SandboxRequest, attempt: Attempt) -> Answer:
    """Either step of an upload: where to send the file, then the file."""
    if ask.headers.get("x-goog-upload-command") == "start":
        link = f"http://{ask.headers.get('host', '')}{ask.path}?upload_id={attempt.id}"
        return Answer(200, b"{}", headers={"x-goog-upload-url": link, "x-goog-upload-status": "active"})
    name = f"files/{attempt.id}"
    jobs.store(name, ask.body)
    told = {"file": {"name": name, "uri": f"https://sandbox.invalid/{name}", "sizeBytes": str(len(ask.body))}}
    return Answer(200, reading.dumped(told), headers={"x-goog-upload-status": "final"})


def create(jobs: Jobs, document: Document, attempt: Attempt, model: str, method: str) -> Document:
    """Begin a batch; it is worked off at once."""
    batch = document.get("batch")
    given = batch.get("inputConfig", batch.get("input_config")) if isinstance(batch, dict) else None
    if not isinstance(given, dict):
        raise Refusal(400, "batch.inputConfig: a required field is not set.")
    file = given.get("fileName", given.get("file_name"))
    embeds = method == "asyncBatchEmbedContent"
    asked = _requests(jobs, given, file)

    def work(body: Document, line: Attempt) -> tuple[Document, Bill]:
        return _embedded(body, line, model) if embeds else _answered(body, line, model)

    path = f"/v1beta/models/{model}:{'embedContent' if embeds else 'generateContent'}"
    done = jobs.work_off(attempt, path, asked, work)
    name = f"batches/{attempt.id}"
    about = {"@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"}
    metadata: Document = {**about, "model": f"models/{model}", "name": name, "createTime": _WHEN}
    if file is None:
        field = "inlinedEmbedContentResponses" if embeds else "inlinedResponses"
        output: Document = {field: {"inlinedResponses": [_inlined(one) for one in done]}}
    else:
        jobs.store(f"files/batch-{attempt.id}", as_lines([{"key": one.key, **_outcome(one)} for one in done]))
        output = {"responsesFile": f"files/batch-{attempt.id}"}
    jobs.batches[name] = {
        "name": name,
        "metadata": {**metadata, "state": "BATCH_STATE_SUCCEEDED", "endTime": _WHEN, "output": output},
        "done": True,
        "response": {**about, **output},
    }
    return {"name": name, "metadata": {**metadata, "state": "BATCH_STATE_PENDING"}}


def _requests(jobs: Jobs, given: Document, file: object) -> list[tuple[Any, Document]]:
    if file is not None:
        return [(line.get("key"), line.get("request") or {}) for line in lines_of(jobs.stored(file))]
    held = given.get("requests")
    asked = reading.objects(held if isinstance(held, dict) else {}, "requests")
    return [(one.get("metadata"), one.get("request") or {}) for one in asked]


def _answered(body: Document, attempt: Attempt, model: str) -> tuple[Document, Bill]:
    telling, bill, _ = spoken("gemini", gemini.hear(body, model, ""), attempt)
    return gemini.GENERATE.whole(telling), bill


def _embedded(body: Document, attempt: Attempt, asked_model: str) -> tuple[Document, Bill]:
    model, _ = prepared("gemini", asked_model, "", attempt)
    content = body.get("content")
    attempt.marker = reading.text_of(content.get("parts") if isinstance(content, dict) else "")[:80]
    count = gemini.embedding_tokens([body])
    told = gemini.embeddings([body], batch=False, usage=False)
    return {**told, "tokenCount": str(count)}, Bill(model, count, 0)


def _outcome(done: Done) -> Document:
    if done.refusal is None:
        return {"response": done.answer}
    return {"error": {"code": 3, "message": done.refusal.message}}


def _inlined(done: Done) -> Document:
    return _outcome(done) if done.key is None else {**_outcome(done), "metadata": done.key}


def listed(jobs: Jobs) -> Document:
    """All batches."""
    return {"operations": [batch for name, batch in jobs.batches.items() if name.startswith("batches/")]}
