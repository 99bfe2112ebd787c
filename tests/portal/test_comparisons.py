"""Two bills beside each other."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gridsecure.errors import InputError
from gridsecure.portal.comparisons import compare_bills
from tests.statements.samples import document


def test_bills_are_compared_charge_by_charge_and_day_by_day():
    before = document("residential-tiers")["meters"]["meter-0001"]["periods"][0]
    lines = [one | {"amount": "1.00"} for one in before["lines"]]
    served = {"start": before["start"], "end": "2026-07-11T00:00:00+08:00"}
    found = compare_bills(before, before | {"lines": lines, "total": "3.00", "served": served})
    charges = {one["charge"] for one in before["lines"]}
    assert {one["charge"] for one in found["lines"]} == charges
    gaps = sum(Decimal(one["difference"]) for one in found["lines"])
    assert gaps == len(lines) - sum(Decimal(one["amount"]) for one in before["lines"])
    assert Decimal(found["difference"]) == 3 - Decimal(before["total"])
    assert (found["days_before"], found["days"]) == (31, 10)
    dollars = before | {"tariff": before["tariff"] | {"currency": "USD"}}
    with pytest.raises(InputError) as told:
        compare_bills(before, dollars)
    assert told.value.reason == "delivery.currency"
