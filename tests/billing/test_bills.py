from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.bill_documents import (
    bills_to_json,
    decimal_text,
    fen_text,
)
from gridsecure.billing.bills import (
    Bills,
    bills_from_amounts,
    compute_bills,
    round_half_up,
)
from gridsecure.billing.charges import AMOUNT_SCALE, AMOUNT_UNITS_PER_FEN
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import line_rules
from gridsecure.errors import InputError
from gridsecure.periods import billing_month
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.billing.bill_inputs import SHANGHAI

JULY = billing_month(2025, 7, timezone=SHANGHAI)
FLAT = load_tariff(catalogue_tariffs()["flat"])
FLAT_RULES = line_rules(FLAT, JULY)


def settled(total_wh: list[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "meter_point_id": [f"M{number}" for number in range(len(total_wh))],
            "period_start": pd.Timestamp(JULY.start),
            "total_wh": pd.Series(total_wh, dtype="int64"),
        }
    )


def flat_bills(total_wh: list[int]) -> Bills:
    settlements = settled(total_wh)
    contracts = default_contracts(settlements["meter_point_id"].tolist())
    return compute_bills(settlements, tariff=FLAT, contracts=contracts, period=JULY)


@pytest.mark.parametrize("yuan", [10_000_000, 100_000_000, 1_000_000_000])
def test_bills_of_many_million_yuan_are_exact(yuan: int) -> None:
    """10 million yuan is 60 bits in 1e-11 yuan; 100 million no longer fits int64."""
    energy_wh = yuan * 1000 + 1
    bills = flat_bills([energy_wh])
    exact = Decimal(energy_wh) * Decimal("0.69986875") / 1000
    period = bills_to_json([bills])["meters"]["M0"]["periods"][0]
    assert Decimal(period["total_exact"]) == exact
    assert Decimal(period["total"]) == exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


@given(
    amounts=st.lists(
        st.one_of(
            st.integers(-(2**62), 2**62),
            # On, just below and just above every half fen.
            st.builds(
                lambda fen, nudge: fen * AMOUNT_UNITS_PER_FEN + AMOUNT_UNITS_PER_FEN // 2 + nudge,
                st.integers(-1000, 1000),
                st.integers(-1, 1),
            ),
        )
    )
)
def test_rounding_is_decimals_half_up_and_symmetric(amounts: list[int]) -> None:
    rounded = round_half_up(np.array(amounts, dtype=np.int64))
    expected = [
        int((Decimal(a) / AMOUNT_UNITS_PER_FEN).quantize(Decimal(1), ROUND_HALF_UP))
        for a in amounts
    ]
    assert rounded.tolist() == expected
    assert round_half_up(-np.array(amounts, dtype=np.int64)).tolist() == [-f for f in expected]


def test_the_same_amounts_give_the_same_bills_whatever_integers_hold_them() -> None:
    """The encrypted path hands in Python integers or unsigned words; nothing may depend on it."""
    oracle = flat_bills([1501, 0, 7])
    for dtype in (object, np.uint64):
        bills = bills_from_amounts(
            FLAT_RULES,
            quantities=oracle.quantities.astype(dtype),
            amounts=oracle.amounts.astype(dtype),
            meter_point_ids=oracle.meter_point_ids,
            period=JULY,
        )
        assert bills.amounts.dtype == bills.totals_fen.dtype == np.int64
        assert bills_to_json([bills]) == bills_to_json([oracle])


def test_totals_beyond_63_bits_stay_exact_though_each_line_fits() -> None:
    line = 2**63 - 1
    bills = bills_from_amounts(
        FLAT_RULES * 2,
        quantities=np.zeros((2, 1), dtype=np.int64),
        amounts=np.array([[line], [line]]),
        meter_point_ids=["A"],
        period=JULY,
    )
    assert bills.totals.tolist() == [2 * line]
    assert bills.totals_fen.tolist() == [2 * round(line / AMOUNT_UNITS_PER_FEN)]


@pytest.mark.parametrize(
    "amounts", [np.zeros((1, 2), dtype=np.int64), np.zeros((1, 1), dtype=np.float64)]
)
def test_line_arrays_of_another_shape_or_of_floats_are_programming_mistakes(
    amounts: np.ndarray,
) -> None:
    with pytest.raises(ValueError, match="integers, one row per rule"):
        bills_from_amounts(
            FLAT_RULES,
            quantities=np.zeros((1, 1), dtype=np.int64),
            amounts=amounts,
            meter_point_ids=["A"],
            period=JULY,
        )


def test_a_contract_for_another_tariff_is_refused() -> None:
    contracts = default_contracts(["M0"], tariff_id="another")
    with pytest.raises(InputError) as caught:
        compute_bills(settled([1]), tariff=FLAT, contracts=contracts, period=JULY)
    assert caught.value.reason == "contract.tariff-mismatch"


def test_a_meter_point_without_a_contract_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        compute_bills(settled([1]), tariff=FLAT, contracts=default_contracts(["X"]), period=JULY)
    assert caught.value.reason == "contract.unknown-meter-point"


def test_a_period_without_settlements_has_no_bills() -> None:
    august = billing_month(2025, 8, timezone=SHANGHAI)
    bills = compute_bills(
        settled([1]), tariff=FLAT, contracts=default_contracts(["M0"]), period=august
    )
    assert bills_to_json([bills]) == {"meters": {}}


@given(value=st.integers(-(10**25), 10**25), decimals=st.integers(0, 11))
def test_decimal_text_is_the_exact_value(value: int, decimals: int) -> None:
    text = decimal_text(value, decimals)
    assert Fraction(text) * 10**decimals == value
    assert "E" not in text
    assert not text.startswith("-0") or text.startswith("-0.")


@given(fen=st.integers(-(10**12), 10**12))
def test_fen_text_has_two_decimals(fen: int) -> None:
    text = fen_text(fen)
    assert Decimal(text) * 100 == fen
    assert text[-3] == "."


def test_amount_scale_is_a_wh_times_a_rate_unit() -> None:
    assert AMOUNT_SCALE == 1000 * 10**8
