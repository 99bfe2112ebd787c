"""What a kind of bill line is: the questions that the rest of the plans ask of it.

A line is a list of *parts*. A part is a column with two weights: its values times the rate times
`amount_weight` count in the line's amount [1e-11 yuan], its values times `quantity_weight` in its
quantity [1e-3 unit]. One part is the rule; none, where public facts make the line zero for
everybody. A quantity that must be multiplied by another secret is there in limbs of eight bits, so
that every product stays below the plain modulus, and has a part for every limb.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.rules import LineRule
from gridsecure.billing.table_rows import TableRows
from gridsecure.errors import OutOfRangeError
from gridsecure.homomorphic.columns import Column
from gridsecure.periods import BillingPeriod
from gridsecure.plans.circuit import Circuit
from gridsecure.plans.quantities import LIMB_BITS, MAX_REGISTER_WH, ColumnNeed, Measure

LINEAR: Final = "linear"
THRESHOLD: Final = "threshold on digits"
GATED_LIMBS: Final = "threshold on digits, in limbs"
PRODUCT_LIMBS: Final = "product of columns, in limbs"
PUBLIC: Final = "public quantity"
DECRYPTED: Final = "from decrypted lines"

Rules = Sequence[LineRule]
Numbers = NDArray[Any]
Values = dict[str, NDArray[np.int64]]
NO_FACTS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Method:
    """How a line is computed; x is the energy, w what thresholds compare, T a public threshold.

    Args:
        operation: The class of operation, one of the names above.
        how: In a sentence.
        depth: Ciphertext products in a row.
    """

    operation: str
    how: str
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Part(Generic[Column]):
    """A column that counts in a line.

    Args:
        amount_weight: What a value counts in the amount, before the rate; zero for none.
        quantity_weight: What it counts in the quantity; zero for none.
        is_priced: Whether the rate still has to be multiplied in.
    """

    column: Column
    amount_weight: int
    quantity_weight: int
    is_priced: bool = True


@dataclass(frozen=True, slots=True)
class Reads:
    """The settlement columns of a line, in groups; a gateway publishes group after group.

    Args:
        linear: Quantities that are only multiplied by public numbers.
        intervals: Columns of intervals that have prices of their own.
        measures: What thresholds compare, in digits.
        whole: Quantities that are read whole beside products, with their largest values.
        limbed: Quantities that products take limb by limb.
        looked_up: Columns of a lookup, with their largest values.
    """

    linear: tuple[str, ...] = ()
    intervals: tuple[ColumnNeed, ...] = ()
    measures: tuple[Measure, ...] = ()
    whole: Mapping[str, int] = field(default_factory=dict)
    limbed: tuple[str, ...] = ()
    looked_up: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Decrypted:
    """Lines put together from decrypted columns; a kind finishes its own in place.

    Args:
        quantities: One row a line, one column a slot [1e-3 unit].
        amounts: The same shape [1e-11 yuan].
        divisor: The total that shares are divided by, one number a slot.
    """

    rules: Rules
    quantities: Numbers
    amounts: Numbers
    divisor: Numbers


Split = Callable[[Circuit[Any], LineRule, int], list[Part[Any]]]


def weigh_limbs(columns: Sequence[Column]) -> list[Part[Column]]:
    """Limbs of a quantity, least significant first, as parts that are priced."""
    weights = [2 ** (LIMB_BITS * n) for n in range(len(columns))]
    return [Part(column, w, w) for column, w in zip(columns, weights, strict=True)]


def inconsistent(message: str) -> OutOfRangeError:
    """The error for decrypted numbers that no honest columns have."""
    return OutOfRangeError(
        message,
        reason="bill.inconsistent",
        remedy="Do not release; check the keys, and what the gateway uploaded.",
    )


def _reads_nothing(_rule: LineRule, _rules: Rules) -> Reads:
    return Reads()


def _no_values(_rule: LineRule, _settled: TableRows) -> Values:
    return {}


def _no_divisor(_circuit: Circuit[Any], _rule: LineRule) -> list[Part[Any]]:
    return []


def _no_limits(
    _rule: LineRule, _contracts: TableRows, _period: BillingPeriod
) -> NDArray[np.int64] | None:
    return None


def _leave(_decrypted: Decrypted, _lines: Sequence[int]) -> None:
    """Nothing to divide or check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineKind:
    """One kind of bill line. What a kind does not say stays as below.

    Args:
        takes: Whether a line is of this kind.
        describe: How a line is computed, in words.
        settle: Values of the columns that stand in a settlement frame as they are.
        split: Its parts, by circuit, rule and bits of a price limb; None where nothing is computed
            on columns, because it follows from public facts and other lines.
        is_summed: Whether it sums over prices first, so that widths of price limbs are tried.
        multiplies_columns: Whether it multiplies columns that are no digits, which is one level
            deeper.
        divide_by: Parts of what it is divided by after decryption.
        is_limbed: Whether its parts are the limbs of one quantity, so that it may be of any size
            and a percentage may apply to it.
        limits_wh: Limits of every slot that may be counted in steps [Wh]; None where it has none.
        bound_wh: Largest quantity of a line; None where it is no energy or demand.
        finish: Divides and checks decrypted lines of this kind.
        afterwards: What the authority does with its decrypted outputs, in words; "" for nothing.
        energy: What a line says of the energy a bill stands for: a rank, lowest first, and which
            lines of that rank are about the same energy; None for nothing.
        facts: Facts of the contract that its amount depends on besides tier limits, where that
            tells more than a public amount.
    """

    takes: Callable[[LineRule], bool]
    describe: Callable[[LineRule, Rules], Method]
    read: Callable[[LineRule, Rules], Reads] = _reads_nothing
    settle: Callable[[LineRule, TableRows], Values] = _no_values
    split: Split | None = None
    is_summed: bool = False
    multiplies_columns: bool = False
    divide_by: Callable[[Circuit[Any], LineRule], list[Part[Any]]] = _no_divisor
    is_limbed: Callable[[LineRule], bool] = lambda _rule: False
    limits_wh: Callable[[LineRule, TableRows, BillingPeriod], NDArray[np.int64] | None] = _no_limits
    bound_wh: Callable[[LineRule], int | None] = lambda _rule: MAX_REGISTER_WH
    finish: Callable[[Decrypted, Sequence[int]], None] = _leave
    afterwards: Callable[[LineRule], str] = lambda _rule: ""
    energy: Callable[[LineRule], tuple[int, object] | None] = lambda _rule: None
    facts: Callable[[LineRule, Rules], frozenset[str]] = lambda _rule, _rules: NO_FACTS
