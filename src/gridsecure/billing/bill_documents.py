"""Bills as the public JSON document, which scripts, statements and customers read.

The names of `start`, `end`, `lines` (`charge`, `tou_period`, `tier`, `quantity`, `rate`,
`amount_exact`, `amount`), `total_exact` and `total` are kept stable. Numbers are decimal strings.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from gridsecure.billing.bills import Bills
from gridsecure.billing.charges import (
    AMOUNT_DECIMALS,
    FEN_PER_YUAN,
    GATEWAY,
    KINDS,
    QUANTITY_DECIMALS,
)
from gridsecure.billing.rules import PERCENT, POWER_FACTOR, LineRule, rate_units, scale_decimal
from gridsecure.tariffs.rows import KWH_PER_KW, KWH_PER_KW_DAY, RATE_DECIMALS
from gridsecure.tariffs.tariff import Tariff

_VAT_DECIMALS = 4

CHOSEN_HERE: Final = "chosen-here"
"""Of a rule that the tariff's publisher does not state, as a bill says it."""


def bills_to_json(bills: Iterable[Bills], *, tariff: Tariff | None = None) -> dict[str, Any]:
    """Return bills as the public JSON document, meter points and periods in order.

    `quantity` is in kWh, kVA, kW, months, days or percent, `rate` in yuan per unit and None where a
    line has no single rate; `amount_exact` and `total_exact` are unrounded [yuan], `amount` and
    `total` have two decimals.

    Args:
        bills: Bills of one tariff.
        tariff: The tariff, to tell its version, its sources and the tax in the total.
    """
    meters: dict[str, dict[str, Any]] = {}
    for month in sorted(bills, key=lambda month: month.period):
        periods = _periods(month, tariff=tariff)
        for meter_point_id, period in zip(month.meter_point_ids, periods, strict=True):
            meters.setdefault(meter_point_id, {"periods": []})["periods"].append(period)
    return {"meters": dict(sorted(meters.items()))}


def _periods(bills: Bills, *, tariff: Tariff | None) -> list[dict[str, Any]]:
    """Every meter point's bill of one period; what all of them say is written once."""
    start, end = bills.period.start.isoformat(), bills.period.end.isoformat()
    lines = [_line(bills, line) for line in range(len(bills.rules))]
    told = {} if tariff is None else _origin(bills, tariff)
    totals = zip(bills.totals.tolist(), bills.totals_fen.tolist(), strict=True)
    documents: list[dict[str, Any]] = []
    for column, (total, total_fen) in enumerate(totals):
        documents.append(
            {
                "start": start,
                "end": end,
                "lines": [own[column] for own in lines],
                "total_exact": decimal_text(total, AMOUNT_DECIMALS),
                "total": fen_text(total_fen),
                **told,
            }
        )
        if tariff is not None and tariff.vat_rate is not None:
            documents[-1]["vat"] = vat_split(total_fen, rate=tariff.vat_rate)
    return documents


def _origin(bills: Bills, tariff: Tariff) -> dict[str, Any]:
    """What bills say of their tariff and its sources."""
    # Hours, tiers, tax and a ratchet decide amounts too, though no line names their source.
    named = {rule.source for rule in bills.rules}
    named |= {figure.source for figure in tariff.figure_sources}
    named |= {tariff.ratchet.source} if tariff.ratchet else set()
    # That the publisher states no such rule concerns who is billed by one that was chosen here.
    doubt = {"part_month": CHOSEN_HERE} if tariff.has_doubtful_parts else {}
    return {
        "tariff": {
            "id": tariff.tariff_id,
            "version": tariff.version,
            "name_en": tariff.name_en,
            "name_zh": tariff.name_zh,
            "currency": tariff.currency,
            **doubt,
        },
        # What we think of a source is for those who keep tariffs; a bill names the price document.
        "sources": {
            source.source_id: {"document": source.document}
            for source in tariff.sources
            if source.source_id in named and source.document
        },
    }


def vat_split(total_fen: int, *, rate: Decimal) -> dict[str, str]:
    """Split a total that contains the tax: net rounded half-up to the fen, the tax the rest.

    >>> vat_split(11300, rate=Decimal("0.13"))
    {'rate': '0.13', 'net': '100.00', 'tax': '13.00'}
    """
    scale = 10**_VAT_DECIMALS
    divisor = scale + scale_decimal(rate, _VAT_DECIMALS)
    magnitude = (2 * abs(total_fen) * scale + divisor) // (2 * divisor)
    net = -magnitude if total_fen < 0 else magnitude
    return {"rate": str(rate), "net": fen_text(net), "tax": fen_text(total_fen - net)}


def _line(bills: Bills, line: int) -> list[dict[str, Any]]:
    """A line of every meter point's bill."""
    rule = bills.rules[line]
    has_rate = KINDS[rule.basis].has_rate
    rate = decimal_text(rate_units(rule.rate), RATE_DECIMALS) if has_rate else None
    unit, computed = _unit(rule), computed_where(rule)
    figures = (part[line].tolist() for part in (bills.quantities, bills.amounts, bills.amounts_fen))
    documents: list[dict[str, Any]] = [
        {
            "charge": rule.charge,
            "tou_period": rule.tou_period,
            "tier": rule.tier,
            "quantity": decimal_text(quantity, QUANTITY_DECIMALS),
            "rate": rate,
            "amount_exact": decimal_text(amount, AMOUNT_DECIMALS),
            "amount": fen_text(amount_fen),
            "unit": unit,
            "source": rule.source,
            "computed": computed,
        }
        for quantity, amount, amount_fen in zip(*figures, strict=True)
    ]
    if rule.basis == POWER_FACTOR:
        for column, document in enumerate(documents):
            base = sum(int(bills.amounts[part, column]) for part in rule.base)
            document["base"] = decimal_text(base, AMOUNT_DECIMALS)
    return documents


def _unit(rule: LineRule) -> str:
    """What the quantity counts: kWh, kVA, kW, month, day or %."""
    if rule.unit == PERCENT:
        return PERCENT
    return rule.unit.partition("/")[2].removesuffix("-month")


def computed_where(rule: LineRule) -> str:
    """Say where a line's number comes from: `ciphertext`, `gateway`, `authority`, `contract`."""
    # Limits per kW are a column of the gateway, whatever is counted under them.
    counts_demand = rule.tier is not None and rule.limit_unit in (KWH_PER_KW, KWH_PER_KW_DAY)
    return GATEWAY if counts_demand else KINDS[rule.basis].computed


def decimal_text(value: int, decimals: int) -> str:
    """Write an integer in 1e-`decimals` as a plain decimal without trailing zeros.

    Args:
        decimals: 0 or more.

    >>> decimal_text(-367880, 3), decimal_text(0, 11)
    ('-367.88', '0')
    """
    # By places of the text: half of what dividing and formatting with a width take.
    digits = str(abs(int(value))).rjust(decimals + 1, "0")
    point = len(digits) - decimals
    whole, part = digits[:point], digits[point:].rstrip("0")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{part}" if part else f"{sign}{whole}"


def fen_text(value: int) -> str:
    """Write an amount [fen] as yuan with two decimals.

    >>> fen_text(24925), fen_text(-5)
    ('249.25', '-0.05')
    """
    whole, part = divmod(abs(int(value)), FEN_PER_YUAN)
    return f"{'-' if value < 0 else ''}{whole}.{part:02d}"
