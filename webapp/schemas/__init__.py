"""What this router takes and answers with, as Pydantic models: one set for forms, JSON, commands and OpenAPI.

Law of this package: it knows no database, no request and no page. A model that is read forbids unknown fields and says
for people what it objects to; its values are columns, ready to be stored. A model that is answered with is filled from
a view by its attributes, and what is in no model is told to nobody.
"""

from pydantic import BaseModel, ConfigDict


class Input(BaseModel):
    """What is read: nothing is guessed, and nothing unknown is taken."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Output(BaseModel):
    """What is answered with."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")
