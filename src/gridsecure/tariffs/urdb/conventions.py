"""How tiers and time of use combine in a URDB rate, where both meet in one month.

The same load costs differently under each convention, so one must be named: by whoever imports, or
by `metering_option` and `dgrules`, which SAM reads for it. Net metering splits the kWh of every
period in the ratio of the month's total (pro-rata); net billing fills tiers in the order of time
(chronological). Where each step up costs the same in every period of the month, both give one bill,
and the tariff is written in the separable form (uniform-adder), which is cheaper on ciphertext.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from gridsecure.tariffs.consistency import (
    CHRONOLOGICAL,
    CONVENTIONS,
    PER_PERIOD,
    PRO_RATA,
    UNIFORM_ADDER,
)
from gridsecure.tariffs.urdb import elements as read
from gridsecure.tariffs.urdb.elements import refuse
from gridsecure.tariffs.urdb.structures import ENOUGH_DIGITS, Structure, StructureTier

# 4, two meters, buys all and sells all; nothing tells how its tiers are meant.
METERING_OPTIONS = {0: PRO_RATA, 1: PRO_RATA, 2: CHRONOLOGICAL, 3: CHRONOLOGICAL}
DG_RULES = {
    "net metering": PRO_RATA,
    "net billing instantaneous": CHRONOLOGICAL,
    "net billing hourly": CHRONOLOGICAL,
}

Ladders = tuple[tuple[StructureTier, ...], ...]


@dataclass(frozen=True, slots=True)
class EnergyTerms:
    """What the import says about the energy charge from outside the file."""

    unit: str
    convention: str | None
    set_aside: frozenset[str]


def common_ladders(structure: Structure, months: tuple[tuple[int, ...], ...]) -> Ladders:
    """Return the ladder that all periods of each month share; SAM knows no other, nor do we.

    Raises:
        InvalidTariffError: `urdb.tiers-differ`.
    """
    ladders = []
    for month, periods in enumerate(months, start=1):
        first, *others = (structure.periods[period] for period in periods)
        limits = [tier.limit for tier in first]
        for period, other in zip(periods[1:], others, strict=True):
            if [tier.limit for tier in other] != limits:
                refuse(
                    f"{structure.name}[{period}]",
                    f"in month {month} its tiers end elsewhere than those of period {periods[0]}",
                    code="tiers-differ",
                    remedy=read.import_with("tier-convention", PER_PERIOD),
                )
        ladders.append(first)
    return tuple(ladders)


def choose_convention(
    structure: Structure,
    months: tuple[tuple[int, ...], ...],
    *,
    terms: EnergyTerms,
    named: str | None,
) -> tuple[str, tuple[str, ...]]:
    """Take an order from outside, or the separable form, or what the file names.

    Returns:
        The convention and a note why, if it was not ordered.

    Raises:
        InvalidTariffError: `urdb.tier-convention`.
    """
    separable = all(_steps_alike(structure, periods) for periods in months)
    if terms.convention == UNIFORM_ADDER and not separable:
        refuse(
            structure.name,
            f"steps between tiers differ from period to period, so {UNIFORM_ADDER} cannot say them",
            code="tier-convention",
            remedy=f"Choose another of {PRO_RATA}, {CHRONOLOGICAL} and {PER_PERIOD}. "
            + read.import_with("tier-convention", PRO_RATA),
        )
    if terms.convention is not None:
        return terms.convention, ()
    if separable:
        note = (
            f"{structure.name}: steps between tiers are alike in all periods of a month, so"
            f" {PRO_RATA} and {CHRONOLOGICAL} give one bill, written as {UNIFORM_ADDER}."
        )
        return UNIFORM_ADDER, (note,)
    if named is None:
        refuse(
            structure.name,
            "tiers and time of use meet in one month, and nothing says how the energy of a period"
            " falls into tiers",
            code="tier-convention",
            remedy=f"Choose one of {read.join_names(CONVENTIONS[1:])}, as the tariff sheet says. "
            + read.import_with("tier-convention", "NAME"),
        )
    return named, (
        f"{structure.name}: tiers and time of use combine {named}, as the file names it.",
    )


def _steps_alike(structure: Structure, periods: tuple[int, ...]) -> bool:
    ladders = [structure.periods[period] for period in periods]
    steps = {tuple(step_above(tier, ladder[0]) for tier in ladder) for ladder in ladders}
    return len(steps) == 1


def read_convention(elements: Mapping[str, Any]) -> str | None:
    """Read what `metering_option` or `dgrules` name; they must not contradict each other.

    Raises:
        InvalidTariffError: `urdb.metering-option` or `urdb.tier-convention`.
    """
    named = set()
    if "metering_option" in elements:
        option = read.read_whole(elements["metering_option"], where="metering_option")
        if option not in METERING_OPTIONS:
            refuse(
                "metering_option",
                f"option {option} is none of {read.join_names(METERING_OPTIONS)}",
                code="metering-option",
            )
        named.add(METERING_OPTIONS[option])
    if "dgrules" in elements:
        rule = read.read_text(elements["dgrules"], where="dgrules").lower()
        named |= {DG_RULES[rule]} if rule in DG_RULES else set()
    if len(named) > 1:
        refuse(
            "dgrules",
            "it names another tier convention than metering_option",
            code="tier-convention",
            remedy=f"Choose one of {read.join_names(CONVENTIONS[1:])}, as the tariff sheet says. "
            + read.import_with("tier-convention", "NAME"),
        )
    return next(iter(named), None)


def step_above(tier: StructureTier, first: StructureTier) -> Decimal:
    """What a kWh of the tier costs above one of the first tier, exactly."""
    with localcontext() as context:
        context.prec = ENOUGH_DIGITS
        return (tier.price - first.price).normalize()
