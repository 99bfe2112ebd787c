"""Organisations: the tenants of the market, as its registration office enters them."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from gridsecure.circulation.documents import (
    REGISTRAR,
    MarketDocument,
    Member,
    OrganisationRole,
    Person,
    Slug,
    Title,
)
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.messages import Message


class MarketPerson(Message):
    """A person who signs for an organisation, with a key that nobody else has."""

    kind: ClassVar[str] = "market-person"
    person: Person
    public_key: str = Field(pattern=r"^04[0-9a-f]{128}$")


class OrganisationRecord(MarketDocument):
    """An organisation as the registration office entered it; a later number takes its place.

    `organisation` and `person` are the office's own, as in each of its documents.

    Args:
        name: The organisation's.
        number: Counts its records, from 1.
        title_zh: Its name in Chinese.
        people: Who signs for it; nobody, once it has left.
    """

    kind: ClassVar[str] = "organisation"
    name: Slug
    number: int = Field(ge=1, le=10_000)
    title: Title
    title_zh: Title
    roles: list[OrganisationRole] = Field(min_length=1, max_length=5)
    people: list[MarketPerson] = Field(max_length=100)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        people = [one.person for one in self.people]
        keys = [one.public_key for one in self.people]
        for several in (people, keys, self.roles):
            if len(set(several)) != len(several):
                raise ValueError("every person, key and role is named once")
        if "regulator" in self.roles and len(self.roles) > 1:
            raise ValueError("who supervises the market is no party of it: regulator stands alone")
        if self.name == REGISTRAR:
            raise ValueError("the registration office is no organisation of the market")
        return self

    @property
    def members(self) -> list[Member]:
        """Who signs for it.

        Raises:
            InvalidMessageError: A key is no point of the curve.
        """
        return [
            Member(
                self.name,
                one.person,
                Sm2PublicKey(bytes.fromhex(one.public_key)),
                frozenset(self.roles),
            )
            for one in self.people
        ]
