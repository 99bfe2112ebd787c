"""Corrections of a simulated grid: real readings changed, settled, encrypted and signed anew.

readings = changed(grid, grid.readings, upload, slots=[3], add_wh=1000)
second = correction(grid, upload, readings=readings, slots=[3])
grid.deliver(second)
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gridsecure.billing.bills import Bills, compute_bills
from gridsecure.billing.settlements import settle
from gridsecure.compute import intake
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway.packing import pack_settlements
from gridsecure.gateway.rosters import Roster
from gridsecure.messages import UploadManifest
from tests.grid_simulator import HOUR, GridSimulator, GridUpload

CHEAPER = ('rate = "0.69986875"', 'rate = "0.6"')
"""An edit of the flat tariff."""


def changed(
    grid: GridSimulator,
    readings: pd.DataFrame,
    upload: GridUpload,
    *,
    slots: Sequence[int],
    add_wh: int = 1000,
) -> pd.DataFrame:
    """Readings in which the first interval of some slots' meter points says something else."""
    names = [upload.roster.meter_point_ids[slot] for slot in slots]
    first = readings["start"] == readings["start"].min()
    wrong = first & readings["meter_point_id"].isin(names)
    assert wrong.sum() == len(slots)
    energy = readings["energy_wh"].where(~wrong, readings["energy_wh"] + add_wh)
    return readings.assign(energy_wh=energy)


def correction(
    grid: GridSimulator,
    upload: GridUpload,
    *,
    readings: pd.DataFrame,
    slots: Sequence[int],
    roster: Roster | None = None,
    **changes: object,
) -> GridUpload:
    """An upload that corrects another.

    Args:
        grid: The grid.
        upload: What it corrects.
        readings: The readings as they now are.
        slots: Slots it says were corrected.
        roster: Another roster of the same meter points, for another tariff.
        changes: Fields of the manifest to set to something else, unchecked.
    """
    seats = roster or upload.roster
    tariff = grid.tariff(seats)
    own = readings[readings["meter_point_id"].isin(seats.meter_point_ids)]
    keys = {name: key_set.public for name, key_set in grid.keys.secret.items()}
    columns = list(
        pack_settlements(
            settle(own, tariff=tariff, interval=HOUR),
            roster=seats,
            tariff=tariff,
            period=grid.period,
            keys=keys,
        )
    )
    grid.sequence += 1
    manifest = UploadManifest(
        roster_id=seats.manifest.roster_id,
        gateway_id=seats.manifest.gateway_id,
        start=grid.period.start.isoformat(),
        end=grid.period.end.isoformat(),
        sequence=grid.sequence,
        estimated_readings=0,
        columns=[column.entry for column in columns],
        revision=upload.manifest.revision + 1,
        corrects=upload.upload_id,
        corrected_slots=list(slots),
    ).model_copy(update=changes)
    objects = {column.entry.digest: column.data for column in columns}
    return GridUpload(seats, manifest, grid.sign(manifest), objects)


def retariffed(grid: GridSimulator, roster: Roster, *, change: tuple[str, str]) -> Roster:
    """The same meter points in the same slots under an edited tariff, known to the platform."""
    text = next(
        text
        for text in grid.tariff_texts.values()
        if sm3_hex(text.encode()) == roster.manifest.tariff
    )
    assert change[0] in text
    edited = text.replace(*change)
    grid.tariff_texts[f"edited {sm3_hex(edited.encode())}"] = edited
    digest = intake.install_tariff(grid.platform_zone, edited)
    manifest = grid.seated(roster.manifest.model_copy(update={"tariff": digest}))
    other = Roster(manifest, roster.meter_point_ids)
    grid.register(other)
    return other


def bills_after(grid: GridSimulator, roster: Roster, readings: pd.DataFrame) -> Bills:
    """The oracle's bills of a roster from some readings, in slot order, by pseudonym."""
    tariff = grid.tariff(roster)
    names = dict(zip(roster.meter_point_ids, roster.manifest.pseudonyms, strict=True))
    own = readings[readings["meter_point_id"].isin(roster.meter_point_ids)]
    settled = settle(own, tariff=tariff, interval=HOUR)
    order = pd.Index(settled["meter_point_id"]).get_indexer(pd.Index(roster.meter_point_ids))
    settled = settled.iloc[order].assign(
        meter_point_id=lambda frame: frame["meter_point_id"].map(names)
    )
    contracts = grid.contracts.assign(
        meter_point_id=grid.contracts["meter_point_id"].map(names), tariff_id=""
    ).dropna(subset=["meter_point_id"])
    return compute_bills(settled, tariff=tariff, contracts=contracts, period=grid.period)
