"""The utility's books as enrolment needs them: who may enrol what, and what is certified of it.

They are in the database of enrolments. The evidence log says how much was written and by whom, with
a digest, and repeats no name, address or customer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError
from gridsecure.identity.enrolments.accounts import (
    Account,
    find_accounts,
    find_colliding,
    put_accounts,
    put_owners,
)
from gridsecure.identity.enrolments.certifying import move_claims
from gridsecure.identity.enrolments.enrolled_keys import identity_of
from gridsecure.store.database import write_session
from gridsecure.store.evidence import JSON, append

WRITTEN = "identity.books-written"
OWNERS_WRITTEN = "identity.owners-written"


def write_books(engine: Engine, accounts: Sequence[Account], *, actor: str, now: datetime) -> None:
    """Write accounts, each in place of an earlier one of its meter point.

    What is certified of a meter point changes with its next credential: in the next period, or
    after a re-key.

    Args:
        accounts: The accounts; of two of one meter point the later counts.
        now: The present, aware.

    Raises:
        ConflictError: Two gateways would have one meter point on one day (`books.two-gateways`);
            nothing was kept.
        StorageError: The database refuses; nothing was kept.
    """
    # In order of meter points: two operators at once then wait for each other, and not both ways.
    latest = {account.meter_point_id: account for account in accounts}
    ordered = [latest[name] for name in sorted(latest)]
    written = [frame_parts(*astuple(account)) for account in ordered]
    detail: dict[str, JSON] = {"accounts": len(ordered), "digest": sm3_hex(frame_parts(*written))}
    with write_session(engine) as session:
        before = find_accounts(session, sorted(latest))
        put_accounts(session, ordered)
        _refuse_colliding(find_colliding(session, ordered))
        detail["counted_twice"] = move_claims(session, before, ordered, now=now)
        append(session, at=now, actor=actor, action=WRITTEN, detail=detail)


def _refuse_colliding(found: Sequence[Account]) -> None:
    if found:
        raise ConflictError(
            f"Another gateway has the meter point of {found[0].meter_point_id!r} on a day of this"
            f" account ({len(found):,} such accounts); nothing was written.",
            reason="books.two-gateways",
            remedy="Give both accounts of the meter point days, so that the valid_to of one is no"
            " later than the valid_from of the other, and write them together.",
        )


def write_owners(engine: Engine, owners: Mapping[str, str], *, actor: str, now: datetime) -> None:
    """Write who runs gateways, each in place of what was written before.

    Args:
        owners: Gateway's thumbprint -> who runs it; empty, it runs itself.
        now: The present, aware.

    Raises:
        StorageError: The database refuses; nothing was kept.
    """
    digest = sm3_hex(
        frame_parts(*(frame_parts(gateway, owners[gateway]) for gateway in sorted(owners)))
    )
    detail: dict[str, JSON] = {"gateways": len(owners), "digest": digest}
    with write_session(engine) as session:
        put_owners(session, dict(sorted(owners.items())))
        append(session, at=now, actor=actor, action=OWNERS_WRITTEN, detail=detail)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Whose an enrolled key is.

    Args:
        identity: The reference in the utility's books.
        account: What the books say of it, if it is in them.
    """

    identity: str = field(repr=False)
    account: Account | None = field(repr=False)


def find_enrolled(engine: Engine, key: bytes) -> Enrolled:
    """Whose an opened key is, and what the books say of them.

    Args:
        key: The enrolled key [33 bytes].

    Raises:
        NotFoundError: Nobody's (`not-found.enrolment`).
    """
    identity = identity_of(engine, key=key)
    with Session(engine) as session:
        return Enrolled(identity, find_accounts(session, [identity]).get(identity))


def find_days(
    engine: Engine, meter_point_ids: Sequence[str], *, gateway: str
) -> dict[str, tuple[str, str]]:
    """From which day until before which one a gateway has meter points, by the books.

    Those alone may it enrol. Whoever the books have under another gateway is left out, and so is
    one that they have under two on one day: books that were written before accounts had days may
    say so.

    Args:
        gateway: The gateway's thumbprint.
    """
    with Session(engine) as session:
        found = find_accounts(session, meter_point_ids)
        own = [one for one in found.values() if one.gateway == gateway]
        unsure = {one.meter_point_id for one in find_colliding(session, own)}
    return {one.meter_point_id: one.days for one in own if one.meter_point_id not in unsure}
