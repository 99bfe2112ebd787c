"""The wire form of plans: names, order, bounds, factors and weights of every column, pinned.

Uploads list columns in the order of `published_needs`, transcripts name outputs, and digests cover
both. Another order or name would set two releases at variance that compute the same bill.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import pytest

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.rules import line_rules
from gridsecure.periods import billing_month
from gridsecure.plans.bills import plan_bill
from gridsecure.plans.needs import largest_total_wh, published_needs
from gridsecure.plans.steps import circuit_rules
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, load_tariff, parse_tariff
from tests.plans.element_tariffs import BUSINESSES, DYNAMIC, HOUSEHOLDS, STEPS

ELEMENTS: Final = {**HOUSEHOLDS, **BUSINESSES, **STEPS, "dynamic": DYNAMIC}

DIGESTS: Final = {
    "annual": "4e939190bcfb540609ea22f9b60aafb1",
    "annual-adder": "4a825c1329c35af0531d85d3eaca3344",
    "pro-rata": "124c29cbe597c46e8990fdadc5e0bde3",
    "annual-pro-rata": "a14a68f2756dbfad4f16a27b62ef87fe",
    "chronological": "97d3ccebe7164aff2b2fa094cbe53a33",
    "annual-chronological": "97d3ccebe7164aff2b2fa094cbe53a33",
    "per-period": "1ccf13120b44aec665789a810c1a1956",
    "daily-limits": "7b93b0f25fe49c48b833c787478979f4",
    "minimum": "30ea8b2aafa55e3ed437d053683e89e6",
    "free-quota": "af031eb9a2072d2209135f8f61e83252",
    "feed-in": "cc07f165bed9940917a6fcc7ed682f51",
    "demand": "19a7552e3a448cc0c79990a78de1b5b3",
    "demand-periods": "13c7a1879560dcef2591d2563e9de9ef",
    "ratchet": "a339ad8b7b91896466975cc9cb218119",
    "kva-tier": "c7c364e1ae8db8b989f6f76bb80aee5b",
    "kw-tier": "c01623b072c646d0561abff9f15e1136",
    "kw-day-tier": "ed715c27d6d01d140e3748607608b3b2",
    "kw-tier-pro-rata": "486efb494dd4a7102306b1e318d628e5",
    "kva-tier-per-period": "278e2faf0e21a51f0ca59b7070d7d34a",
    "kw-tier-per-period": "3c55c4dc41e6f8f617010c75cecf3fe9",
    "power-factor": "cbcbe7313ab8b99550d3c641a359815e",
    "power-factor-demand": "c4fc78a9e13c1a8424902a8b73754e1f",
    "power-factor-farm": "d18bf616db23b43a7c690b05874653c1",
    "fractional-limits": "3f26894c74fbfd71f6a0d60142a28088",
    "wide-limits": "a4a07570cde6145ffe9683ac275cfb39",
    "wide-pro-rata": "443d762ddabe5ad4f9c196a4e703cc20",
    "wide-per-period": "a791c0c3bc437889c71976510fda14e3",
    "wide-quota": "26d970525c086c8bb6630d5c720dfa9c",
    "dynamic": "de91863aa5fd56f4aa6732882e87754c",
    "shanghai-large-industry-10kv-demand-grid-part": "75bbca3e3dbe3fccbff536a5216f95c8",
    "shanghai-residential-peak-valley": "a14a68f2756dbfad4f16a27b62ef87fe",
    "shanghai-residential-tiers": "4e939190bcfb540609ea22f9b60aafb1",
    "shenzhen-commercial-capacity": "e429348853ae0199ac0b527919c026ba",
    "shenzhen-commercial-demand": "741e305282ac089318ead89d1f303238",
    "shenzhen-residential-low-income": "af031eb9a2072d2209135f8f61e83252",
}


def wire_form(tariff: Tariff) -> str:
    """All that leaves this process of a tariff's plan, a fact a line."""
    year, month = (2026, 7)
    if tariff.valid_to is not None:
        year, month = tariff.valid_from.year, tariff.valid_from.month
    period = billing_month(year, month, timezone=tariff.timezone)
    number = np.arange(12)
    contracts = default_contracts([f"m{n:02d}" for n in number]).assign(
        household_quota_wh=np.where(number % 3 == 0, 100_000, 0),
        free_quota_wh=np.where(number % 2 == 0, 15_000, 0),
        contracted_va=100_000 * (number + 1),
        service_from=np.where(number % 4 == 0, f"{year}-04", ""),
    )
    large = tariff.tariff_id.startswith("wide")
    rules = circuit_rules(
        line_rules(tariff, period), contracts=contracts, period=period, large=large
    )
    plan = plan_bill(rules, contracts=contracts, period=period)
    facts = [
        *(
            f"published {need.quantity} {need.parameters.name} {need.high}"
            for need in published_needs(rules, tou_periods=tariff.tou_periods)
        ),
        *(f"reads {need.quantity} {need.parameters.name} {need.high}" for need in plan.needs),
        *(
            f"output {made.name} {made.factor} {made.weight} {made.quantity_weight}"
            f" {made.low} {made.high} {made.modulus}"
            for made in plan.outputs
        ),
        f"limbs {sorted(plan.limb_bits.items())}",
        f"margin {plan.margin_bits:.6f}",
        f"largest {largest_total_wh(rules)}",
    ]
    return "\n".join(facts)


@pytest.mark.parametrize("name", DIGESTS)
def test_the_wire_form_of_a_plan_is_what_it_was(name: str) -> None:
    element = ELEMENTS.get(name)
    tariff = parse_tariff(element) if element else load_tariff(catalogue_tariffs()[name])
    form = wire_form(tariff)
    assert hashlib.sha256(form.encode()).hexdigest()[:32] == DIGESTS[name], form
