"""Questions that ship: each fits another month, and keeps what it asks."""

from __future__ import annotations

import json

import pytest

from gridsecure.errors import InputError
from gridsecure.queries.forms import Index, Saving
from gridsecure.queries.packs import TITLES, fit_pack, list_packs


@pytest.mark.parametrize("name", TITLES)
def test_every_question_fits_another_month(name: str) -> None:
    event = "2027-02-25" if name == "demand-response" else None
    fitted = fit_pack(
        name, month="2027-02", event=event, timezone="Asia/Urumqi", cohort={"zone": ["nanshan"]}
    )
    assert (fitted.period.month, fitted.period.timezone) == ("2027-02", "Asia/Urumqi")
    assert fitted.where is not None
    assert fitted.where.zone == ["nanshan"]
    shipped = json.loads(list_packs()[name].text)
    kept = json.loads(fitted.text)
    for document in (shipped, kept):
        for moved in ("period", "where"):
            document.pop(moved, None)
        for moved in ("base", "event", "baseline"):
            document.get("statistic", {}).pop(moved, None)
    assert kept == shipped


def test_a_base_and_a_baseline_move_with_the_month() -> None:
    index = fit_pack("recovery-index", month="2027-01").statistic
    assert isinstance(index, Index)
    assert index.base.month == "2026-12"
    other = fit_pack("recovery-index", month="2027-03", base="2026-03").statistic
    assert isinstance(other, Index)
    assert other.base.month == "2026-03"
    saving = fit_pack("demand-response", month="2026-09", event="2026-09-17").statistic
    assert isinstance(saving, Saving)
    assert (saving.baseline[0], saving.baseline[-1]) == ("2026-09-03", "2026-09-16")
    for event in (None, "2026-09-10"):
        with pytest.raises(InputError) as refused:
            fit_pack("demand-response", month="2026-09", event=event)
        assert refused.value.reason == "query.event"
    with pytest.raises(InputError) as refused:
        fit_pack("../07-load-factor")
    assert refused.value.reason == "query.pack"
