"""The settlement columns that a gateway encrypts for a tariff's form, and how large they may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gridsecure.billing.rules import LineRule
from gridsecure.homomorphic.parameters import REGISTER, Parameters
from gridsecure.plans.lines.kind import Reads
from gridsecure.plans.lines.registry import circuit_parameters, kind_of
from gridsecure.plans.quantities import (
    LIMB_BITS,
    LIMBS,
    MAX_REGISTER_WH,
    TOTAL_QUANTITY,
    ColumnNeed,
    Measure,
    limb_quantity,
    register_quantity,
)


def list_reads(rules: Sequence[LineRule]) -> list[Reads]:
    """What every line reads."""
    return [kind_of(rule).read(rule, rules) for rule in rules]


def list_measures(reads: Iterable[Reads]) -> list[Measure]:
    """What thresholds compare, each once."""
    return list(dict.fromkeys(measure for read in reads for measure in read.measures))


def list_limbed(reads: Iterable[Reads]) -> list[str]:
    """The quantities that products need in limbs, each once."""
    return list(dict.fromkeys(quantity for read in reads for quantity in read.limbed))


def published_needs(
    rules: Sequence[LineRule], *, tou_periods: Sequence[str]
) -> tuple[ColumnNeed, ...]:
    """Every settlement column a gateway encrypts for a tariff's form.

    The digits do not depend on the tariff's limits, which may change after encryption.
    """
    parameters, reads = circuit_parameters(rules), list_reads(rules)
    linear = [TOTAL_QUANTITY, *(register_quantity(label) for label in tou_periods)]
    linear += [quantity for read in reads for quantity in read.linear]
    # Group after group: uploads list columns in this order, and their digests cover it.
    needs = [ColumnNeed(quantity, REGISTER, MAX_REGISTER_WH) for quantity in linear]
    needs += [need for read in reads for need in read.intervals]
    needs += [need for measure in list_measures(reads) for need in measure.needs(parameters)]
    needs += _bounded(parameters, (read.whole for read in reads))
    needs += [
        ColumnNeed(limb_quantity(quantity, n), parameters, 2**LIMB_BITS - 1)
        for quantity in list_limbed(reads)
        for n in range(LIMBS)
    ]
    needs += _bounded(parameters, (read.looked_up for read in reads))
    return tuple({need.quantity: need for need in needs}.values())


def _bounded(parameters: Parameters, groups: Iterable[Mapping[str, int]]) -> list[ColumnNeed]:
    return [
        ColumnNeed(quantity, parameters, high)
        for group in groups
        for quantity, high in group.items()
    ]


def largest_total_wh(rules: Sequence[LineRule]) -> int:
    """The largest energy of a month that a bill under these rules takes [Wh]."""
    bounds = (kind_of(rule).bound_wh(rule) for rule in rules)
    return min((bound for bound in bounds if bound is not None), default=MAX_REGISTER_WH)
