"""Everything released of a month, as linear algebra: nothing is about fewer than its minimum.

Months are drawn at random: owners, rosters, tariffs, customers with several meters, late rosters,
bills, load curves, corrections and previews of shadow runs in any order over any company. They go
through the real ledger, and every number it would let out is written down as a row over the
unknowns: what each meter point used in each interval, as first read and as corrected. Money is a
row too, with coefficients of its own for each way of billing, and so are a preview's money and its
count of changed bills, with coefficients that no other preview has.

Of some rosters days are sealed, by rosters of their own, and told of before or after their month.
Whoever changed after that has unknowns of its own for what was sealed; of everybody else both are
the same. Who is held back from billing has sealed days and no month, and who joined no days.

Meter points that have the same column in every row cannot be told apart, so a combination of rows
that is zero outside some meter points is zero outside a union of such classes. Every union of fewer
customers than the minimum is tried, for every owner of gateways with its own columns known: a
combination inside it exists if and only if leaving its columns out lowers the rank. Ranks are
exact, modulo a prime.

Registers that sealed questions ask for have other days for each tariff.

In some months cells that are too small are merged over zones and classes. In others bills and load
curves have different minima, and in some one of them is raised on the way. Then, for every number
in turn, no union of fewer customers than that number's minimum may hold more independent
combinations than it did before the number was told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import combinations, count
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlmodel import Session, select

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ReleaseRefusedError
from gridsecure.key_authority.checker import ledger, shadows, told_cells
from gridsecure.key_authority.checker.asked_months import small_parts
from gridsecure.key_authority.checker.asked_questions import look_at_groups
from gridsecure.key_authority.checker.correction_proofs import ProvenCorrection
from gridsecure.key_authority.checker.ledger import Basis, enter
from gridsecure.key_authority.checker.tables import SCHEMA, ReleaseRow, ToldSetRow
from gridsecure.key_authority.checker.told_cells import (
    Prepared,
    prepare_bills,
    prepare_corrections,
    prepare_load_curve,
)
from gridsecure.key_authority.checker.verification import Proven
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import (
    ColumnEntry,
    MergeStep,
    Merging,
    RosterManifest,
    Transcript,
    UploadManifest,
)
from gridsecure.periods import billing_month
from gridsecure.plans import cells
from gridsecure.plans.cells import (
    MEASURES,
    MONEY,
    NO_MEASURES,
    UNMERGED,
    Member,
    Minima,
    Place,
    ToldSet,
)
from gridsecure.plans.execution import RosterData, roster_data
from gridsecure.plans.query_groups import count_groups
from gridsecure.plans.query_measures import AskedMonth, divide_groups
from gridsecure.plans.sealed_days import is_sealed_day
from gridsecure.store.database import open_database, write_session
from gridsecure.store.rows import keep
from gridsecure.store.schema import migrate
from gridsecure.tariffs.tariff import catalogue_tariffs
from tests.grid_simulator import FLAT, NOW, TIERS
from tests.held_policy import FEWEST

PRIME = (1 << 61) - 1
DAYS = 3
PLACES: list[Place] = [("futian", "household"), ("luohu", "household")]
SPREAD: list[Place] = [*PLACES, ("futian", "shop"), ("nanshan", "household")]
MERGING = Merging(
    classes=["*"],
    steps=[
        MergeStep(areas={"south": ["futian", "luohu"], "west": ["nanshan"]}),
        MergeStep(areas={"city": ["*"]}),
        MergeStep(areas={"city": ["*"]}, groups={"every": ["*"]}),
    ],
)
TEXTS = [catalogue_tariffs()[name].read_text(encoding="utf-8") for name in (FLAT, TIERS)]
TARIFFS = {sm3_hex(text.encode()): text for text in TEXTS}
START, END = "2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00"
DOMAIN = "platform/billing/2026"
JULY = billing_month(2026, 7, timezone="Asia/Shanghai")
SEALED = -1
"""The version of readings that were sealed and changed later; all other first readings are 0."""
SEEDS = 40
KINDS = ("bills", "curves")
"""What is released: by month and tariff, or by day."""

Unknown = tuple[str, int, int]
"""Pseudonym, version of its readings, day."""
Upload = tuple[str, RosterData]


@dataclass
class Month:
    """One domain and month: who sits where, and all that was let out of it."""

    random: Random
    zone: AuthorityZone
    owners: str
    rows: list[dict[Unknown, int]] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    billed: dict[str, RosterData] = field(default_factory=dict)
    days: list[RosterData] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    fewest: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, FEWEST))
    merging: Merging = UNMERGED
    merges: int = 0
    told_at: list[int] = field(default_factory=list)
    prices: dict[object, list[int]] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)

    def arrive(self, count: int = 0) -> Upload:
        """A roster of a random owner comes in: a plain one of some meter points, or any."""
        plain = bool(count)
        self._arrive(count)
        if not plain and self.random.random() < 0.6:
            slots = self.uploads[-1][1].roster.slots
            some = (0, 0, 1, min(2, slots), slots // 2, slots - 1, slots)
            changed = self.random.sample(range(slots), self.random.choice(some))
            joined = self.random.choice((0, 0, 0, 1, slots // 2))
            self.seal(changed=changed, joined=joined, held=self.random.choice((0, 0, 0, 1, 15)))
        return self.uploads[-1]

    def seal(self, *, changed: Sequence[int] = (), joined: int = 0, held: int = 0) -> RosterData:
        """Say that days were sealed of the last roster, and whose readings changed since.

        Args:
            joined: So many of its last slots are not in the days.
            held: So many others are, of its first slot's cell.
        """
        digest, data = self.uploads[-1]
        roster = data.roster
        slots = [*range(roster.slots - joined), *[0] * held]
        if not slots:
            return data
        names = roster.pseudonyms[: roster.slots - joined]
        names += [f"{roster.pseudonyms[0]}/held-{number}" for number in range(held)]
        lists = ("zones", "customer_classes", "household_quota_wh", "contracted_va", "counted")
        given = {name: [getattr(roster, name)[slot] for slot in slots] for name in lists}
        own = {"roster_id": f"d{roster.roster_id[1:]}", "pseudonyms": names}
        days = roster.model_copy(update=given | own)
        seated = sorted(slot for slot in changed if slot < roster.slots - joined)
        upload = data.upload.model_copy(update={"changed_slots": seated})
        self.uploads[-1] = (digest, roster_data(roster, upload))
        self.changed |= {roster.pseudonyms[slot] for slot in seated}
        self.members |= {member.name: member for member in cells.roster_members(days)}
        self.days.append(roster_data(days, upload_of(days)))
        return self.days[-1]

    def _arrive(self, count: int) -> None:
        random, number, plain = self.random, len(self.uploads), bool(count)
        count = count or random.choice((1, 2, 14, 15, 16, 20, 30, 40))
        owner = random.choice(self.owners)
        quotas = [0] if plain else random.choice(([0], [0], [0, 100_000]))
        share = (1,) if plain else (1, 1, 0.8)
        counted = [random.random() < random.choice(share) for _ in range(count)]
        zone = random.choice(PLACES)[0] if not plain and random.random() < 0.2 else "futian"
        places: list[Place] = [(zone, "household")] * count
        if self.merging.steps and not plain:
            places = random.choices(SPREAD, weights=(8, 3, 1, 1), k=count)
        roster = RosterManifest(
            roster_id=f"{number:032x}",
            gateway_id=f"gateway-{number}",
            domain=DOMAIN,
            tariff=random.choice(sorted(TARIFFS)[: 1 if plain else None]),
            pseudonyms=[f"{number}-{slot}" for slot in range(count)],
            zones=[place[0] for place in places],
            customer_classes=[place[1] for place in places],
            household_quota_wh=[random.choice(quotas) for _ in range(count)],
            contracted_va=[0] * count,
            owner=owner,
            counted=counted,
        )
        self.members |= {member.name: member for member in cells.roster_members(roster)}
        self.uploads.append((f"upload-{number}", roster_data(roster, upload_of(roster))))

    def move(self, one: Upload, *, slots: Sequence[int]) -> Upload:
        """Corrected books move some that were billed to other names, of which a roster comes in."""
        known = one[1].roster.pseudonyms
        digest, data = self.arrive(len(slots))
        self.twins |= dict(
            zip(data.roster.pseudonyms, (known[slot] for slot in slots), strict=True)
        )
        moved = {"moved_slots": list(range(len(slots)))}
        after = roster_data(data.roster, data.upload.model_copy(update=moved))
        self.uploads[-1] = (digest, after)
        return self.uploads[-1]

    def move_some(self) -> None:
        """Some of a billed roster; what it had is taken back."""
        if self.billed:
            digest, data = one = self.random.choice(sorted(self.billed.items()))
            count = self.random.choice((1, data.roster.slots // 2, data.roster.slots - 1))
            slots = sorted(self.random.sample(range(data.roster.slots), max(count, 1)))
            again = self.move(one, slots=slots)
            self.release_correction([(digest, data)], slots=slots, moved=slots)
            self.release_bills([again])

    def release_bills(self, company: Sequence[Upload] = ()) -> None:
        chosen = company or self._company(self.uploads)
        parts = [proven("bill", [one], claims=[f"bill/{one[0]}"]) for one in chosen]
        minima = self._minima("bills")
        prepared = self._let_out(
            lambda: prepare_bills(self.zone, parts, tariffs=TARIFFS, minima=minima, at=NOW)
        )
        if prepared is None:
            return
        self.billed |= dict(chosen)
        values = [
            (place, name, key, {(name, 0, day): 1 for day in range(DAYS)})
            for _, data in chosen
            for place, name, key in keyed(data)
        ]
        self._write(prepared, values)

    def release_load_curve(self, company: Sequence[Upload] = (), *, day: int | None = None) -> None:
        chosen = company or self._company(self.uploads)
        day = self.random.randrange(DAYS) if day is None else day
        claims = [f"load-curve/{digest}/{day}" for digest, _ in chosen]
        part = proven("load-curve", chosen, claims=claims)
        minima = self._minima("curves")
        prepared = self._let_out(lambda: prepare_load_curve(self.zone, part, minima=minima, at=NOW))
        if prepared is not None:
            values = [
                (place, name, None, {(name, 0, day): 1})
                for _, data in chosen
                for place, name, _ in keyed(data)
            ]
            self._write(prepared, values)

    def release_sealed_day(
        self, company: Sequence[RosterData] = (), *, day: int | None = None
    ) -> None:
        """A day of some rosters as it was sealed, before their month is there or after."""
        named = [(data.roster.roster_id, data) for data in self.days]
        chosen = list(company) or [data for _, data in self._company(named)]
        if not chosen:
            return
        day = self.random.randrange(DAYS) if day is None else day
        start, end = (f"2026-07-{number + 1:02d}T00:00:00+08:00" for number in (day, day + 1))
        sealed = [
            (f"{data.roster.roster_id}-{day}", replace(data, upload=upload, month=JULY))
            for data in chosen
            for upload in [upload_of(data.roster, start=start, end=end)]
        ]
        claims = [f"load-curve/{data.roster.roster_id}/{day}" for data in chosen]
        part = proven("load-curve", sealed, claims=claims)
        minima = self._minima("curves")
        prepared = self._let_out(lambda: prepare_load_curve(self.zone, part, minima=minima, at=NOW))
        if prepared is not None:
            values = [
                (place, name, None, {(name, SEALED if name in self.changed else 0, day): 1})
                for data in chosen
                for place, name, _ in keyed(data)
            ]
            self._write(prepared, values)

    def ask_register(self, company: Sequence[Upload] = ()) -> None:
        """A register's energy, by a sealed question: of each tariff it has another day."""
        chosen = company or self._company(self.uploads)
        datas = [data for _, data in chosen]
        rosters = [data.roster for data in datas]
        rows = [np.zeros(roster.slots, dtype=np.int64) for roster in rosters]
        asked = AskedMonth(("register:peak",), (START, END), {})
        minima = self._minima("bills")
        if not chosen or small_parts(asked, rosters, rows, minima=minima):
            return
        laid: Any = SimpleNamespace(
            content=SimpleNamespace(digest=self.random.randbytes(32).hex()),
            found=count_groups(rosters, rows, groups=1, minima=minima),
            parts=divide_groups(asked, rosters, rows),
            resolution="monthly",
            rows=rows,
            is_squared=False,
        )
        queried: Any = SimpleNamespace(
            by_upload=dict(chosen),
            datas=datas,
            period=ledger.Period.of(datas[0]),
            lists=(),  # no bills are to come
            tariff_texts={},
        )
        with write_session(self.zone.engine) as session:
            found = look_at_groups(session, self.zone, laid, queried)
            if found.withheld:
                return
            enter(session, found.giving, release_id=self._release(session), at=NOW)
        days = {name: day for day, name in enumerate(sorted(TARIFFS))}
        self.rows.append(
            {(name, 0, days[one.tariff]): 1 for one in rosters for name in one.pseudonyms}
        )
        self.told_at.append(minima.least)

    def preview_tariff(self, company: Sequence[Upload] = ()) -> None:
        """What another tariff would change; the command takes a list, an attacker what it likes."""
        chosen = company or self._company(self.uploads)
        tariff = self.random.choice(sorted(TARIFFS))
        parts, values = [], []
        for digest, before in chosen:
            slots = list(range(before.roster.slots))
            roster = before.roster.model_copy(update={"tariff": tariff})
            after = roster_data(
                roster, upload_of(roster).model_copy(update={"corrected_slots": slots})
            )
            version = SimpleNamespace(corrects=None, upload=digest)
            proof = proven("bill", [(digest, after)], claims=())
            parts.append(ProvenCorrection(proof, before, {}, version))
            for (place, who, old), (_, _, new) in zip(keyed(before), keyed(after), strict=True):
                unknowns = {(who, 0, day): 1 for day in range(DAYS)}
                values.append((place, who, (len(self.rows), old, new), unknowns))
        if not parts:
            return
        prepared = self._let_out(lambda: shadows._prepare(self.zone, parts, TARIFFS, at=NOW))
        if prepared is not None:
            for number in ("money", "count"):
                own = [(place, who, (number, key), value) for place, who, key, value in values]
                self._write(prepared, own, energy=False)

    def release_correction(
        self,
        company: Sequence[Upload] = (),
        *,
        slots: Sequence[int] = (),
        moved: Sequence[int] = (),
    ) -> None:
        """Some bills anew, in a new version of everybody's readings.

        Args:
            moved: Slots of each whose days go to another name by corrected books.
        """
        chosen = company or self._company(sorted(self.billed.items()))
        parts, values = [], []
        for digest, before in chosen:
            version = before.upload.revision
            after = corrected(before, digest, self.random, slots)
            gone = sorted({*moved, *before.upload.moved_slots})
            marked = after.upload.model_copy(update={"moved_slots": gone})
            after = roster_data(after.roster, marked)
            name = f"{digest}+"
            claims = [f"bill/{name}", f"corrects/{digest}"]
            proof = proven("rebill", [(name, after)], claims=claims)
            parts.append(ProvenCorrection(proof, before, {}, None))
            old, new = keyed(before), keyed(after)
            for slot in range(after.roster.slots):
                place, who, key = new[slot]
                is_listed = slot in after.upload.corrected_slots
                delta = {
                    (who, revision, day): sign
                    for day in range(DAYS)
                    for revision, sign in ((version, 1), (version - 1, -1))
                }
                if is_listed:
                    values.append((place, who, (old[slot][2], key), delta))
        if not parts:
            return
        prepared = self._let_out(
            lambda: prepare_corrections(
                self.zone, parts, tariffs=TARIFFS, minima=self._minima("bills"), at=NOW
            )
        )
        if prepared is None:
            return
        for digest, _ in chosen:
            del self.billed[digest]
        self.billed |= {part.after.transcript.uploads[0]: part.data for part in parts}
        self._write(prepared, values)

    def _minima(self, kind: str) -> Minima:
        return Minima({"*": dict.fromkeys(MEASURES, self.fewest[kind])}, self.merging)

    def _company(self, known: Sequence[Upload]) -> list[Upload]:
        if not known:
            return []
        size = self.random.choice((1, 2, len(known), len(known)))
        return self.random.sample(list(known), min(size, len(known)))

    def _release(self, session: Session) -> str:
        """A release that the ledger's entries belong to."""
        name = self.random.randbytes(16).hex()
        keep(
            session,
            ReleaseRow(
                release_id=name,
                digest=name,
                message="",
                plan="bill",
                purpose="billing",
                requested_by="",
                start="",
                end="",
                released_at="",
                cells=0,
                suppressed=0,
                at=NOW,
            ),
        )
        return name

    def _let_out(self, prepare: Callable[[], Prepared]) -> Prepared | None:
        try:
            prepared = prepare()
            with write_session(self.zone.engine) as session:
                enter(session, prepared.giving, release_id=self._release(session), at=NOW)
        except ReleaseRefusedError:
            return None
        return prepared

    def _write(
        self,
        prepared: Prepared,
        values: Sequence[tuple[Place, str, object, dict[Unknown, int]]],
        *,
        energy: bool = True,
    ) -> None:
        """One row a cell and measure that is not withheld."""
        into = prepared.merged.into
        parts = prepared.merged.parts()
        for place in {into[place] for place, *_ in values}:
            self.merges += len(parts[place]) > 1 and place in prepared.giving.told
            withheld = prepared.withheld.get(place, NO_MEASURES)
            total: dict[Unknown, int] = {}
            money: dict[Unknown, int] = {}
            for where, _, key, value in values:
                for (who, *when), sign in value.items() if into[where] == place else ():
                    u = (self.twins.get(who, who), *when)
                    total[u] = total.get(u, 0) + sign
                    money[u] = (money.get(u, 0) + self._price(key, u) * sign) % PRIME
            least = prepared.minima.least
            if energy and "energy_wh" not in withheld:
                self.rows.append(total)
                self.told_at.append(least)
            if MONEY not in withheld and any(key is not None for _, _, key, _ in values):
                self.rows.append(money)
                self.told_at.append(least)

    def _price(self, key: object, unknown: Unknown) -> int:
        """A price a day for each way of billing; of a correction, one for each of both."""
        _, version, day = unknown
        one = (key, version)
        if one not in self.prices:
            self.prices[one] = [self.random.randrange(1, PRIME) for _ in range(DAYS)]
        return self.prices[one][day]


def upload_of(roster: RosterManifest, **changes: object) -> UploadManifest:
    column = ColumnEntry(
        quantity="q", parameters="p", key_id="k", unit="Wh", start=START, end=END, high=1,
        digest="d", size=1,
    )  # fmt: skip
    facts = {
        "roster_id": roster.roster_id,
        "gateway_id": roster.gateway_id,
        "start": START,
        "end": END,
        "sequence": 1,
        "estimated_readings": 0,
        "columns": [column],
    }
    return UploadManifest(**(facts | changes))


def corrected(
    before: RosterData, digest: str, random: Random, chosen: Sequence[int] = ()
) -> RosterData:
    """A correction of some slots, or of all under another tariff, at random unless chosen."""
    roster = before.roster
    slots = list(chosen) or list(range(roster.slots))
    if chosen:
        pass
    elif random.random() < 0.3:
        roster = roster.model_copy(update={"tariff": random.choice(sorted(TARIFFS))})
    elif random.random() < 0.6:
        slots = sorted(random.sample(slots, random.randint(1, len(slots))))
    changes = {
        "revision": before.upload.revision + 1,
        "corrects": digest,
        "corrected_slots": slots,
    }
    return roster_data(roster, upload_of(roster, **changes))


def proven(
    plan: str, uploads: Sequence[tuple[str, RosterData]], *, claims: Sequence[str]
) -> Proven:
    transcript = Transcript(
        plan=plan,
        plan_version=1,
        start=START,
        end=END,
        rosters=[data.roster.roster_id for _, data in uploads],
        uploads=[digest for digest, _ in uploads],
        inputs={},
        outputs={},
        seed_commitment=None,
        release="test",
    )
    digest = sm3_hex(transcript.model_dump_json().encode())
    return Proven(transcript, digest, tuple(data for _, data in uploads), {}, tuple(claims))


def keyed(data: RosterData) -> list[tuple[Place, str, object]]:
    """Cell, pseudonym, and everything that could make a bill another function, by slot."""
    roster = data.roster
    return [
        (place, name, (roster.tariff, quota if is_tiered(roster.tariff) else 0))
        for place, name, quota in zip(
            cells.roster_places(roster), roster.pseudonyms, roster.household_quota_wh, strict=True
        )
    ]


def is_tiered(tariff: str) -> bool:
    return tariff == sm3_hex(TEXTS[1].encode())


# --- linear algebra ------------------------------------------------------------------------------


def rank(rows: Sequence[Sequence[int]]) -> int:
    """Rank modulo the prime."""
    left = [list(row) for row in rows]
    found = 0
    for column in range(len(left[0]) if left else 0):
        pivot = next((n for n in range(found, len(left)) if left[n][column]), None)
        if pivot is None:
            continue
        left[found], left[pivot] = left[pivot], left[found]
        inverse = pow(left[found][column], -1, PRIME)
        left[found] = [value * inverse % PRIME for value in left[found]]
        for n in range(found + 1, len(left)):
            factor = left[n][column]
            if factor:
                left[n] = [
                    (a - factor * b) % PRIME for a, b in zip(left[n], left[found], strict=True)
                ]
        found += 1
    return found


def smallest_told(month: Month, *, known_to: str) -> int | None:
    """Fewest customers that a combination of all rows is about, if below the minimum.

    Args:
        month: What was let out.
        known_to: An owner, who knows its own meter points.
    """
    kinds: dict[tuple[object, ...], list[Member]] = defaultdict(list)
    for name, member in month.members.items():
        column = tuple(
            tuple(sorted(((v, d), c) for (who, v, d), c in row.items() if who == name))
            for row in month.rows
        )
        if member.owner != known_to and any(column):
            kinds[column].append(member)
    unknowns = {kind: sorted({u for row in kind for u, _ in row}) for kind in kinds}
    whole = [
        [dict(kind[n]).get(u, 0) for kind in kinds for u in unknowns[kind]]
        for n in range(len(month.rows))
    ]
    full = rank(whole)
    customers = {kind: sum(m.counts for m in found) for kind, found in kinds.items()}
    small = [kind for kind in kinds if customers[kind] < FEWEST]
    for size in range(1, len(small) + 1):
        for union in combinations(small, size):
            total = sum(customers[kind] for kind in union)
            if total >= FEWEST:
                continue
            outside = [
                [
                    dict(kind[n]).get(u, 0)
                    for kind in kinds
                    if kind not in union
                    for u in unknowns[kind]
                ]
                for n in range(len(month.rows))
            ]
            if rank(outside) < full:
                return total
    return None


def least_new(month: Month, *, known_to: str) -> tuple[int, int] | None:
    """The first number that makes a combination possible about fewer customers than its minimum.

    Args:
        known_to: An owner, who knows its own meter points.

    Returns:
        The number's place and how many customers the combination is about; None if there is none.
    """
    columns: dict[str, list[dict[tuple[int, int], int]]] = defaultdict(list)
    for n, row in enumerate(month.rows):
        for (who, version, day), factor in row.items():
            columns[who] += [{} for _ in range(n + 1 - len(columns[who]))]
            columns[who][n][version, day] = factor
    others = [m for name, m in month.members.items() if m.owner != known_to and name in columns]
    for last, minimum in enumerate(month.told_at):
        kinds: dict[tuple[tuple[object, ...], ...], int] = defaultdict(int)
        for member in others:
            own = columns[member.name][: last + 1]
            kind = tuple(tuple(sorted(one.items())) for one in own)
            kinds[kind + ((),) * (last + 1 - len(own))] += int(member.counts)
        found = _new_within(list(kinds.items()), minimum)
        if found is not None:
            return last, found
    return None


def _new_within(kinds: Sequence[tuple[Any, int]], minimum: int) -> int | None:
    """How many customers a combination is about that the last row makes possible, if too few."""

    def dimension(rows: int, inside: Sequence[int]) -> int:
        """How many independent combinations of the first rows are zero outside some kinds."""
        width = [sorted({u for row in kind for u, _ in row}) for kind, _ in kinds]

        def spread(chosen: Iterable[int]) -> list[list[int]]:
            chosen = list(chosen)
            return [
                [dict(kinds[k][0][n]).get(u, 0) for k in chosen for u in width[k]]
                for n in range(rows)
            ]

        every = range(len(kinds))
        return rank(spread(every)) - rank(spread(k for k in every if k not in inside))

    rows = len(kinds[0][0]) if kinds else 0
    small = [k for k, (kind, count) in enumerate(kinds) if count < minimum and any(kind)]
    for size in range(1, len(small) + 1):
        for union in combinations(small, size):
            total = sum(kinds[k][1] for k in union)
            if total < minimum and dimension(rows, union) > dimension(rows - 1, union):
                return total
    return None


@contextmanager
def begun(
    seed: int, folder: Path, *, owners: str = "", kind: type[Month] = Month
) -> Iterator[Month]:
    """A month in which nothing has happened yet."""
    random = Random(seed)  # noqa: S311 - months are drawn at random to be drawn again
    engine = open_database(f"sqlite:///{folder / f'{seed}.db'}")
    migrate(engine, SCHEMA)
    own = owners or random.choice(("a", "aaab", "abc"))
    made = kind(random, SimpleNamespace(engine=engine), own)
    # What a zone says of previews; the others are asked for by what calls them.
    made.zone.find_minima = lambda _purpose, *, resolution: made._minima("bills")
    yield made
    engine.dispose()


def simulated(
    seed: int,
    folder: Path,
    *,
    fewest: Sequence[Mapping[str, int]] = (),
    merging: Merging = UNMERGED,
) -> Month:
    """A month at random, from its seed.

    Args:
        fewest: Minima by kind of release: those it begins with, and those that follow.
        merging: How cells that are too small are merged.
    """
    with begun(seed, folder) as month:
        month.merging = merging
        if not fewest:
            fill(month)
        for own in fewest:
            month.fewest = own
            fill(month, steps=10 // len(fewest))
    return month


def fill(month: Month, *, steps: int = 10) -> None:
    """Rosters come in, and things are released, at random."""
    random, count = month.random, steps
    steps = (
        month.release_bills,
        month.release_load_curve,
        month.release_sealed_day,
        month.release_sealed_day,
        month.release_correction,
        month.preview_tariff,
    )
    for _ in range(random.randint(1, 4)):
        month.arrive()
    for _ in range(count):
        random.choice((month.arrive, *steps, *steps))()


UNEQUAL: dict[str, tuple[dict[str, int], ...]] = {
    "curves of more": ({"bills": 15, "curves": 30},),
    "bills of more": ({"bills": 30, "curves": 5},),
    "raised": ({"bills": 15, "curves": 15}, {"bills": 30, "curves": 30}),
    "curves raised": ({"bills": 15, "curves": 15}, {"bills": 15, "curves": 40}),
    "lowered": ({"bills": 30, "curves": 30}, {"bills": 15, "curves": 15}),
}


def leaks_unequal(
    folder: Path, fewest: Sequence[Mapping[str, int]], seeds: Iterable[int]
) -> Iterator[int]:
    for seed in seeds:
        month = simulated(seed, folder, fewest=fewest)
        if any(least_new(month, known_to=owner) is not None for owner in ("a", "b", "c", "")):
            yield seed


@pytest.mark.parametrize("fewest", UNEQUAL)
def test_no_number_makes_one_possible_about_fewer_than_its_own_minimum(
    fewest: str, tmp_path: Path
) -> None:
    assert list(leaks_unequal(tmp_path, UNEQUAL[fewest], range(10))) == []


def _own_alone(wanted: Sequence[ToldSet], *, told: Iterable[ToldSet], **_how: bool) -> bool:
    """Without what hangs together: an atom is held to the sets that it lies in."""
    return TELL([ToldSet(one.members, 0) for one in wanted], told=told) and all(
        ENOUGH(one.members, minimum=one.minimum) for one in wanted
    )


def _of_smallest(wanted: Sequence[ToldSet], *, told: Iterable[ToldSet], **_how: bool) -> bool:
    """By one minimum for all: the smallest."""
    least = min(one.minimum for one in (*wanted, *told)) if wanted else 0
    each = [[ToldSet(one.members, least) for one in some] for some in (wanted, list(told))]
    return TELL(each[0], told=each[1])


@pytest.mark.parametrize(
    ("rule", "fewest", "seeds"),
    [(_own_alone, "curves raised", range(20, 30)), (_of_smallest, "raised", range(10))],
)
def test_without_either_rule_of_unequal_minima_a_month_tells_too_much(
    rule: Callable[..., bool],
    fewest: str,
    seeds: range,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for place in (cells, ledger):
        monkeypatch.setattr(place, "may_tell", rule)
    found = leaks_unequal(tmp_path, UNEQUAL[fewest], seeds)
    assert next(found, None) is not None


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Month]:
    """The first months by their seeds, under the product's rules."""
    folder = tmp_path_factory.mktemp("months")
    return {seed: simulated(seed, folder) for seed in range(SEEDS)}


def leaks(months: Iterable[tuple[int, Month]]) -> Iterator[int]:
    """Seeds of months that told of fewer customers than the minimum."""
    for seed, month in months:
        if any(smallest_told(month, known_to=owner) is not None for owner in ("a", "b", "c", "")):
            yield seed


def test_nothing_released_in_any_month_is_about_fewer_than_the_minimum(
    months: dict[int, Month],
) -> None:
    assert list(leaks(months.items())) == []


@pytest.mark.slow
def test_nothing_released_in_many_months_is_about_fewer_than_the_minimum(tmp_path: Path) -> None:
    drawn = ((seed, simulated(seed, tmp_path)) for seed in range(SEEDS, 1500))
    assert list(leaks(drawn)) == []


def test_months_are_released_at_all(months: dict[int, Month]) -> None:
    rows = [len(month.rows) for month in months.values()]
    assert sum(count > 2 for count in rows) > SEEDS // 4


# --- merged cells --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def merged_months(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Month]:
    """Months of several zones and classes, in which cells that are too small are merged."""
    folder = tmp_path_factory.mktemp("merged-months")
    return {seed: simulated(seed, folder, merging=MERGING) for seed in range(1000, 1000 + SEEDS)}


def test_nothing_released_of_merged_cells_is_about_fewer_than_the_minimum(
    merged_months: dict[int, Month],
) -> None:
    assert list(leaks(merged_months.items())) == []
    assert sum(month.merges > 0 for month in merged_months.values()) > SEEDS // 4


def test_compared_by_name_alone_merged_cells_tell_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merged cell has another name than its zones: by names, nothing of them is met again."""
    compare, read = ledger._compare, ledger.read_told
    named: set[tuple[str, str]] = set()

    def read_named(session: Session, *given: Any) -> list[Any]:
        named.clear()
        named.update((row.zone, row.customer_class) for row in session.exec(select(ToldSetRow)))
        return read(session, *given)

    def by_name(*given: Any) -> list[Any]:
        found = compare(*given)
        for company in found:
            if named.isdisjoint(company.places):
                company.told.clear()
        return found

    monkeypatch.setattr(ledger, "read_told", read_named)
    monkeypatch.setattr(ledger, "_compare", by_name)
    drawn = ((n, simulated(n, tmp_path, merging=MERGING)) for n in range(1000, 1400))
    assert next(leaks(drawn), None) is not None


def test_a_merge_past_the_ledger_is_found(month: Month) -> None:
    month.merging = MERGING
    few = month.arrive(18)
    places = ["futian"] * 9 + ["luohu"] * 9
    few = month.uploads[-1] = (few[0], in_zones(few[1], places))
    assert new_rows(month, lambda: month.release_bills([few])) == [18, 18]
    more = month.arrive(20)
    more = month.uploads[-1] = (more[0], in_zones(more[1], ["luohu"] * 20))
    # With the next roster Luohu has enough for itself: but its nine were told of with the others.
    assert new_rows(month, lambda: month.release_load_curve([few, more], day=0)) == []
    assert new_rows(month, lambda: month.release_bills([more])) == [20, 20]
    assert is_clean(month)
    names = [*few[1].roster.pseudonyms[9:], *more[1].roster.pseudonyms]
    month.rows.append({(who, 0, day): 1 for who in names for day in range(DAYS)})
    assert smallest_told(month, known_to="") == 9


def in_zones(data: RosterData, zones: Sequence[str]) -> RosterData:
    roster = data.roster.model_copy(update={"zones": list(zones)})
    return roster_data(roster, data.upload)


# --- corrected books ----------------------------------------------------------------------------


def moved_months(folder: Path, seeds: Iterable[int]) -> Iterator[tuple[int, Month]]:
    """Months whose books are corrected, so that some are billed anew under other names."""
    for seed in seeds:
        with begun(seed, folder, owners="a") as month:
            month.release_bills([month.arrive(16)])
            for _ in range(2):
                month.move_some()
                fill(month, steps=2)
        yield seed, month


def test_nothing_told_of_months_with_corrected_books_is_about_fewer_than_the_minimum(
    tmp_path: Path,
) -> None:
    made = dict(moved_months(tmp_path, range(8)))
    assert list(leaks(made.items())) == []
    assert all(month.twins and len(month.rows) >= 2 for month in made.values())


def test_where_other_names_are_other_members_corrected_books_tell_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_cells, "_moved_cells", lambda _datas, *, merged: set())
    assert next(leaks(moved_months(tmp_path, range(50))), None) is not None


# --- registers -----------------------------------------------------------------------------------


def asked_months(folder: Path, seeds: Iterable[int]) -> Iterator[tuple[int, Month]]:
    """Months in which registers are asked for, of tariffs whose hours are others."""
    for seed in seeds:
        with begun(seed, folder) as month:
            fill(month, steps=2)
            for _ in range(4):
                month.arrive()
                month.ask_register()
                month.release_load_curve()
        yield seed, month


def test_nothing_told_of_registers_is_about_fewer_than_the_minimum(tmp_path: Path) -> None:
    made = dict(asked_months(tmp_path, range(4)))
    assert list(leaks(made.items())) == []


def test_as_one_function_of_all_tariffs_registers_tell_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty homes of one tariff, and one meter point of another; then each day of all of them."""

    numbers = count()

    def asked() -> Month:
        with begun(next(numbers), tmp_path, owners="a") as month:
            homes, (digest, one) = month.arrive(40), month.arrive(1)
            roster = one.roster.model_copy(update={"tariff": max(TARIFFS)})
            every = [homes, (digest, roster_data(roster, one.upload))]
            month.release_load_curve(every, day=0)
            month.ask_register(every)
            return month

    assert smallest_told(asked(), known_to="") is None
    monkeypatch.setattr(AskedMonth, "keys", lambda _asked, roster: [None] * roster.slots)
    assert smallest_told(asked(), known_to="") == 1


# --- late rosters --------------------------------------------------------------------------------


@pytest.fixture
def month(tmp_path: Path) -> Iterator[Month]:
    """A month of one utility, in which nothing has happened yet."""
    with begun(0, tmp_path, owners="a") as made:
        yield made


def new_rows(month: Month, release: Callable[[], None]) -> list[int]:
    """How many meter points each number is about that a release lets out."""
    before = len(month.rows)
    release()
    return [len({who for who, _, _ in row}) for row in month.rows[before:]]


def is_clean(month: Month) -> bool:
    return all(smallest_told(month, known_to=owner) is None for owner in ("a", ""))


def test_late_rosters_are_billed_alone_or_with_the_next_and_nothing_is_about_few(
    month: Month,
) -> None:
    first, late = month.arrive(40), month.arrive(20)
    few, more = month.arrive(3), month.arrive(16)
    # On time: a tariff is tried, the list is billed, asked about, and half of it corrected.
    assert new_rows(month, lambda: month.preview_tariff([first])) == [40, 40]
    assert new_rows(month, lambda: month.release_bills([first])) == [40, 40]
    assert new_rows(month, lambda: month.release_load_curve([first], day=0)) == [40]
    half = range(20)
    assert new_rows(month, lambda: month.release_correction([first], slots=half)) == [20, 20]
    # Late, alone; and one too small to be told of, with the next.
    assert new_rows(month, lambda: month.release_bills([late])) == [20, 20]
    assert new_rows(month, lambda: month.release_bills([few, more])) == [19, 19]
    assert {digest for digest, _ in (late, few, more)} <= set(month.billed)
    assert new_rows(month, lambda: month.preview_tariff([late])) == [20, 20]
    every = [first, late, few, more]
    assert new_rows(month, lambda: month.release_load_curve(every, day=1)) == [79]
    assert new_rows(month, lambda: month.preview_tariff(every)) == [79, 79]
    assert is_clean(month)
    # What would tell the three apart is withheld, whatever it is.
    for company in ([more], [few], [first, few], [first, late, more]):
        assert new_rows(month, lambda one=company: month.preview_tariff(one)) == []
        assert new_rows(month, lambda one=company: month.release_load_curve(one, day=2)) == []
    assert is_clean(month)


def test_a_release_past_the_ledger_is_found(month: Month) -> None:
    first, few = month.arrive(40), month.arrive(3)
    month.release_bills([first])
    month.release_bills([few])
    assert is_clean(month)
    assert new_rows(month, lambda: month.preview_tariff([first, few])) == []
    names = [*first[1].roster.pseudonyms, *few[1].roster.pseudonyms]
    planted = {(who, 0, day): 1 for who in names for day in range(DAYS)}
    month.rows.append(planted)
    assert smallest_told(month, known_to="") == 3
    month.rows[-1] = {unknown: 1 for unknown in planted if unknown[0] != names[0]}
    assert smallest_told(month, known_to="") == 4  # one of the first, and the three
    month.rows[-1] = {u: c for u, c in planted.items() if u[0] in names[1:40]}
    assert smallest_told(month, known_to="") == 1


def test_a_preview_that_the_ledger_forgot_would_be_found(
    month: Month, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = shadows._prepare

    def forgotten(*given: Any, **named: Any) -> Prepared:
        prepared = prepare(*given, **named)
        return replace(prepared, giving=replace(prepared.giving, told={}))

    first, few = month.arrive(40), month.arrive(3)
    monkeypatch.setattr(shadows, "_prepare", forgotten)
    month.preview_tariff([first])
    assert new_rows(month, lambda: month.release_bills([first, few])) == [43, 43]
    assert smallest_told(month, known_to="") == 3


def by_size(members: Sequence[Member], *, minimum: int) -> bool:
    return sum(m.counts for m in members) >= minimum


def by_meter_points(members: Sequence[Member], *, minimum: int) -> bool:
    every = [Member(m.name, m.owner, True) for m in members]
    return ENOUGH(every, minimum=minimum)


ENOUGH, TELL, SETS = cells.is_enough, cells.may_tell, cells.cell_sets


def _unchanged(datas: Iterable[RosterData]) -> Basis:
    return Basis(by_day=any(is_sealed_day(data.upload) for data in datas))


TAKEN_OUT: dict[str, tuple[object, str, object]] = {
    "owners": (cells, "is_enough", by_size),
    "customers": (cells, "is_enough", by_meter_points),
    "what was told before": (cells, "may_tell", lambda wanted, told, **_how: TELL(wanted, told=[])),
    "who changed": (Basis, "of", staticmethod(_unchanged)),
    "parts of money": (
        told_cells,
        "cell_sets",
        lambda rows, into: SETS(((place, member, "one") for place, member, _ in rows), into=into),
    ),
}


@pytest.mark.parametrize("rule", TAKEN_OUT)
def test_without_any_one_rule_a_month_tells_too_much(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, name, replacement = TAKEN_OUT[rule]
    monkeypatch.setattr(target, name, replacement)
    if name == "may_tell":
        monkeypatch.setattr(ledger, "may_tell", replacement)
    drawn = ((seed, simulated(seed, tmp_path)) for seed in range(400))
    assert next(leaks(drawn), None) is not None
