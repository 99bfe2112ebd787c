"""The quarantine file: readings that were not used, each with its reason.

It holds plaintext readings, because whoever corrects them must see them; so it never leaves the
gateway and only its owner may read it. It appears whole or not at all.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gridsecure.gateway.private_files import write_private

_COLUMNS = ["row", "meter_point_id", "start", "kwh", "quality", "reason"]


def write_quarantine(quarantined: pd.DataFrame, *, path: Path) -> None:
    """Write quarantined readings as CSV, atomically and readable by the owner only.

    Args:
        quarantined: `ValidationResult.quarantined`.
        path: The file to create or replace; its folder must exist.

    Raises:
        StorageError: `storage.failed` when the disk could not take it; an earlier file of that
            name is then untouched and nothing half-written is left.
    """
    energy_wh = quarantined["energy_wh"]
    whole = (energy_wh.abs() // 1000).astype("str")
    sign = energy_wh.lt(0).map({True: "-", False: ""}).astype("str")
    table = quarantined.assign(
        start=quarantined["start"].dt.strftime("%Y-%m-%d %H:%M:%S%z"),
        kwh=sign + whole + "." + (energy_wh.abs() % 1000).astype("str").str.zfill(3),
    )
    text = table[_COLUMNS].to_csv(index=False, lineterminator="\n")
    write_private(path, [text.encode()], what="The quarantine file")
