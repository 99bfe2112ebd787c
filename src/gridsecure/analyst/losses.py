"""Losses: energy supplied to zones, as its owner states it, less what was released of them.

Zones that a released group joins are one area, and an area has a loss only if every group of it is
shown in full. So nothing is told that the release does not tell, whatever is supplied.

Supply is the reader's own table; it is kept nowhere.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

from gridsecure.analyst.releases import Release
from gridsecure.analyst.reports import energy_kwh
from gridsecure.errors import InputError
from gridsecure.plans.cells import ENERGY, Place

_LONGEST: Final = 1 << 20
_MOST_BYTES: Final = 4 * _LONGEST
_NEEDED: Final = ("zone", "energy_kwh")
_TIMES: Final = ("start", "end")
_LARGEST: Final = Decimal(10) ** 12
_RATIO: Final = Decimal("0.00001")


@dataclass(frozen=True, slots=True)
class AreaLoss:
    """Zones that are told together, and what was lost on the way to them.

    Args:
        zones: In order of their names.
        supplied_kwh: As stated; None if it is not stated for all of them.
        released_kwh: Energy of their groups; None unless all are shown in full.
        withheld: Groups of which no energy was released.
    """

    zones: tuple[str, ...]
    supplied_kwh: Decimal | None
    released_kwh: Decimal | None
    withheld: int

    @property
    def lost_kwh(self) -> Decimal | None:
        """What was supplied and not taken; None if one of the two is not known."""
        if self.supplied_kwh is None or self.released_kwh is None:
            return None
        return self.supplied_kwh - self.released_kwh

    @property
    def ratio(self) -> Decimal | None:
        """The lost part of what was supplied."""
        if self.lost_kwh is None or not self.supplied_kwh:
            return None
        return (self.lost_kwh / self.supplied_kwh).quantize(_RATIO, rounding=ROUND_HALF_UP)


def decode_supply(content: bytes) -> str:
    """The text of a file with energy supplied, in UTF-8 or in GB 18030.

    Raises:
        InputError: It is neither, or too long (`losses.table`).
    """
    if len(content) > _MOST_BYTES:
        raise _refused("The file has more than four million bytes.", "table")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _refused("The file is no text in UTF-8 or GB 18030.", "table")


def read_supply(
    text: str, *, start: datetime, end: datetime, names: Mapping[str, str]
) -> dict[str, Decimal]:
    """Read energy supplied by zone [kWh], added up over feeders and intervals.

    Args:
        text: CSV or tab-separated, with the columns `zone` and `energy_kwh`, and perhaps `start`
            and `end`, ISO 8601 with offset.
        start: Start of the period that rows with times have to lie in.
        end: Its end, exclusive.
        names: What a zone may be called -> its name in releases.

    Raises:
        InputError: Another table (`losses.table`), a zone that the release does not have
            (`losses.zone`), no energy (`losses.energy`), or a row outside the period
            (`losses.period`).
    """
    if len(text) > _LONGEST:
        raise _refused("The table has more than a million characters.", "table")
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.DictReader(io.StringIO(text.strip().lstrip("\ufeff")), delimiter=delimiter)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise _refused("A line of the table breaks off within a cell.", "table") from error
    if not set(_NEEDED) <= set(reader.fieldnames or ()):
        raise _refused("The table has no columns zone and energy_kwh.", "table")
    found: dict[str, Decimal] = {}
    for number, row in enumerate(rows, 2):
        zone = names.get((row["zone"] or "").strip())
        if zone is None:
            raise _refused(f"Line {number} names a zone that the release does not have.", "zone")
        _check_times(row, number, start=start, end=end)
        found[zone] = found.get(zone, Decimal(0)) + _read_energy(row["energy_kwh"], number)
    return found


def _read_energy(text: str | None, number: int) -> Decimal:
    try:
        energy = Decimal((text or "").strip())
    except InvalidOperation:
        energy = Decimal(-1)
    if not energy.is_finite() or not 0 <= energy < _LARGEST:
        raise _refused(f"Line {number} has no energy in kWh.", "energy")
    return energy


def _check_times(
    row: Mapping[str, str | None], number: int, *, start: datetime, end: datetime
) -> None:
    stated = [(row.get(name) or "").strip() for name in _TIMES]
    if not any(stated):
        return
    try:
        first, last = map(datetime.fromisoformat, stated)
        inside = start <= first < last <= end
    except (ValueError, TypeError):  # no time, or one without an offset
        inside = False
    if not inside:
        raise _refused(f"Line {number} does not lie in the period of the release.", "period")


def group_energies(release: Release) -> dict[tuple[Place, ...], Decimal | None]:
    """Energy of each group over the release's period [kWh]; None if a part of it is withheld."""
    found: dict[tuple[Place, ...], Decimal | None] = {}
    for cell in release.cells:
        if cell.measure != ENERGY:
            continue
        before = found.get(cell.parts, Decimal(0))
        known = None if cell.value is None or before is None else before + energy_kwh(cell.value)
        found[cell.parts] = known
    return found


def compute_losses(
    energies: Mapping[tuple[Place, ...], Decimal | None], supply: Mapping[str, Decimal]
) -> tuple[AreaLoss, ...]:
    """The loss of each area, in order of its zones.

    Args:
        energies: As `group_energies` gives them.
        supply: As `read_supply` gives it.
    """
    areas = _join_zones(frozenset(zone for zone, _ in parts) for parts in energies)
    losses = []
    for zones in sorted(tuple(sorted(area)) for area in areas):
        own = [energy for parts, energy in energies.items() if parts[0][0] in zones]
        stated = [supply.get(zone) for zone in zones]
        losses.append(
            AreaLoss(
                zones,
                _sum_known(stated),
                _sum_known(own),
                sum(energy is None for energy in own),
            )
        )
    return tuple(losses)


def _join_zones(groups: Iterable[frozenset[str]]) -> list[set[str]]:
    """Sets of zones of which no group lies in two."""
    areas: list[set[str]] = []
    for zones in groups:
        touched = [area for area in areas if area & zones]
        areas = [area for area in areas if not area & zones]
        areas.append(set(zones).union(*touched))
    return areas


def _sum_known(values: Iterable[Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _refused(what: str, code: str) -> InputError:
    return InputError(
        what,
        reason=f"losses.{code}",
        remedy="Give columns zone and energy_kwh, and perhaps start and end within the period.",
    )
