"""Sequence numbers of uploads: they only rise, and none is used twice.

The platform sees them. So each of the gateway's pseudonyms, one a year, counts from 1: where one
count went on over two years, the numbers would say that two pseudonyms are one gateway's.
"""

from __future__ import annotations

from typing import Final

from sqlmodel import Session

from gridsecure.store.records import Record, listed

_SEQUENCE: Final = "sequence"


def next_number(session: Session, gateway_id: str) -> int:
    """The number of a pseudonym's next upload.

    Args:
        session: From `write_session`, in which the number is recorded as well.
        gateway_id: Thumbprint of the pseudonym's key.
    """
    names = (found.name.split("/") for found in listed(session, kind=_SEQUENCE))
    return 1 + max((int(number) for owner, number in names if owner == gateway_id), default=0)


def numbered(gateway_id: str, number: int, *, name: str, digest: str, state: str) -> Record:
    """The record of a number that is used.

    Args:
        gateway_id: Thumbprint of the pseudonym's key.
        number: The number.
        name: Of the upload in the outbox.
        digest: Of the upload.
        state: Of the upload.
    """
    return Record(_SEQUENCE, f"{gateway_id}/{number}", name, digest, state, "")
