"""Reading of request bodies that the dialects have in common: typed fields, text and its tokens."""

from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import orjson

from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.speech import PART_TOKENS, tokens
from proxyd.sandbox.values import Document

MAX_CHOICES = 128


def parse(body: bytes) -> Document:
    """The body as a JSON object."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(document, dict):
        raise Refusal(400, "The body of your request must be a JSON object.")
    return document


def parse_form(content_type: str, body: bytes) -> Document:
    """A form as an object: its texts by their names, and its files as pairs of name and content."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise Refusal(400, "We could not parse the form in the body of your request.")
    document: Document = {"files": []}
    for part in message.iter_parts():
        name = str(part.get_param("name", "", "content-disposition"))
        content = part.get_payload(decode=True)
        content = content if isinstance(content, bytes) else b""
        if part.get_filename() is None:
            document[name] = content.decode()
        else:
            document["files"].append((name, content))
    return document


def dumped(document: Document) -> bytes:
    """A document as it is sent."""
    return orjson.dumps(document)


def string(document: Document, name: str) -> str:
    """A required string that is not empty."""
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal(400, f"Missing required parameter: '{name}'.", param=name)
    return value


def count(document: Document, *names: str, least: int = 1) -> int | None:
    """The first of these fields that is given, as an integer of at least `least`."""
    for name in names:
        value = document.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise Refusal(400, f"Invalid value for '{name}': expected an integer of at least {least}.", param=name)
        return value
    return None


def choices(document: Document, name: str) -> int:
    """How many answers are wanted."""
    wanted = count(document, name) or 1
    if wanted > MAX_CHOICES:
        raise Refusal(400, f"Invalid value for '{name}': at most {MAX_CHOICES}.", param=name)
    return wanted


def objects(document: Document, *names: str) -> list[Document]:
    """A required list of objects that is not empty."""
    value: Any = None
    for name in names:
        value = document.get(name, value)
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise Refusal(400, f"Invalid value for '{names[0]}': expected a list of objects.", param=names[0])
    return value


def text_of(content: object) -> str:
    """The text of a message: a string, or parts of which the ones with text count."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return text_of(content.get("text") or content.get("content"))
    if isinstance(content, list):
        return "".join(text_of(part) for part in content)
    return ""


def tokens_of(content: object) -> int:
    """Input tokens of one message: its text, and a fixed number for each part without text."""
    if not isinstance(content, list):
        return tokens(text_of(content))
    others = sum(1 for part in content if not text_of(part))
    return tokens(text_of(content)) + others * PART_TOKENS


def tokens_of_tools(document: Document) -> int:
    """Input tokens of the list of tools."""
    tools = document.get("tools")
    return -(-len(orjson.dumps(tools)) // 4) if tools else 0


def tools_of(tools: object, *schemas: str) -> tuple[tuple[str, object], ...]:
    """Tools with a name, each with the schema of its arguments, which stands in a field of one of these names."""
    given = [one for one in tools if isinstance(one, dict)] if isinstance(tools, list) else []
    return tuple(
        (one["name"], next((one[schema] for schema in schemas if schema in one), None))
        for one in given
        if isinstance(one.get("name"), str)
    )


def last_user_text(messages: list[Document], content: str) -> str:
    """Text of the last message by the user; `content` is the name of the field that holds it."""
    for message in reversed(messages):
        if message.get("role", "user") == "user":
            return text_of(message.get(content))
    return ""
