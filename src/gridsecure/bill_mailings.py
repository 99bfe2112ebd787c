"""Sealed bills at a web server, which learns neither whose they are nor who has one.

    index     `MailingIndex`, signed by the billing office: which mailings there are
    mailing   a cycle's sealed bills, on 2^bits shelves that all are of one length
    shelf     what the office signed of it, then records of one length, in the order of their marks
    record    mark (16 bytes), nonce (12), and a sealed bill, padded, under a key of both sides

A customer's shelf, marks and key follow from a secret that customer and office have, and from the
mailing's name: they are others in every mailing, and whoever lacks the secret sees random bytes.
Whoever fetches takes a whole shelf, on which some dozens of customers' bills lie among records that
are nobody's. So the server is told of no bill, no customer and no number of bills. Marks that are
nobody's follow from the office's key: made again, a mailing has the same marks as before, and two
copies do not say which of them are bills.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

from pydantic import Field

from gridsecure import frames
from gridsecure.crypto.padding import LENGTH_BYTES, pad, unpad
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import hkdf_sm3, hmac_sm3, sm3_hex
from gridsecure.crypto.sm4 import KEY_BYTES, NONCE_BYTES, TAG_BYTES, gcm_open, gcm_seal
from gridsecure.errors import AuditBrokenError, GridSecureError, InvalidMessageError
from gridsecure.messages import Digest, Message, Signed, open_message, sign_message

INDEX: Final = "mailings.json"
"""The signed index, beside a folder of shelves for each mailing."""
ON_A_SHELF: Final = 64
"""At most so many customers to a shelf, on average; half of that at least where there are more."""
MOST_BILLS: Final = 64
"""Of one customer in a mailing: every shelf is as long as the fullest one."""
_MOST_BITS: Final = 20
_MARK_BYTES: Final = 16
_ROUNDED_TO: Final = 8  # records of a shelf
_SHELF_PARTS: Final = 2


class Mailing(Message):
    """A cycle's sealed bills as they lie at a web server.

    Args:
        bits: There are 2^bits shelves.
        records: On each shelf.
        record_bytes: Length of each record.
    """

    kind: ClassVar[str] = "bill-mailing"
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    bits: int = Field(ge=0, le=_MOST_BITS)
    records: int = Field(ge=1)
    record_bytes: int = Field(ge=_MARK_BYTES)

    @property
    def shelf_bytes(self) -> int:
        """Length of the records of a shelf."""
        return self.records * self.record_bytes


class MailingIndex(Message):
    """Which mailings there are, the oldest first.

    Args:
        made_at: When the last one was added, ISO 8601.
    """

    kind: ClassVar[str] = "mailing-index"
    mailings: list[Mailing] = Field(default_factory=list)
    made_at: str


class Shelf(Message):
    """What the office signs of a shelf: a server can leave nothing out unseen.

    Args:
        digest: SM3 of its records.
    """

    kind: ClassVar[str] = "mailing-shelf"
    mailing: str
    number: int
    digest: Digest


def shelf_name(number: int) -> str:
    """The file of a shelf, in the folder of its mailing."""
    return f"{number:05x}.shelf"


def shelf_of(secret: bytes, mailing: Mailing) -> int:
    """The shelf on which a customer's bills of a mailing lie."""
    drawn = hkdf_sm3(secret, info=_info("shelf", mailing.name), length=4)
    return int.from_bytes(drawn, "big") >> (32 - mailing.bits)


def make_mailing(
    name: str, bills: Mapping[bytes, Sequence[bytes]], *, office: Sm2PrivateKey
) -> tuple[Mailing, Iterator[bytes]]:
    """The shelves of a mailing, in the order of their numbers, made one after the other.

    Args:
        name: Of no other mailing: where a name comes again, shelves would be linked.
        bills: Sealed bills by the secret of their customer.
        office: The billing office's key.
    """
    longest = max((len(one) for own in bills.values() for one in own), default=0)
    size = longest + LENGTH_BYTES
    bits = max(0, (max(1, len(bills)) - 1).bit_length() - (ON_A_SHELF - 1).bit_length())
    plain = Mailing(
        name=name,
        bits=min(bits, _MOST_BITS),
        records=1,
        record_bytes=_MARK_BYTES + NONCE_BYTES + size + TAG_BYTES,
    )
    by_shelf: dict[int, list[bytes]] = defaultdict(list)
    for secret in bills:
        by_shelf[shelf_of(secret, plain)].append(secret)
    fullest = max((sum(len(bills[s]) for s in own) for own in by_shelf.values()), default=0)
    records = -(-max(1, fullest) // _ROUNDED_TO) * _ROUNDED_TO
    mailing = plain.model_copy(update={"records": records})

    def shelves() -> Iterator[bytes]:
        for number in range(1 << mailing.bits):
            own = [
                _record(secret, mailing, place, sealed, size=size)
                for secret in by_shelf[number]
                for place, sealed in enumerate(bills[secret])
            ]
            left = range(records - len(own))
            own += [_nobodys(office, mailing, f"{number}/{place}") for place in left]
            content = b"".join(sorted(own))
            said = Shelf(mailing=name, number=number, digest=sm3_hex(content))
            signed = sign_message(said, key=office).model_dump_json().encode()
            yield frames.join_frames([signed, content])

    return mailing, shelves()


def add_mailing(
    index: MailingIndex | None, mailing: Mailing, *, office: Sm2PrivateKey, now: datetime
) -> Signed:
    """The signed index with one mailing more.

    Args:
        now: The present, aware.
    """
    before = [] if index is None else index.mailings
    return sign_message(
        MailingIndex(mailings=[*before, mailing], made_at=now.isoformat()), key=office
    )


def read_index(body: bytes, *, office: Sm2PublicKey) -> MailingIndex:
    """The index, if the office signed it.

    Raises:
        AuthenticityError: It did not.
        InvalidMessageError: It is none.
    """
    trusted = {office.thumbprint: office}
    return open_message(Signed.parse(body), expect=MailingIndex, trusted=trusted)


def find_bills(
    body: bytes, *, secret: bytes, mailing: Mailing, office: Sm2PublicKey
) -> list[bytes]:
    """A customer's sealed bills on the shelf that is the customer's.

    Args:
        body: The shelf as it came.

    Raises:
        AuditBrokenError: It is not the shelf that the office signed (`mailing.shelf`).
    """
    content = _content(body, number=shelf_of(secret, mailing), mailing=mailing, office=office)
    step = mailing.record_bytes
    by_mark = {
        content[start : start + _MARK_BYTES]: content[start + _MARK_BYTES : start + step]
        for start in range(0, len(content), step)
    }
    found = []
    for place in range(MOST_BILLS):
        record = by_mark.get(_mark(secret, mailing.name, place))
        if record is None:
            break
        opened = gcm_open(
            _key(secret, mailing.name),
            nonce=record[:NONCE_BYTES],
            data=record[NONCE_BYTES:],
            associated_data=_info("record", mailing.name),
        )
        found.append(unpad(opened) or b"")
    return found


def _content(body: bytes, *, number: int, mailing: Mailing, office: Sm2PublicKey) -> bytes:
    try:
        parts = frames.split_frames(body)
        if len(parts) != _SHELF_PARTS:
            raise InvalidMessageError("A shelf has two parts.")
        trusted = {office.thumbprint: office}
        said = open_message(Signed.parse(parts[0]), expect=Shelf, trusted=trusted)
    except GridSecureError as error:
        raise _other_shelf() from error
    named = (said.mailing, said.number, said.digest)
    is_whole = len(parts[1]) == mailing.shelf_bytes
    if not is_whole or named != (mailing.name, number, sm3_hex(parts[1])):
        raise _other_shelf()
    return parts[1]


def _record(secret: bytes, mailing: Mailing, place: int, sealed: bytes, *, size: int) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return (
        _mark(secret, mailing.name, place)
        + nonce
        + gcm_seal(
            _key(secret, mailing.name),
            nonce=nonce,
            data=pad(sealed, size=size),
            associated_data=_info("record", mailing.name),
        )
    )


def _nobodys(office: Sm2PrivateKey, mailing: Mailing, place: str) -> bytes:
    secret = hmac_sm3(office.to_bytes(), b"gridsecure records that are nobody's")
    mark = hkdf_sm3(secret, info=_info(f"mark {place}", mailing.name), length=_MARK_BYTES)
    return mark + secrets.token_bytes(mailing.record_bytes - _MARK_BYTES)


def _mark(secret: bytes, mailing: str, place: int) -> bytes:
    return hkdf_sm3(secret, info=_info(f"mark {place}", mailing), length=_MARK_BYTES)


def _key(secret: bytes, mailing: str) -> bytes:
    return hkdf_sm3(secret, info=_info("key", mailing), length=KEY_BYTES)


def _info(what: str, mailing: str) -> bytes:
    return f"gridsecure mailing {what} {mailing}".encode()


def _other_shelf() -> AuditBrokenError:
    return AuditBrokenError(
        "The shelf is not the one that the billing office signed.",
        reason="mailing.shelf",
        remedy="Try again; if it stays so, tell the billing office: its web server left out or"
        " changed what lies there.",
    )
