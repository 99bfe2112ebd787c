"""Every measure of a month through the three services, from a file to the numbers of pandas.

One world for all of them: what is told of the same homes has to stand beside what was told before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest

from gridsecure.billing.bills import Bills, compute_bills
from gridsecure.billing.rounding import round_half_up
from gridsecure.key_authority.checker import asked_questions
from gridsecure.tariffs.tariff import parse_tariff
from tests.apps.test_api_queries import World, cli, enrol_arguments, vault, world_in
from tests.apps.test_api_sealed_queries import ask
from tests.billing.bill_inputs import catalogue_text
from tests.grid_simulator import TIERS, GridSimulator
from tests.key_authority.asked_queries import question_of
from tests.key_authority.test_month_queries import HOMES, between, month_wh, settled

__all__ = ["ask", "cli", "vault"]
SHOPS = {"customer_class": ["shop"]}
LIMITS = 260, 600
EDGE = 600
"""One that the tiers depend on as well: between others would lie too few."""
DEARER = catalogue_text(TIERS).replace('rate = "0.30"', 'rate = "0.47"')
"""A secret tariff of the asker's: the same limits, another rate."""


@pytest.fixture
def world(tmp_path: Path, vault: Path) -> Iterator[World]:
    """104 homes by tiers, and 16 shops of 24 other meter points."""
    choices = {"meters": 128, "household_tariff": TIERS}
    with world_in(tmp_path, vault=vault, grants=12, **choices) as made:
        yield made


def bills_of_homes(grid: GridSimulator, text: str = catalogue_text(TIERS)) -> Bills:
    return compute_bills(
        settled(grid, homes=True), tariff=parse_tariff(text), contracts=grid.contracts,
        period=grid.period,
    )  # fmt: skip


def yuan(exact: int) -> Decimal:
    """Unrounded lines, rounded once to the fen."""
    return Decimal(int(round_half_up(exact))) / 100


def kwh(wh: int) -> Decimal:
    return Decimal(int(wh)) / 1000


def peak_of_shops(grid: GridSimulator) -> Decimal:
    contracts = grid.contracts.set_index("meter_point_id")
    own = settled(grid, homes=False)
    classes = own["meter_point_id"].map(contracts["customer_class"])
    return kwh(own["peak_wh"][(classes == "shop").to_numpy()].sum())


def adders(grid: GridSimulator) -> Decimal:
    bills = bills_of_homes(grid)
    rows = [n for n, rule in enumerate(bills.rules) if rule.charge == "tier-adder"]
    assert len(rows) == 2
    return yuan(sum(int(one) for n in rows for one in bills.amounts[n]))


def rounded(number: Fraction) -> Decimal:
    quotient = Decimal(number.numerator) / Decimal(number.denominator)
    return quotient.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP)


def spread(wh: pd.Series) -> tuple[int, int, int]:
    return len(wh), int(wh.sum()), int((wh**2).sum())


def variance(grid: GridSimulator) -> Decimal:
    many, total, squares = spread(month_wh(grid))
    return rounded(Fraction(many * squares - total**2, many**2 * 10**6))


def concentration(grid: GridSimulator) -> Decimal:
    _, total, squares = spread(month_wh(grid))
    return rounded(Fraction(squares, total**2))


def bins(grid: GridSimulator) -> list[Decimal]:
    above = int((month_wh(grid) >= 1000 * EDGE).sum())
    return [Decimal(len(month_wh(grid)) - above), Decimal(above)]


WALK: dict[str, tuple[str, Callable[[GridSimulator], Decimal | list[Decimal]]]] = {
    "a register": (question_of(measure="register:peak", where=SHOPS), peak_of_shops),
    "a tier": (
        question_of(measure="tier:2", where=HOMES),
        lambda grid: kwh(between(month_wh(grid), *LIMITS)),
    ),
    "lines of a charge": (question_of(measure="line:tier-adder", where=HOMES), adders),
    "bills": (
        question_of(measure="bill", where=HOMES),
        lambda grid: yuan(bills_of_homes(grid).totals.sum()),
    ),
    "bills by a secret tariff": (
        question_of(measure="bill", where=HOMES, statistic={"name": "what_if", "tariff": DEARER}),
        lambda grid: yuan(bills_of_homes(grid, DEARER).totals.sum()),
    ),
    "numbers above an edge": (
        question_of(where=HOMES, statistic={"name": "histogram", "edges_kwh": [EDGE]}),
        bins,
    ),
    "squares": (question_of(where=HOMES, statistic={"name": "variance"}), variance),
    "squares, kept": (question_of(where=HOMES, statistic={"name": "hhi"}), concentration),
}


def test_every_measure_of_a_month_is_told_as_the_open_says(world, cli, ask, monkeypatch):
    # As after the bills: squares of two zones wait until the cells of both are out.
    monkeypatch.setattr(asked_questions, "find_coming", lambda *_given, **_named: ())
    cli(*enrol_arguments(world))
    told = {}
    for name, (question, _) in WALK.items():
        shown = ask(question, "--format", "json", status=None)
        assert shown.stdout, (name, shown.output)
        rows = json.loads(shown.stdout)["rows"]
        told[name] = [row["value"] and Decimal(row["value"]) for row in rows]
    expected = {name: find(world.grid) for name, (_, find) in WALK.items()}
    assert told == {n: one if isinstance(one, list) else [one] for n, one in expected.items()}
    released = [one for one in world.outcomes if one["state"] == "released"]
    assert len(released) == len(WALK)
