"""Losses: what is read of a table of supply, and which zones are told together."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gridsecure.analyst.losses import compute_losses, read_supply
from gridsecure.errors import InputError

JULY = {"start": datetime(2026, 7, 1, tzinfo=UTC), "end": datetime(2026, 8, 1, tzinfo=UTC)}
NAMES = {"a": "a", "b": "b", "甲": "a"}
A, B, C = (((zone, "shop"),) for zone in "abc")
BOTH = (("a", "household"), ("b", "household"))


def test_rows_of_a_zone_add_up_in_either_language() -> None:
    text = "zone,energy_kwh,start,end\na,1.5,,\n甲,2,2026-07-01T00:00Z,2026-07-02T00:00Z\nb,0,,\n"
    assert read_supply(text, names=NAMES, **JULY) == {"a": Decimal("3.5"), "b": Decimal(0)}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("zone,kwh\na,1", "table"),
        ("", "table"),
        ("zone,energy_kwh\nc,1", "zone"),
        ("zone,energy_kwh\na,-1", "energy"),
        ("zone,energy_kwh\na,NaN", "energy"),
        ("zone,energy_kwh\na", "energy"),
        ("zone,energy_kwh,start,end\na,1,2026-06-30T00:00Z,2026-07-02T00:00Z", "period"),
        ("zone,energy_kwh,start,end\na,1,2026-07-01T00:00,2026-07-02T00:00", "period"),
    ],
)
def test_another_table_is_refused_by_name(text: str, code: str) -> None:
    with pytest.raises(InputError) as refused:
        read_supply(text, names=NAMES, **JULY)
    assert refused.value.reason == f"losses.{code}"


def test_zones_that_a_group_joins_have_one_loss() -> None:
    """Told apart, the group that both share would be counted for one of them or for none."""
    energies = {A: Decimal(40), B: Decimal(30), BOTH: Decimal(20), C: Decimal(5)}
    supply = {"a": Decimal(60), "b": Decimal(40), "c": Decimal(4)}
    joined, other = compute_losses(energies, supply)
    assert (joined.zones, joined.lost_kwh, joined.ratio) == (("a", "b"), 10, Decimal("0.1"))
    assert other.lost_kwh == -1
    (without, _) = compute_losses(energies, {"a": Decimal(60)})
    assert without.lost_kwh is None


def test_a_withheld_group_leaves_its_zones_without_a_loss() -> None:
    found = compute_losses({A: Decimal(40), BOTH: None}, {"a": Decimal(60), "b": Decimal(1)})
    assert [(one.zones, one.lost_kwh, one.withheld) for one in found] == [(("a", "b"), None, 1)]
