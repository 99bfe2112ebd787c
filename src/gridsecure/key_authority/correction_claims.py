"""Which corrections are released, once each, and of which cells differences may be told.

A claim is written before anything is decrypted, as for every release (`ledger`). Besides its own
upload, a correction claims the upload it corrects: two corrections of one bill cannot both stand,
whatever the platform recorded.

Differences are sums over some members of a cell whose total is known. Whoever knows how some
readings changed could subtract, so membership decides what is told. All sets of a cell's members
that anything was released about divide the cell into parts: who is in exactly the same sets. A
correction's cell is released only if every part that it makes or touches has `MINIMUM_MEMBERS`
members or none. Any combination of released numbers then treats the members of a part alike, and
is about no fewer. The rule looks at names and never at values, so it says nothing of a reading.

A set counts as released once it was claimed: a killed process may forget what it decrypted, and
nothing is lost by being careful.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.key_authority.correction_proofs import ProvenCorrection
from gridsecure.key_authority.ledger import counted_once, take_claims
from gridsecure.plans.load_curve import MINIMUM_MEMBERS
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, listed, record

_CELL: Final = "correction-cell"

Place = tuple[str, str]
"""Zone and customer class."""

Members = frozenset[str]
"""Pseudonyms."""


def claim_corrections(
    engine: Engine, parts: Sequence[ProvenCorrection], *, at: datetime
) -> frozenset[Place]:
    """Claim what proven corrections will release; all of it or nothing.

    Args:
        engine: The authority's database.
        parts: Corrections that are totalled together.
        at: Now.

    Returns:
        The cells of which nothing may be told.

    Raises:
        ReleaseRefusedError: Released or claimed before by another transcript
            (`release.repeated`), or a household in two rosters (`release.overlap`).
        StorageError: The ledger cannot be written.
    """
    counted_once([part.data for part in parts])
    cells: dict[Place, set[str]] = defaultdict(set)
    for part in parts:
        for name, zone, customer_class in part.corrected:
            cells[zone, customer_class].add(name)
    request = sm3_hex("".join(sorted(part.after.digest for part in parts)).encode())
    upload, domain = parts[0].data.upload, parts[0].data.roster.domain
    facts = {"domain": domain, "start": upload.start, "end": upload.end}
    with write_session(engine) as session:
        take_claims(session, [part.after for part in parts], at=at)
        known = _released_sets(session, facts)
        withheld = set()
        for place, names in cells.items():
            # Asked again, the set is one of those known: it divides nothing further and passes.
            if may_release(frozenset(names), released=known[place]):
                record(session, _cell_entry(request, place, names, facts), at=at)
            else:
                withheld.add(place)
    return frozenset(withheld)


def may_release(candidate: Members, *, released: Iterable[Members]) -> bool:
    """Whether a sum over some members can be told beside those told before.

    Args:
        candidate: The corrected members of a cell.
        released: Sets of members of that cell about which anything was released.

    >>> cell = frozenset(map(str, range(40)))
    >>> may_release(cell, released=[cell])
    True
    >>> may_release(cell - {"0"}, released=[cell])
    False
    """
    sets = list(released)
    inside, outside = Counter[tuple[bool, ...]](), Counter[tuple[bool, ...]]()
    for name in candidate.union(*sets):
        part = tuple(name in members for members in sets)
        (inside if name in candidate else outside)[part] += 1
    sizes = [*inside.values(), *(outside[part] for part in inside if part in outside)]
    return len(candidate) >= MINIMUM_MEMBERS and min(sizes) >= MINIMUM_MEMBERS


def _released_sets(session: Session, facts: dict[str, str]) -> dict[Place, list[Members]]:
    """By cell of a period, the sets of its members that anything was released about."""
    sets: dict[Place, list[Members]] = defaultdict(list)
    cohorts: dict[tuple[str, Place], set[str]] = defaultdict(set)
    for item in listed(session, kind="cohort", state=facts["domain"]):
        text = json.loads(item.text)
        if "zones" in text and _is_about(text, facts):  # earlier releases kept none, nor versions
            rows = zip(text["zones"], text["customer_classes"], text["pseudonyms"], strict=True)
            for zone, customer_class, name in rows:
                cohorts[item.digest, (zone, customer_class)].add(name)
    for (_, place), names in cohorts.items():
        if len(names) >= MINIMUM_MEMBERS:
            sets[place].append(frozenset(names))
    for item in listed(session, kind=_CELL, state=facts["domain"]):
        text = json.loads(item.text)
        if _is_about(text, facts):
            sets[text["zone"], text["customer_class"]].append(frozenset(text["pseudonyms"]))
    return sets


def _is_about(text: dict[str, Any], facts: dict[str, str]) -> bool:
    return all(
        datetime.fromisoformat(text[name]) == datetime.fromisoformat(facts[name])
        for name in ("start", "end")
    )


def _cell_entry(request: str, place: Place, names: set[str], facts: dict[str, str]) -> Record:
    zone, customer_class = place
    text = json.dumps(
        {
            "zone": zone,
            "customer_class": customer_class,
            "start": facts["start"],
            "end": facts["end"],
            "pseudonyms": sorted(names),
        }
    )
    name = sm3_hex(json.dumps([request, zone, customer_class]).encode())
    return Record(_CELL, name, name, sm3_hex(text.encode()), facts["domain"], text)
