"""Which reader a form goes to. Forms are OpenAI's alone."""

from proxyd.providers.base import Parsed
from proxyd.providers.openai_forms import fields_of
from proxyd.providers.openai_images import read_image_form
from proxyd.providers.openai_sound import read_transcription
from proxyd.wire.form import Part
from shared.catalog import Endpoint, Kind


def read_form(endpoint: Endpoint, parts: list[Part], body: bytes) -> Parsed:
    """Understand a body that is a form of these parts. Raises BadBody."""
    form = fields_of(parts)
    return read_image_form(form, body) if endpoint.kind is Kind.IMAGES else read_transcription(form, body)
