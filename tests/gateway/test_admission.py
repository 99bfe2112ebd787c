"""Who is billed, who is not and why; nobody is lost between the two."""

from __future__ import annotations

import stat
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.contracts import default_contracts
from gridsecure.gateway.admission import REASONS, SeenMeters, admit, write_exceptions
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.periods import billing_month
from gridsecure.plans.quantities import (
    INTERVAL_BOUNDS_WH,
    MAX_REGISTER_WH,
    MAX_TIER_WH,
    MAX_YEAR_WH,
    OTHER_BOUND_WH,
)
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff, parse_tariff
from tests.plans.element_tariffs import BUSINESSES, DYNAMIC, HOUSEHOLDS

PERIOD = billing_month(2026, 7, timezone="Asia/Shanghai")
TARIFFS = {name: load_tariff(path) for name, path in catalogue_tariffs().items()}
TIERS = "shenzhen-residential-tiers"
HOURS = 744
HOUSEHOLD = INTERVAL_BOUNDS_WH["household"]


def contract(name, *, tariff_id="flat", customer_class="household", quota_wh=0):
    return default_contracts([name], tariff_id=tariff_id).assign(
        customer_class=customer_class, household_quota_wh=quota_wh
    )


def energies(**totals_and_peak):
    """Meter point -> (total, peak) [Wh], spread over the month's hours."""
    rows = []
    for total, peak in totals_and_peak.values():
        row = np.full(HOURS, (total - peak) // (HOURS - 1), dtype=np.int64)
        row[0] = peak
        row[1] += total - row.sum()
        rows.append(row)
    starts = pd.date_range(PERIOD.start, periods=HOURS, freq="h")
    names = pd.Index(list(totals_and_peak), dtype=str)
    return IntervalEnergies(names, starts, pd.Timedelta(hours=1), np.array(rows))


def reasons(admission):
    return dict(
        zip(admission.excluded["meter_point_id"], admission.excluded["reason"], strict=True)
    )


def decide(table, contracts, *, seen=None, left_out=None, tariffs=None):
    names = [] if table is None else list(table.meter_point_ids)
    return admit(
        table,
        seen=SeenMeters(names if seen is None else seen, left_out or {}),
        contracts=contracts,
        tariffs=tariffs or TARIFFS,
        period=PERIOD,
    )


@pytest.mark.parametrize(
    ("facts", "total", "peak", "reason"),
    [
        ({}, 300_000, 2_000, None),
        ({}, 300_000, HOUSEHOLD, None),
        ({}, 300_000, HOUSEHOLD + 1, "interval-energy"),
        ({"customer_class": "shop"}, 300_000, HOUSEHOLD + 1, None),
        ({"customer_class": "harbour"}, 10_000_000, OTHER_BOUND_WH, None),
        ({"customer_class": "harbour"}, 10_000_000, OTHER_BOUND_WH + 1, "interval-energy"),
        ({"tariff_id": TIERS}, MAX_TIER_WH, 20_000, None),
        ({"tariff_id": TIERS}, MAX_TIER_WH + 1, 20_000, "tier-energy"),
        ({}, MAX_TIER_WH + 1, 20_000, None),
        ({"customer_class": "factory"}, MAX_REGISTER_WH, 2**21, None),
        ({"customer_class": "factory"}, MAX_REGISTER_WH + 1, 2**21, "register-energy"),
        ({"tariff_id": TIERS, "quota_wh": 100_000}, 300_000, 2_000, None),
        ({"tariff_id": TIERS, "quota_wh": 100_001}, 300_000, 2_000, "tier-limit"),
        ({"tariff_id": TIERS, "quota_wh": 4_000_000}, 300_000, 2_000, "tier-limit"),
        ({"quota_wh": 100_001}, 300_000, 2_000, None),
        ({"tariff_id": "unheard-of"}, 300_000, 2_000, "tariff-unknown"),
        ({"tariff_id": ""}, 300_000, 2_000, "tariff-unknown"),
    ],
)
def test_a_meter_point_is_billed_or_excluded_with_its_reason(facts, total, peak, reason):
    admission = decide(energies(m=(total, peak)), contract("m", **facts))
    assert reasons(admission) == ({} if reason is None else {"m": reason})
    assert admission.counts() == ({} if reason is None else {reason: 1})
    assert len(admission.billed) == (reason is None)


def test_a_tariff_that_does_not_cover_the_month_excludes_its_meter_points():
    period = billing_month(1999, 7, timezone="Asia/Shanghai")
    table = energies(m=(1000, 10))
    admission = admit(
        table, seen=SeenMeters(["m"]), contracts=contract("m"), tariffs=TARIFFS, period=period
    )
    assert reasons(admission) == {"m": "tariff-not-valid"}


@pytest.mark.parametrize(
    ("tariff_id", "facts", "reason"),
    [
        ("demand", {"contracted_va": 315_000}, None),
        ("demand", {"contracted_va": 0}, "tier-limit"),
        ("kva-tier", {"contracted_va": 0}, "tier-limit"),
        ("free-quota", {"free_quota_wh": 15_000}, None),
        ("free-quota", {"free_quota_wh": 15_500}, "tier-limit"),
        ("free-quota", {"free_quota_wh": 4_000_000}, "tier-limit"),
        ("dynamic", {}, "tariff-not-valid"),
    ],
)
def test_facts_that_a_plan_would_refuse_exclude_only_their_meter_point(tariff_id, facts, reason):
    """The dynamic tariff has prices for July; here it is asked for in August."""
    texts = {**BUSINESSES, **HOUSEHOLDS, "dynamic": DYNAMIC}
    month = billing_month(2026, 8 if tariff_id == "dynamic" else 7, timezone="Asia/Shanghai")
    admission = admit(
        energies(m=(300_000, 2_000)),
        seen=SeenMeters(["m"]),
        contracts=contract("m", tariff_id=tariff_id).assign(**facts),
        tariffs={tariff_id: parse_tariff(texts[tariff_id])},
        period=month,
    )
    assert reasons(admission) == ({} if reason is None else {"m": reason})


@pytest.mark.parametrize(("room", "reason"), [(0, None), (-1, "tier-energy")])
def test_a_year_beyond_its_columns_excludes_only_its_meter_point(room, reason):
    tariff = parse_tariff(HOUSEHOLDS["annual"])
    before = np.array([MAX_YEAR_WH - 300_000 - room])
    admission = admit(
        replace(energies(m=(300_000, 2_000)), year_before_wh=before),
        seen=SeenMeters(["m"]),
        contracts=contract("m", tariff_id="annual"),
        tariffs={"annual": tariff},
        period=PERIOD,
    )
    assert reasons(admission) == ({} if reason is None else {"m": reason})


def test_missing_contracts_readings_and_complete_months_are_told_apart():
    contracts = pd.concat([contract(name) for name in "abcd"], ignore_index=True)
    admission = decide(
        energies(a=(1, 1)), contracts, seen=["a", "b", "c", "x"], left_out={"c": "two-intervals"}
    )
    assert reasons(admission) == {
        "b": "quarantined",
        "c": "two-intervals",
        "d": "no-readings",
        "x": "no-contract",
    }
    assert admission.billed["meter_point_id"].tolist() == ["a"]


def test_without_any_complete_meter_point_everyone_is_excluded():
    admission = decide(None, contract("m"), seen=["m"])
    assert (len(admission.billed), reasons(admission)) == (0, {"m": "quarantined"})


NAMES = st.sets(st.sampled_from("abcdefghij"), max_size=10)


@given(
    st.dictionaries(
        st.sampled_from("abcdefghij"),
        st.tuples(
            st.sampled_from(["flat", TIERS, "unheard-of", ""]),
            st.sampled_from(["household", "factory", ""]),
            st.sampled_from([0, 1, 100_000, 10**9]),
        ),
    ),
    st.dictionaries(
        st.sampled_from("abcdefghij"),
        st.tuples(
            st.sampled_from([10**6, MAX_TIER_WH + 1, MAX_REGISTER_WH + 1]),
            st.sampled_from([0, HOUSEHOLD, HOUSEHOLD + 1, OTHER_BOUND_WH + 1]),
        ),
    ),
    NAMES,
    NAMES,
)
def test_nobody_is_lost(contracted, complete, incomplete, two):
    rows = [
        contract(name, tariff_id=tariff, customer_class=kind, quota_wh=quota)
        for name, (tariff, kind, quota) in contracted.items()
    ]
    contracts = pd.concat([contract("zz"), *rows], ignore_index=True)
    table = energies(**complete) if complete else None
    seen = set(complete) | incomplete | two
    admission = decide(table, contracts, seen=seen, left_out=dict.fromkeys(two, "net-metered"))
    billed, excluded = set(admission.billed["meter_point_id"]), reasons(admission)
    assert billed | set(excluded) == set(contracted) | {"zz"} | seen
    assert billed & set(excluded) == set()
    assert billed <= set(complete) & set(contracted)
    assert set(excluded.values()) <= set(REASONS)
    assert sum(admission.counts().values()) == len(excluded) == len(admission.excluded)


def test_the_exceptions_file_is_private_sorted_and_without_values(tmp_path):
    contracts = pd.concat([contract("b"), contract("a", tariff_id="x")], ignore_index=True)
    path = tmp_path / "exceptions.csv"
    write_exceptions(decide(energies(b=(77_310, 70_000)), contracts), path=path)
    assert path.read_text() == ("meter_point_id,reason\na,no-readings\nb,interval-energy\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


WIDE = """
tariff_id = "wide"
version = "1"
name_en = "Made up"
name_zh = "虚构"
city = "Nowhere"
currency = "CNY"
timezone = "Asia/Shanghai"
valid_from = 2020-01-01
sources = [{ id = "s", title = "Made up", confidence = "unconfirmed" }]
tiers = [
  { tier = 1, upper_limit = 316.2, unit = "kWh" },
  { tier = 2, upper_limit = 948.6, unit = "kWh" },
  { tier = 3 },
]
rates = [
  { charge = "energy", tier = 1, rate = "0.5", unit = "CNY/kWh", source = "s" },
  { charge = "energy", tier = 2, rate = "0.6", unit = "CNY/kWh", source = "s" },
  { charge = "energy", tier = 3, rate = "0.7", unit = "CNY/kWh", source = "s" },
]
"""


@pytest.mark.parametrize(
    ("quota", "total", "reason"),
    [(0, 300_000, None), (100_200, 10**9, None), (100_001, 300_000, "tier-limit")],
)
def test_limits_counted_in_steps_take_large_energies_and_shared_quotas(quota, total, reason):
    """A quota of 100.2 kWh leaves a step of 1.2 kWh; one of 100.001 kWh leaves none but 1 Wh."""
    facts = contract("m", tariff_id="wide", quota_wh=quota, customer_class="factory").assign(
        large="yes"
    )
    admission = decide(
        energies(m=(total, total // 700)), facts, tariffs={"wide": parse_tariff(WIDE)}
    )
    assert reasons(admission) == ({} if reason is None else {"m": reason})
