"""What a gateway keeps of the days it sealed: the plan of each, and what was sealed, slot by slot.

A plan never changes, and neither do the energies beside it: the column is made from them, so a day
that was killed halfway is finished with the very same. When the month is billed, they tell whose
readings changed since. They are plaintext, for the owner's eyes, and never leave the gateway.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlmodel import col, select

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InvalidReadingsError, StorageError
from gridsecure.gateway.agent_records import recall_members
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.gateway.outbox import sealed_name
from gridsecure.gateway.private_files import private_folder, write_private
from gridsecure.gateway.roster_records import load_roster
from gridsecure.gateway.rosters import Roster
from gridsecure.gateway.tables import SealedDayRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import RosterManifest
from gridsecure.periods import BillingPeriod
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find, keep

_WHAT: Final = "The energies of a sealed day"

DayEnergies = Mapping[str, NDArray[np.int64]]
"""Roster id -> energies [slots, intervals] in Wh."""


@dataclass(frozen=True, slots=True)
class DayPlan:
    """What is fixed before a day is encrypted.

    Args:
        day: YYYY-MM-DD, local.
        start: Its start, ISO 8601.
        end: Its end, exclusive.
        rosters: Ids of its rosters.
        estimated: Roster id -> readings of its meter points that are estimates.
        silent: Roster id -> slots without a complete day, or beyond the bound of their class.
        counts: The report as far as it is known.
    """

    day: str
    start: str
    end: str
    rosters: tuple[str, ...]
    estimated: Mapping[str, int]
    silent: Mapping[str, list[int]]
    counts: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the outbox of what goes out."""
        return tuple(sealed_name(roster, self.day) for roster in self.rosters)


def find_day(zone: GatewayZone, day: str) -> DayPlan | None:
    """The plan of a day, or None while it is not fixed."""
    with read_session(zone.engine) as session:
        row = find(session, SealedDayRow, day=day)
    return None if row is None else _read_plan(row)


def list_days(zone: GatewayZone, month: str) -> list[DayPlan]:
    """The plans of a month's days, in their order.

    Args:
        month: YYYY-MM.
    """
    days = select(SealedDayRow).where(SealedDayRow.month == month).order_by(col(SealedDayRow.day))
    with read_session(zone.engine) as session:
        return [_read_plan(row) for row in session.exec(days)]


def begun_days(zone: GatewayZone, month: str) -> list[str]:
    """The days of a month that are sealed, or that somebody tried to seal, in their order."""
    folder = zone.folder / "months" / month / "days"
    tried = {path.name for path in folder.glob("????-??-??")}
    return sorted(tried | {plan.day for plan in list_days(zone, month)})


def fix_day(zone: GatewayZone, plan: DayPlan, energies: DayEnergies, *, at: datetime) -> None:
    """Keep what is sealed of a day, and then its plan; the plan again changes nothing.

    Raises:
        ConflictError: Another plan is kept.
        StorageError: The disk or database could not take it.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **energies)
    data = buffer.getvalue()
    write_private(
        private_folder(day_folder(zone, plan.day)) / _file(sm3_hex(data)), [data], what=_WHAT
    )
    document = json.dumps(asdict(plan) | {"energies": sm3_hex(data)}, sort_keys=True)
    row = SealedDayRow(
        day=plan.day,
        month=zone.month_of(plan.day),
        digest=sm3_hex(document.encode()),
        document=document,
        at=at,
    )
    with write_session(zone.engine) as session:
        keep(session, row)


def load_sealed(zone: GatewayZone, day: str) -> DayEnergies:
    """What was sealed of a day that is fixed.

    Raises:
        StorageError: It is gone or was altered (`storage.read`).
    """
    with read_session(zone.engine) as session:
        row = find(session, SealedDayRow, day=day)
    digest = "" if row is None else json.loads(row.document)["energies"]
    try:
        data = (day_folder(zone, day) / _file(digest)).read_bytes()
    except OSError as error:
        raise _lost() from error
    if sm3_hex(data) != digest:
        raise _lost()
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


@dataclass(frozen=True, slots=True, eq=False)
class SealedMonth:
    """What was sealed of a month, and of whom.

    Args:
        plans: Its days.
        rosters: Their rosters.
    """

    zone: GatewayZone
    plans: tuple[DayPlan, ...]
    rosters: tuple[Roster, ...]
    _places: Mapping[str, tuple[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        places = {
            name: (roster.manifest.roster_id, slot)
            for roster in self.rosters
            for slot, name in enumerate(roster.meter_point_ids)
        }
        object.__setattr__(self, "_places", places)

    @property
    def names(self) -> frozenset[str]:
        """The meter points that are sealed by day."""
        return frozenset(self._places)

    def days_of(self, roster: Roster) -> frozenset[str]:
        """The days of which a roster's intervals were sealed; rosters are whole in this."""
        if self._places.keys().isdisjoint(roster.meter_point_ids):
            return frozenset()
        return frozenset(plan.day for plan in self.plans)

    def changed_slots(self, roster: Roster, energies: IntervalEnergies) -> tuple[int, ...]:
        """The slots of a month's roster whose readings are not those that were sealed.

        Args:
            energies: The energies that its bills are of, of the roster's meter points at least.
        """
        seated = [
            (slot, *self._places[name])
            for slot, name in enumerate(roster.meter_point_ids)
            if name in self._places
        ]
        own = energies.of(roster.meter_point_ids)
        changed: set[int] = set()
        for plan in self.plans if seated else ():
            sealed = load_sealed(self.zone, plan.day)
            period = BillingPeriod(*map(datetime.fromisoformat, (plan.start, plan.end)))
            for roster_id in {place[1] for place in seated}:
                here = [(slot, at) for slot, where, at in seated if where == roster_id]
                slots, places = (np.array(part) for part in zip(*here, strict=True))
                differs = _differs(own, slots, sealed[roster_id][places], period)
                changed.update(slots[differs].tolist())
        return tuple(sorted(changed))


def find_sealed(zone: GatewayZone, month: str) -> SealedMonth:
    """What was sealed of a month; nothing, where no day was."""
    plans = tuple(list_days(zone, month))
    ids = sorted({roster for plan in plans for roster in plan.rosters})
    manifests = [RosterManifest.parse(load_roster(zone, name).body) for name in ids]
    names: dict[str, str] = {}
    if manifests:
        members = recall_members(zone, zone.year_of(month))
        names = {member.billing: name for name, member in members.items()}
    rosters = tuple(
        Roster(manifest, tuple(names[subject] for subject in manifest.pseudonyms))
        for manifest in manifests
    )
    return SealedMonth(zone, plans, rosters)


def day_folder(zone: GatewayZone, day: str) -> Path:
    """Where everything about a day lies.

    Raises:
        InputError: Not a day (`day.format`, `month.year`); such a text never becomes part of a
            path.
    """
    return zone.folder / "months" / zone.month_of(day) / "days" / day


def _differs(
    own: IntervalEnergies,
    slots: NDArray[np.int64],
    sealed: NDArray[np.int64],
    period: BillingPeriod,
) -> NDArray[np.bool_]:
    """Which slots have other energies in a day than were sealed; all, on another grid."""
    step = pd.Timedelta((period.end - period.start) / sealed.shape[1])
    try:
        on_grid = own.on_grid(step)
    except InvalidReadingsError:
        return np.ones(len(slots), dtype=bool)
    start, end = pd.Timestamp(period.start), pd.Timestamp(period.end)
    within = (on_grid.starts >= start) & (on_grid.starts < end)
    found = on_grid.energy_wh[slots][:, within]
    differs: NDArray[np.bool_] = (found != sealed).any(axis=1)
    return differs


def _file(digest: str) -> str:
    return f"energies-{digest[:32]}.npz"


def _read_plan(row: SealedDayRow) -> DayPlan:
    fields: dict[str, Any] = json.loads(row.document)
    del fields["energies"]
    return DayPlan(rosters=tuple(fields.pop("rosters")), **fields)


def _lost() -> StorageError:
    return StorageError(
        "What was sealed of a day is gone from the gateway's folder, or was altered.",
        reason="storage.read",
        remedy="Restore the folder from its backup: bills need to know whose readings changed.",
    )
