"""Who signs for which organisation, by the newest record of each."""

from __future__ import annotations

from sqlmodel import Session, col, delete, select

from gridsecure.circulation.documents import REGISTRAR, Member
from gridsecure.circulation.organisations import OrganisationRecord
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import AccessDeniedError, ConflictError, UnknownMeterError
from gridsecure.market.tables import PersonRow
from gridsecure.market.zone import MarketZone
from gridsecure.messages import Signed
from gridsecure.store.rows import find


def find_signer(session: Session, envelope: Signed, *, zone: MarketZone) -> Member:
    """Whose key a document names as its signer's; that it verifies is looked at afterwards.

    Raises:
        UnknownMeterError: Nobody's of the market (`market.stranger`).
    """
    if envelope.signer == zone.registrar.key.thumbprint:
        return zone.registrar
    row = find(session, PersonRow, thumbprint=envelope.signer)
    if row is None:
        raise UnknownMeterError(
            "The signer is nobody of the market's organisations.", reason="market.stranger"
        )
    return _member(row)


def find_person(session: Session, person: str) -> Member:
    """The member of a name, as tokens have it.

    Raises:
        AccessDeniedError: Nobody signs for an organisation under this name (`market.person`).
    """
    row = find(session, PersonRow, person=person)
    if row is None:
        raise AccessDeniedError(
            "This person signs for no organisation of the market.",
            reason="market.person",
            remedy="Have the registration office name the person in the organisation's record.",
        )
    return _member(row)


def replace_people(session: Session, record: OrganisationRecord) -> None:
    """Let the people of a record sign for its organisation, and nobody else.

    Args:
        session: From `write_session`.

    Raises:
        ConflictError: A person or key is of another organisation (`market.person-taken`).
    """
    session.execute(delete(PersonRow).where(col(PersonRow.organisation) == record.name))
    members = record.members
    people = [one.person for one in members] + [REGISTRAR]
    keys = [one.key.thumbprint for one in members]
    taken = select(PersonRow.person).where(
        col(PersonRow.person).in_(people) | col(PersonRow.thumbprint).in_(keys)
    )
    if session.exec(taken.limit(1)).first() is not None or REGISTRAR in people[:-1]:
        raise ConflictError(
            "A person or key of the record signs for another organisation.",
            reason="market.person-taken",
            remedy="Give every person of every organisation a name and a key of their own.",
        )
    for one in members:
        session.add(
            PersonRow(
                person=one.person,
                thumbprint=one.key.thumbprint,
                organisation=one.organisation,
                public_key=one.key.point.hex(),
                roles=" ".join(sorted(one.roles)),
            )
        )


def _member(row: PersonRow) -> Member:
    key = Sm2PublicKey(bytes.fromhex(row.public_key))
    return Member(row.organisation, row.person, key, frozenset(row.roles.split()))
