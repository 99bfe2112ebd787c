"""The power-factor line on ciphertext: a percentage looked up in encrypted form, times a sum.

The gateway encrypts the factor c (0 to 100) as min(c, 55) and the thermometer [c >= 56] …
[c >= 100]. Every national table is one straight line up to 0.55 and changes by public steps above
it, so

    percentage = K - Σ step·[c >= n] - slope·min(c, 55)          K = table[0]

is linear in those columns. The sum it applies to is Σ rate × quantity over the lines of the base,
taken limb of quantity by limb of rate: B(i, l) = Σ rate limb l × quantity limb i, where contracted
kVA and months enter as public integers. Each B(i, l) times the percentage is one product of two
ciphertexts, and the weights 2**(8i + bl) put the amount together in the vault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.charges import (
    PERCENT_QUANTITY,
    PERCENT_SCALE,
    contract_quantity,
    divide_toward_zero,
)
from gridsecure.billing.rules import POWER_FACTOR, LineRule, rate_units
from gridsecure.billing.settlement_columns import POWER_FACTOR_COLUMN
from gridsecure.billing.table_rows import TableRows, numbers_of
from gridsecure.errors import OutOfRangeError
from gridsecure.homomorphic.thresholds import GATED_LEVEL
from gridsecure.plans.circuit import LIMB_MASK, Circuit, combine_columns, limb_of
from gridsecure.plans.lines.hours import CAPACITY
from gridsecure.plans.lines.kind import (
    NO_FACTS,
    PRODUCT_LIMBS,
    Decrypted,
    LineKind,
    Method,
    Part,
    Reads,
    Rules,
    Values,
)
from gridsecure.plans.lines.public import charges_capacity
from gridsecure.plans.quantities import (
    FACTOR_QUANTITY,
    LIMB_BITS,
    LIMBS,
    LOWEST_STEP,
    factor_quantity,
    limb_quantity,
)
from gridsecure.tariffs.power_factor import HIGHEST_FACTOR, adjustment_table

KindOf = Callable[[LineRule], LineKind]
_STEPS: Final = range(LOWEST_STEP + 1, HIGHEST_FACTOR + 1)


def power_factor_kind(kind_of: KindOf) -> LineKind:
    """The kind of percentages of other lines."""
    return LineKind(
        takes=lambda rule: rule.basis == POWER_FACTOR,
        describe=partial(_describe, kind_of),
        read=partial(_read, kind_of),
        settle=_settle,
        split=partial(_split, kind_of),
        is_summed=True,
        multiplies_columns=True,
        bound_wh=lambda _rule: None,
        finish=_finish,
        afterwards=lambda _rule: (
            "divide percentage × base by 10,000, cut at 1e-11; compare with the lines"
        ),
        facts=_facts,
    )


def _describe(kind_of: KindOf, rule: LineRule, rules: Rules) -> Method:
    base = (rules[number] for number in rule.base)
    deepest = max((kind_of(line).describe(line, rules).depth for line in base), default=0)
    how = (
        "percentage × Σ rate × quantity: the percentage is looked up by the thermometer that the"
        " gateway encrypts; limb of rate by limb of quantity; divided by 10,000 after decryption"
    )
    return Method(PRODUCT_LIMBS, how, depth=deepest + 1)


def _read(kind_of: KindOf, rule: LineRule, rules: Rules) -> Reads:
    """The lookup, and limbs of what the lines of the base multiply."""
    base = (rules[number] for number in rule.base)
    limbed = (quantity for line in base for quantity in kind_of(line).read(line, rules).linear)
    steps = {factor_quantity(n): 1 for n in _STEPS}
    return Reads(limbed=tuple(limbed), looked_up={FACTOR_QUANTITY: LOWEST_STEP, **steps})


def _settle(_rule: LineRule, settled: TableRows) -> Values:
    factors = numbers_of(settled, POWER_FACTOR_COLUMN)
    values = {factor_quantity(n): (factors >= n).astype(np.int64) for n in _STEPS}
    return values | {FACTOR_QUANTITY: np.minimum(factors, LOWEST_STEP)}


def _finish(decrypted: Decrypted, lines: Sequence[int]) -> None:
    for line in lines:
        decrypted.amounts[line] = divide_toward_zero(decrypted.amounts[line], PERCENT_SCALE)


def _facts(rule: LineRule, rules: Rules) -> frozenset[str]:
    """A percentage of a capacity charge among other lines tells how large it is beside them."""
    is_charged = any(charges_capacity(rules[number]) for number in rule.base)
    return frozenset({CAPACITY}) if is_charged else NO_FACTS


def _split(
    kind_of: KindOf, circuit: Circuit[Any], rule: LineRule, limb_bits: int
) -> list[Part[Any]]:
    """Limbs of the amount [1e-15 yuan], and the percentage.

    Raises:
        OutOfRangeError: A line of the base that cannot be taken in limbs (`plan.power-factor`).
    """
    percentage = _look_up(circuit, rule)
    base = _Base(kind_of, circuit, rule)
    parts: list[Part[Any]] = []
    for limb in range(base.rate_limbs(limb_bits)):
        for place in range(LIMBS):
            column, public = base.limb(place, limb, bits=limb_bits)
            if column is None and not public.any():
                continue
            if column is None:
                product = percentage.select(public)
            else:
                factor = column.raise_by(public) if public.any() else column
                product = percentage.times(factor).relinearise()
            weight = 2 ** (LIMB_BITS * place + limb_bits * limb)
            parts.append(Part(product, weight, 0, is_priced=False))
    parts.append(Part(percentage, 0, PERCENT_QUANTITY, is_priced=False))
    return parts


def _look_up(circuit: Circuit[Any], rule: LineRule) -> Any:
    """The table's percentage [0.01 %] of every slot."""
    table = adjustment_table(rule.standard)
    steps = table[:-1] - table[1:]  # what a hundredth more takes off
    slope = int(steps[0])
    if (steps[:LOWEST_STEP] != slope).any():
        raise ValueError("a table that bends below its lowest step needs more columns")
    factors = {FACTOR_QUANTITY: slope} if slope else {}
    factors |= {factor_quantity(n): int(steps[n - 1]) for n in _STEPS if steps[n - 1]}
    taken = _grouped(factors, circuit)
    highest, lowest = int(table[0]), int(table[-1])
    percentage = taken.complement().raise_by(highest - 1).narrow(lowest, highest)
    return percentage.switch_down(circuit.parameters.fresh_primes - GATED_LEVEL)


def _grouped(factors: dict[str, int], circuit: Circuit[Any]) -> Any:
    """Σ factor × column, scaling once for every distinct factor."""
    by_factor: dict[int, dict[str, int]] = {}
    for name, factor in factors.items():
        by_factor.setdefault(factor, {})[name] = 1
    sums = [
        combine_columns(names, circuit.inputs).scale(factor) for factor, names in by_factor.items()
    ]
    result = sums[0]
    for column in sums[1:]:
        result = result.plus(column)
    return result


class _Base:
    """The lines a percentage applies to, by limb of quantity and limb of rate."""

    def __init__(self, kind_of: KindOf, circuit: Circuit[Any], rule: LineRule) -> None:
        self._kind_of = kind_of
        self._slots = len(circuit.contracts)
        self._primes = circuit.parameters.fresh_primes - GATED_LEVEL
        self._columns: dict[str, Any] = {}
        self._encrypted: list[tuple[int, list[str]]] = []  # rate, names of its limbs
        self._public: list[tuple[int, NDArray[np.int64]]] = []  # rate, quantity by slot
        for number in rule.base:
            self._add(circuit, number)

    def _add(self, circuit: Circuit[Any], number: int) -> None:
        line = circuit.rules[number]
        rate, kind = rate_units(line.rate), self._kind_of(line)
        if kind.split is None:
            public = contract_quantity(line, circuit.contracts, circuit.period)
            if len(public) and int(public.max()) >= 2 ** (LIMB_BITS * LIMBS):
                raise _too_wide(line)
            self._public.append((rate, public))
            return
        linear = kind.read(line, circuit.rules).linear
        if linear:
            names = [limb_quantity(linear[0], n) for n in range(LIMBS)]
            self._columns |= {
                name: circuit.inputs[name].switch_down(self._primes)
                for name in names
                if name not in self._columns
            }
        elif kind.is_limbed(line):
            names = [f"line:{number}:{n}" for n in range(LIMBS)]
            parts = kind.split(circuit, line, LIMB_BITS)
            columns = [part.column.switch_down(self._primes) for part in parts]
            self._columns |= dict(zip(names, columns, strict=True))
        else:
            raise _too_wide(line)
        self._encrypted.append((rate, names))

    def rate_limbs(self, bits: int) -> int:
        """Limbs of the largest rate."""
        rates = [rate for rate, _ in (*self._encrypted, *self._public)]
        return -(-max(abs(rate) for rate in rates).bit_length() // bits) if rates else 0

    def limb(self, place: int, limb: int, *, bits: int) -> tuple[Any, NDArray[np.int64]]:
        """B(place, limb): its encrypted part, None where there is none, and its public part."""
        factors: dict[str, int] = {}
        for rate, names in self._encrypted:
            factors[names[place]] = factors.get(names[place], 0) + limb_of(rate, limb, bits=bits)
        public = np.zeros(self._slots, dtype=np.int64)
        for rate, quantity in self._public:
            public += limb_of(rate, limb, bits=bits) * (quantity >> (LIMB_BITS * place) & LIMB_MASK)
        return combine_columns({name: f for name, f in factors.items() if f}, self._columns), public


def _too_wide(rule: LineRule) -> OutOfRangeError:
    return OutOfRangeError(
        f"The power factor cannot be applied to the charge {rule.charge!r} on ciphertext.",
        reason="plan.power-factor",
        remedy="Leave the charge out of the base (excludes), or bill it by its own tariff.",
    )
