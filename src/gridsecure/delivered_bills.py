"""Bills on their way to customers: what the billing office signs, and what a customer opens.

    request   `CustomerKey`, signed by the customer's own key: whose key it is
    facts     `IssuedBill`, signed by the billing office: what a bill comes to, and its digest
    code      the signed facts in one line, which a statement's QR code holds
    delivery  `DeliveredBill`: the whole bill, its receipt and the code, sealed to the customer

The office signs facts and not files, so one signature stands behind every form of a bill: the paper
is checked by its code, the delivery by the digest as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from pydantic import Field, ValidationError

from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.padding import pad_by_fours, unpad
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import hmac_sm3, sm3_hex
from gridsecure.errors import AuditBrokenError, GridSecureError, InputError, SignatureError
from gridsecure.messages import (
    FIRST_REVISION,
    Digest,
    Message,
    Signed,
    open_message,
    sign_message,
)
from gridsecure.written_words import OneLine

DELIVERY_PURPOSE: Final = "delivered-bill"
"""What deliveries are sealed for."""
SMALLEST: Final = 16_384
"""The smallest size of a delivery before it is sealed [bytes]."""
CODE: Final = "GRIDSECURE-BILL-1"
"""What every code begins with."""
_CODE: Final = re.compile(rf"{CODE} (\{{.*\}}) ([0-9a-f]{{2,200}})", re.DOTALL)
_YUAN: Final = "CNY"


class CustomerKey(Message):
    """Whose key this is; signed with it, which proves that the customer holds it.

    Args:
        account: The name that bills are under: the meter point, or its holder's.
        public_key: 130 hexadecimal digits.
        fetching: What customer and office find the bills at a web server by, 64 hexadecimal digits;
            empty in requests of before bills could be fetched.
    """

    kind: ClassVar[str] = "customer-key"
    account: OneLine = Field(min_length=1, max_length=200)
    public_key: str
    made_at: str
    fetching: str = Field(default="", pattern=r"^([0-9a-f]{64})?$", repr=False)


class IssuedBill(Message):
    """What the billing office says of a bill.

    Args:
        account: The name that the bill is under.
        issuer: The utility, by name; empty if it gave none.
        start: Of the period, ISO 8601; likewise `end`, exclusive.
        version: 1 for a first bill, and one more for each correction.
        total: As it stands in the bill.
        digest: SM3 of the bill's text (`bill_text`).
    """

    kind: ClassVar[str] = "issued-bill"
    account: str
    issuer: str
    start: str
    end: str
    version: int = Field(ge=FIRST_REVISION)
    total: str
    currency: str
    digest: Digest


class DeliveredBill(Message):
    """A bill as it is sealed to its customer.

    Args:
        bill: Text of the bill, one period of a bill document, with its receipt.
        code: The signed facts.
    """

    kind: ClassVar[str] = "delivered-bill"
    bill: str = Field(repr=False)
    code: str = Field(repr=False)


def request_key(account: str, *, key: Sm2PrivateKey, now: datetime) -> Signed:
    """A customer's key with the name that its bills are under, for the billing office.

    Args:
        now: The present, aware.
    """
    asked = CustomerKey(
        account=account,
        public_key=key.public_key.point.hex(),
        made_at=now.isoformat(),
        fetching=own_secret(key).hex(),
    )
    return sign_message(asked, key=key)


def own_secret(key: Sm2PrivateKey) -> bytes:
    """What a customer's bills are found by at a web server, the same for all accounts of a key."""
    return hmac_sm3(key.to_bytes(), b"gridsecure fetching of bills")


def fetching_secret(request: Signed) -> bytes | None:
    """What the customer who made a request finds bills by; None where that was not kept.

    Raises:
        InvalidMessageError: It is no request.
    """
    return bytes.fromhex(CustomerKey.parse(request.body).fetching) or None


def read_request(envelope: Signed) -> tuple[str, Sm2PublicKey]:
    """Account and key of a request.

    Raises:
        SignatureError: Whoever made it does not hold the key (`authenticity.customer-key`).
        InvalidMessageError: It is none.
    """
    asked = CustomerKey.parse(envelope.body)
    try:
        key = Sm2PublicKey(bytes.fromhex(asked.public_key))
        open_message(envelope, expect=CustomerKey, trusted={key.thumbprint: key})
    except (ValueError, GridSecureError) as error:
        raise SignatureError(
            "The request is not signed with the key that it names.",
            reason="authenticity.customer-key",
            remedy="Have the customer make it anew with `gridsecure my key`.",
        ) from error
    return asked.account, key


def bill_text(period: Mapping[str, Any]) -> str:
    """The one text of a bill, whose digest is signed.

    Args:
        period: One period of a bill document.
    """
    return json.dumps(period, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def issue_bill(account: str, period: Mapping[str, Any], *, issuer: str, key: Sm2PrivateKey) -> str:
    """The code of a bill: what it comes to, under the office's signature.

    Args:
        account: The name that the bill is under.
        issuer: The utility, by name; empty if it gave none.
        period: One period of a bill document, read as one before.
        key: The billing office's.
    """
    facts = IssuedBill(
        account=account,
        issuer=issuer,
        start=period["start"],
        end=period["end"],
        version=period.get("version") or FIRST_REVISION,
        total=str(period["total"]),
        currency=_currency(period),
        digest=sm3_hex(bill_text(period).encode()),
    )
    signed = sign_message(facts, key=key)
    return f"{CODE} {signed.body} {signed.signature}"


def read_code(code: str, *, office: Sm2PublicKey) -> IssuedBill:
    """What a code says, once the signature is verified.

    Args:
        code: As the QR code holds it; blanks and line ends around it do not matter.
        office: The billing office's key.

    Raises:
        InputError: It is no code of a bill (`delivery.code`).
        SignatureError: The office did not sign it (`authenticity.bill-code`).
    """
    found = _CODE.fullmatch(code.strip())
    if found is None:
        raise InputError(
            "This is no code of a bill.",
            reason="delivery.code",
            remedy=f"Give all that the QR code holds: it begins with {CODE}.",
        )
    envelope = Signed(
        body_kind=IssuedBill.kind,
        body=found[1],
        signer=office.thumbprint,
        signature=found[2],
    )
    try:
        return open_message(envelope, expect=IssuedBill, trusted={office.thumbprint: office})
    except GridSecureError as error:
        raise SignatureError(
            "This office did not issue such a bill.",
            reason="authenticity.bill-code",
            remedy="Check the office's key, and that the code was read whole. If both are right,"
            " the bill is forged: tell the office.",
        ) from error


def seal_delivery(
    period: Mapping[str, Any], *, code: str, customer: Sm2PublicKey, now: datetime
) -> bytes:
    """Seal a bill to its customer, padded: its length would tell who carries it of the tariff.

    Args:
        code: From `issue_bill`, of the same period.
        now: The present, aware.
    """
    delivery = DeliveredBill(bill=bill_text(period), code=code)
    return seal_to(
        pad_by_fours(delivery.model_dump_json().encode(), smallest=SMALLEST),
        recipient=customer,
        purpose=DELIVERY_PURPOSE,
        owner=customer.thumbprint,
        created_at=now,
    )


def open_delivery(
    sealed: bytes, *, key: Sm2PrivateKey, office: Sm2PublicKey
) -> tuple[IssuedBill, str, dict[str, Any]]:
    """What a delivery holds: the signed facts, their code, and the bill.

    Args:
        key: The customer's.
        office: The billing office's.

    Raises:
        EnvelopeError: It is sealed to another key, or was altered.
        InputError, SignatureError: As `read_code`.
        AuditBrokenError: The bill is not the one that the office signed (`delivery.other-bill`).
    """
    opened = open_from(sealed, private_key=key, purpose=DELIVERY_PURPOSE)
    delivery = DeliveredBill.parse(unpad(opened) or b"")
    facts = read_code(delivery.code, office=office)
    if sm3_hex(delivery.bill.encode()) != facts.digest:
        raise _other_bill()
    try:
        period: dict[str, Any] = json.loads(delivery.bill)
        told = (period["start"], period["end"], str(period["total"]), _currency(period))
        version = period.get("version") or FIRST_REVISION
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise _other_bill() from error
    named = (facts.start, facts.end, facts.total, facts.currency, facts.version)
    if (*told, version) != named:
        raise _other_bill()
    return facts, delivery.code, period


def _currency(period: Mapping[str, Any]) -> str:
    tariff = period.get("tariff")
    return str(tariff["currency"]) if tariff else _YUAN


def _other_bill() -> AuditBrokenError:
    return AuditBrokenError(
        "The bill is not the one that the office signed.",
        reason="delivery.other-bill",
        remedy="Ask the billing office to send it anew.",
    )
