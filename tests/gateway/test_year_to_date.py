"""Energy since 1 January: added up from private files, never guessed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridsecure.billing.contracts import default_contracts
from gridsecure.errors import StorageError
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.gateway.year_to_date import UNKNOWN, keep_totals, year_before_wh
from gridsecure.periods import billing_month

NAMES = ["old", "new", "opened", "gap"]


def energies_of(month, totals):
    period = billing_month(2026, month, timezone="Asia/Shanghai")
    starts = pd.DatetimeIndex([pd.Timestamp(period.start)])
    names = pd.Index(list(totals), dtype=str)
    energy = np.array(list(totals.values()), dtype=np.int64).reshape(-1, 1)
    return IntervalEnergies(names, starts, pd.Timedelta(hours=1), energy)


def contracts():
    frame = default_contracts(NAMES)
    frame["service_from"] = ["2019-01", "2026-02", "", ""]
    frame["year_to_date_wh"] = [0, 0, 700, 0]
    return frame


def keep(folder, month, totals):
    place = folder / f"2026-{month:02d}"
    place.mkdir()
    keep_totals(place, totals)


def before(folder, month, *, names=NAMES):
    energies = energies_of(month, dict.fromkeys(names, 1))
    period = billing_month(2026, month, timezone="Asia/Shanghai")
    found = year_before_wh(folder, energies=energies, contracts=contracts(), period=period)
    return dict(zip(names, found.tolist(), strict=True))


def test_january_starts_with_what_the_contract_says(tmp_path):
    assert before(tmp_path, 1) == {"old": 0, "new": 0, "opened": 700, "gap": 0}


def test_months_add_up_and_a_gap_is_not_guessed(tmp_path):
    keep(tmp_path, 1, {"old": 10, "gap": 5})
    keep(tmp_path, 2, {"old": 20, "new": 3, "opened": 40})
    keep(tmp_path, 3, {"old": 30, "new": 4, "opened": 50, "gap": 6})
    assert before(tmp_path, 4) == {"old": 60, "new": 7, "opened": 790, "gap": UNKNOWN}


def test_a_first_month_in_mid_year_needs_an_opening_or_a_beginning(tmp_path):
    assert before(tmp_path, 2) == {"old": UNKNOWN, "new": 0, "opened": 700, "gap": UNKNOWN}


def test_another_year_begins_anew(tmp_path):
    keep(tmp_path, 12, {"old": 99})
    (tmp_path / "2026-12").rename(tmp_path / "2025-12")
    assert before(tmp_path, 1)["old"] == 0


def test_the_file_is_private_and_a_damaged_one_is_refused(tmp_path):
    keep(tmp_path, 1, {"old": 10})
    path = tmp_path / "2026-01" / "totals.csv"
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("meter_point_id,total_wh\nold,ten\n")
    with pytest.raises(StorageError) as refused:
        before(tmp_path, 2)
    assert refused.value.reason == "storage.year-to-date"
