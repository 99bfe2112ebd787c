"""What the encryption service holds, and who may do what in it.

An organisation's people are named by the service's operator. Who makes and moves keys (`officer`)
does not use them, so nobody both makes a key and signs with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Engine

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm4 import KEY_BYTES
from gridsecure.errors import AccessDeniedError, InputError
from gridsecure.zone_keys import load_secret

Duty = Literal["officer", "user", "auditor"]
"""Makes and moves keys; uses them; reads what there is and what was used."""
OFFICER: Final = "officer"
USER: Final = "user"
KEK: Final = "kek.key"
"""The file of the zone's key-encryption key."""


@dataclass(frozen=True, slots=True)
class KeyPerson:
    """Somebody of an organisation.

    Args:
        person: The name, as tokens have it.
        key: Data keys are sealed to it, and open on the person's own machine.
    """

    person: str
    organisation: str
    duties: frozenset[Duty]
    key: Sm2PublicKey


@dataclass(frozen=True, slots=True)
class EncryptionZone:
    """The database, the people, and what secrets are sealed under.

    Args:
        kek: The zone's key-encryption key [16 bytes].
        people: By name.
    """

    engine: Engine
    kek: bytes = field(repr=False)
    people: Mapping[str, KeyPerson]


def load_kek(folder: Path) -> bytes:
    """The zone's key-encryption key [16 bytes], drawn now if there is none.

    Raises:
        StorageError: The disk refuses, or others may read the file (`keys.permissions`).
    """
    return load_secret(folder / KEK, lambda: secrets.token_bytes(KEY_BYTES))


def pin_people(people: Iterable[KeyPerson]) -> dict[str, KeyPerson]:
    """People by name.

    Raises:
        InputError: A name or key is there twice, or an officer has another duty beside using keys
            (`managed-key.person`).
    """
    found = list(people)
    by_name = {one.person: one for one in found}
    keys = {one.key.thumbprint for one in found}
    if not len(by_name) == len(keys) == len(found) or any(
        {OFFICER, USER} <= one.duties for one in found
    ):
        raise InputError(
            "A person or key is named twice, or somebody makes managed keys and uses them.",
            reason="managed-key.person",
            remedy="Give each person one organisation and one key, and officers no use of keys.",
        )
    return by_name


def find_person(zone: EncryptionZone, name: str, *duties: Duty) -> KeyPerson:
    """The person of a name, who has one of these duties; any will do if none is named.

    Raises:
        AccessDeniedError: Nobody's of the service's organisations, or without such a duty
            (`managed-key.duty`).
    """
    person = zone.people.get(name)
    if person is None or (duties and not person.duties & set(duties)):
        raise AccessDeniedError(
            "This person may not do this with managed keys.",
            reason="managed-key.duty",
            remedy="Ask the service's operator which duties you have.",
        )
    return person
