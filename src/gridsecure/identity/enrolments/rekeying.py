"""A new key for an identity that lost its own, by an order that both offices signed.

1. Both orders are signed, one by each office, and say the same.
2. They were issued lately, so that an order nobody carried out does not wait for ever.
3. The old key is the one the identity has now. An order therefore works once: a key that was
   replaced never becomes anybody's again.

The old pseudonym stays active: a re-key revokes nothing, because nobody knows what was registered
under the old key. Whoever has the lost device acts until the search `replaced` has run to its end;
see `person_searches`. Order it at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.credentials.log_details import ACTOR
from gridsecure.credentials.opening import OPENERS, Opener
from gridsecure.credentials.suites import Suite
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, InvalidMessageError, SignatureError, StaleMessageError
from gridsecure.identity.enrolments.enrolled_keys import generations_of, keys_ever_of
from gridsecure.identity.enrolments.tables import EnrolmentRow, RekeyOrderRow
from gridsecure.identity_messages import RekeyOrder
from gridsecure.messages import Signed, open_message
from gridsecure.month_texts import read_moment
from gridsecure.store.database import write_session
from gridsecure.store.evidence import EvidenceEntry, append
from gridsecure.store.rows import keep

REKEY: Final = "identity.rekeyed"
ORDER_AGE: Final = timedelta(days=7)
CLOCKS_DIFFER: Final = timedelta(minutes=5)


def rekey(
    engine: Engine,
    orders: Sequence[Signed],
    *,
    offices: Mapping[Opener, Sm2PublicKey],
    suite: Suite,
    now: datetime,
    actor: str = ACTOR,
) -> EvidenceEntry:
    """Give an identity a new enrolled key, as the module says; return the entry that says so.

    Args:
        orders: What both offices signed, in any order.
        offices: Both offices' keys.
        now: The present, aware.
        actor: The officer who brings both orders.

    Raises:
        AuthenticityError: Not signed by an office.
        SignatureError: Not one order of each office, or they differ (`authenticity.rekey`).
        StaleMessageError: Older than `ORDER_AGE`, or of the future (`authenticity.rekey-time`).
        InvalidMessageError: A malformed order, or the new key is no point.
        NotFoundError: The identity has no key to replace (`not-found.enrolment`).
        ConflictError: The old key is not the one it has now, as in an order that was carried out
            (`conflict.rekey`); the new key was somebody's before (`conflict.enrolment`).
    """
    order = read_agreed_order(orders, offices=offices)
    _check_time(order.issued_at, now=now)
    suite.group.decode(bytes.fromhex(order.new))
    with write_session(engine) as session:
        _replace(session, order, now=now)
        digest = _keep_order(session, order, orders, now=now)
        detail = {"order": digest, "reference": order.reference}
        return append(session, at=now, actor=actor, action=REKEY, detail=detail)


def read_agreed_order(
    orders: Sequence[Signed], *, offices: Mapping[Opener, Sm2PublicKey]
) -> RekeyOrder:
    """What both offices ordered.

    Args:
        orders: What both signed, in any order.
        offices: Both offices' keys.

    Raises:
        AuthenticityError: Not signed by an office.
        SignatureError: Not one order of each office, or they differ (`authenticity.rekey`).
        InvalidMessageError: A malformed order.
    """
    trusted = {key.thumbprint: key for key in offices.values()}
    said = [open_message(one, expect=RekeyOrder, trusted=trusted) for one in orders]
    signers = {one.signer for one in orders}
    complete = len(orders) == len(OPENERS) and signers == set(trusted)
    if len(trusted) != len(OPENERS) or not complete or said[0] != said[1]:
        raise SignatureError(
            "A re-key order was not signed by both offices.",
            reason="authenticity.rekey",
            remedy="Let the utility and the regulator sign the same order.",
        )
    return said[0]


def _check_time(text: str, *, now: datetime) -> None:
    issued_at = read_moment(text)
    if issued_at is None:
        raise InvalidMessageError("An order's time is malformed.")
    if not -CLOCKS_DIFFER <= now - issued_at <= ORDER_AGE:
        raise StaleMessageError(
            "A re-key order is not recent.",
            reason="authenticity.rekey-time",
            remedy="Let both offices sign it again.",
        )


def _replace(session: Session, order: RekeyOrder, *, now: datetime) -> None:
    who, keys = order.identity, keys_ever_of(session, order.identity)
    generation = generations_of(session, [who]).get(who, 0)
    if keys[-1] != order.old:
        raise ConflictError(
            "The order does not replace the key that the identity has now.",
            reason="conflict.rekey",
            remedy="Look at the evidence log: it may have been carried out.",
        )
    new = EnrolmentRow(identity=who, generation=generation + 1, key=order.new, at=now)
    keep(session, new)


def _keep_order(
    session: Session, order: RekeyOrder, orders: Sequence[Signed], *, now: datetime
) -> str:
    digest = sm3_hex(order.model_dump_json().encode())
    text = json.dumps([one.model_dump(mode="json") for one in orders])
    keep(session, RekeyOrderRow(digest=digest, orders=text, at=now))
    return digest
