"""Credentials at rest."""

import pytest
from cryptography.fernet import Fernet

from shared.sealing import Sealer, UnsealError

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_it_works() -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal("sk-provider")
    assert b"sk-provider" not in sealed
    assert sealer.unseal(sealed) == "sk-provider"


def test_a_rotated_key_still_opens_what_it_sealed() -> None:
    assert Sealer([NEW, OLD]).unseal(Sealer([OLD]).seal("x")) == "x"


def test_the_first_key_seals() -> None:
    assert Sealer([NEW]).unseal(Sealer([NEW, OLD]).seal("x")) == "x"


def test_what_the_first_key_sealed_is_current() -> None:
    assert Sealer([NEW, OLD]).is_current(Sealer([NEW]).seal("x"))
    assert not Sealer([NEW, OLD]).is_current(Sealer([OLD]).seal("x"))


def test_a_lost_key_is_told_without_the_secret() -> None:
    with pytest.raises(UnsealError, match="ROUTER_ENCRYPTION_KEY"):
        Sealer([NEW]).unseal(Sealer([OLD]).seal("x"))
