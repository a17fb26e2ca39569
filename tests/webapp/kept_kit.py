"""What keeps two thousand apps in one process cheap, and changes nothing that they answer.

What all of them have in common is made once: compiled templates, and the code that builds addresses. Passwords are
hashed with as little work as there can be; the tests of passwords have the hasher of the product.
"""

from collections.abc import Callable

from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule

from webapp import passwords

Builder = Callable[..., tuple[str, str]]


class KeptTemplates(BytecodeCache):
    """By the template's name and its text."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        kept = self._kept.get((bucket.key, bucket.checksum))
        if kept is not None:
            bucket.bytecode_from_string(kept)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


_BUILDERS: dict[tuple[str, bool], Builder] = {}


class KeptRule(Rule):
    """A builder is a function of the rule's text alone, and is bound to its rule by whoever asks for it."""

    def _compile_builder(self, append_unknown: bool = True) -> Builder:
        if self.defaults or self.subdomain or self.host:
            return super()._compile_builder(append_unknown)
        place = self.rule, append_unknown
        if place not in _BUILDERS:
            _BUILDERS[place] = super()._compile_builder(append_unknown)
        return _BUILDERS[place]


REAL_HASHER = passwords._HASHER


def keep() -> None:
    """For all apps that are made from now on."""
    passwords._HASHER = PasswordHasher.from_parameters(CHEAPEST)
    Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": KeptTemplates()}
    Flask.url_rule_class = KeptRule
