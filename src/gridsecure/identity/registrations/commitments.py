"""What the log commits to when pseudonyms are registered: which escrow is whose.

    leaf     SM3(SM3(subject), escrow)
    digest   SM3 of all leaves of the batch, sorted; in the log entry

An order to open or to search names escrows as digests that the desk computed itself, so that no
office could see another's escrow put in the place of the right one, or one made up. The leaf of a
registration was in the log before anybody ordered anything: an office asks for the leaves of the
batch, finds the one of pseudonym and escrow among them, and their digest in an entry older than the
order. Leaves tell nobody anything: an escrow is random.

In a search the desk shows SM3(subject) in place of the subject, which is as good for the leaf and
names nobody to an office that does not know the pseudonym anyhow.

What this cannot show: a registration that was a lie from the start. Only who keeps heads of the log
as a witness makes sure that it was a lie before the order, and not for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from gridsecure.credentials.suites import framed
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AccessDeniedError
from gridsecure.store.evidence import EvidenceEntry
from gridsecure.store.records import Record, RecordRow, fetch, record

REGISTERED: Final = "identity.registered"
LEAVES: Final = "registration-leaves"


def name_digest(subject: str) -> str:
    """What stands for a pseudonym in its leaf."""
    return sm3_hex(framed(subject))


def leaf(name: str, escrow: bytes) -> str:
    """The commitment to one registration.

    Args:
        name: From `name_digest`.
        escrow: Its escrow.
    """
    return sm3_hex(framed(name, escrow))


def commitment(leaves: Iterable[str]) -> str:
    """What the log says of a batch.

    Args:
        leaves: Of its registrations, in any order.
    """
    return sm3_hex(framed(*sorted(leaves)))


# --- the authority's side ------------------------------------------------------------------------


def keep_leaves(
    session: Session, entry: EvidenceEntry, leaves: Sequence[str], *, now: datetime
) -> None:
    """Keep the leaves of a batch under the hash of its log entry, for offices that ask.

    Args:
        session: The one the entry was appended in.
        entry: The log entry.
        leaves: What it commits to.
        now: The present, aware.
    """
    text = json.dumps(sorted(leaves))
    digest = commitment(leaves)
    record(session, Record(LEAVES, entry.hash, entry.hash, digest, "", text), at=now)


def leaves_of(engine: Engine, entry: str) -> list[str]:
    """The leaves that a log entry commits to.

    Args:
        engine: The database of registrations.
        entry: Hash of the entry.

    Raises:
        NotFoundError: It is no entry of registrations (`not-found.registration-leaves`).
    """
    with Session(engine) as session:
        return list(json.loads(fetch(session, kind=LEAVES, name=entry).text))


def leaves_with(engine: Engine, *, subject: str, escrow: bytes) -> list[str]:
    """The leaves of the batch in which a pseudonym got its escrow.

    Args:
        engine: The database of registrations.
        subject: The pseudonym.
        escrow: Its escrow.

    Returns:
        None where no batch has it: no office will open that.
    """
    wanted = leaf(name_digest(subject), escrow)
    found = select(RecordRow.text).where(
        RecordRow.kind == LEAVES, col(RecordRow.text).contains(wanted)
    )
    with Session(engine) as session:
        text = session.exec(found.order_by(col(RecordRow.id)).limit(1)).first()
    return [] if text is None else list(json.loads(text))


# --- an office's side ----------------------------------------------------------------------------


def committing_entry(
    leaves: Collection[str],
    *,
    wanted: str,
    entries: Sequence[EvidenceEntry],
    order: EvidenceEntry,
) -> EvidenceEntry:
    """The log entry, older than an order, that commits to these leaves and the wanted one in them.

    Args:
        leaves: As the desk shows them.
        wanted: The leaf of the registration that the order is about.
        entries: The log, its chain verified.
        order: The entry that holds the order.

    Raises:
        AccessDeniedError: There is none (`authenticity.escrow`).
    """
    digest = commitment(leaves)
    for entry in entries:
        if wanted in leaves and entry.index < order.index and _committed(entry) == digest:
            return entry
    raise not_committed()


def committed_leaves(
    leaves: Mapping[str, Sequence[str]],
    *,
    entries: Sequence[EvidenceEntry],
    order: EvidenceEntry,
) -> frozenset[str]:
    """All leaves that the log committed to before an order.

    Args:
        leaves: By hash of a log entry, its leaves as the desk shows them.
        entries: The log, its chain verified.
        order: The entry that holds the order.

    Raises:
        AccessDeniedError: Leaves that their entry does not commit to, or of a later one
            (`authenticity.escrow`).
    """
    digests = {one.hash: _committed(one) for one in entries if one.index < order.index}
    for name, shown in leaves.items():
        if digests.get(name) != commitment(shown):
            raise not_committed()
    return frozenset(one for shown in leaves.values() for one in shown)


def registration_entries(entries: Iterable[EvidenceEntry], *, before: int) -> list[EvidenceEntry]:
    """The entries whose leaves an office asks for.

    Args:
        entries: The log.
        before: Index of the order.
    """
    return [one for one in entries if one.index < before and one.action == REGISTERED]


def not_committed() -> AccessDeniedError:
    """The refusal of an escrow that was not registered before the order."""
    return AccessDeniedError(
        "The log did not commit to this escrow before the order.",
        reason="authenticity.escrow",
        remedy="Give no share: the escrow belongs to another pseudonym or is made up. Find out "
        "who runs the service.",
    )


def _committed(entry: EvidenceEntry) -> str | None:
    if entry.action != REGISTERED:
        return None
    said = json.loads(entry.detail)
    return said.get("digest") if said.get("registered") else None
