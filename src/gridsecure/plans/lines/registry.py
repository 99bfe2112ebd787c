"""The table of all kinds of bill lines. A new kind is a module and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gridsecure.billing.rules import LineRule
from gridsecure.homomorphic.columns import Column
from gridsecure.homomorphic.parameters import PRODUCT, TIER, Parameters
from gridsecure.plans.circuit import Circuit
from gridsecure.plans.lines import dynamic, hours, linear, public, shares, tiers
from gridsecure.plans.lines.kind import LineKind, Method, Part
from gridsecure.plans.lines.power_factor import power_factor_kind
from gridsecure.plans.quantities import LIMB_BITS

DIVISOR: Final = -1
"""Line number of the outputs that shares are divided by."""


def kind_of(rule: LineRule) -> LineKind:
    """The kind of a line."""
    return next(kind for kind in KINDS if kind.takes(rule))


KINDS: Final = (
    linear.KIND,
    hours.KIND,  # before tiers, which it takes those of that count kWh per kVA or kW
    tiers.KIND,
    shares.KIND,
    dynamic.KIND,
    power_factor_kind(kind_of),
    public.KIND,
)


def circuit_parameters(rules: Sequence[LineRule]) -> Parameters:
    """The set of everything that is multiplied under these rules."""
    deep = any(kind_of(rule).multiplies_columns for rule in rules)
    return PRODUCT if deep else TIER


def describe_line(line: int, rules: Sequence[LineRule]) -> Method:
    """How a line is computed, in words."""
    rule = rules[line]
    return kind_of(rule).describe(rule, rules)


def split_line(
    circuit: Circuit[Column], line: int, limb_bits: Mapping[int, int]
) -> list[Part[Column]]:
    """The parts of a line that is computed on columns, or of the divisor.

    Args:
        line: Number of the rule, or `DIVISOR`.
        limb_bits: Bits of a price limb, by line, for lines that sum over prices.
    """
    if line == DIVISOR:
        return _split_divisor(circuit)
    rule = circuit.rules[line]
    split = kind_of(rule).split
    if split is None:
        raise ValueError(f"a {rule.basis} line is not computed on columns")
    return split(circuit, rule, limb_bits.get(line, LIMB_BITS))


def _split_divisor(circuit: Circuit[Any]) -> list[Part[Any]]:
    """The total that shares are divided by; empty where nothing is."""
    for rule in circuit.rules:
        if parts := kind_of(rule).divide_by(circuit, rule):
            return parts
    return []
