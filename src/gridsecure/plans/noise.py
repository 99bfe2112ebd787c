"""Noise on totals: what it protects, how much of it there is, and how far off a total then is.

A total with noise is the exact one and a draw of the discrete Laplace distribution, of a *scale* b:
draws x have a probability proportional to exp(-|x| / b). With b = sensitivity / ε all totals of one
question together are ε-differentially private [1]: whatever one customer's readings are, and if
they are all zero, what is answered has nearly the same probability, up to a factor of exp(ε).

- *Adjacent* are readings that differ in those of one customer, at all of their meter points, by as
  much as a gateway lets readings differ. Who is in a group is not hidden by noise: groups keep
  their minimum of customers, and how many they have is told exactly.
- *Sensitivity* is the most that all totals of a question together differ by between adjacent
  readings [Wh]: groups and steps have nothing in common, so it is one customer's energy of all the
  time that is asked about. Nothing is clipped: gateways refuse readings above the bounds.

ε is kept as a whole number of millionths, because budgets are added up.

[1] Dwork, McSherry, Nissim, Smith: Calibrating noise to sensitivity (TCC 2006), for whole numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gridsecure.errors import InputError
from gridsecure.messages import Message, RosterManifest
from gridsecure.plans.quantities import interval_bound_wh

MILLION: Final = 1_000_000
LARGEST_EPSILON: Final = 10 * MILLION
"""ε = 10, in millionths: more hides next to nothing."""
LARGEST_SCALE: Final = 2**49
"""The mechanism counts in binary fractions: up to here scale and sensitivity are exact in them."""
CONFIDENCE: Final = Fraction(95, 100)
ADJACENCY: Final = "the readings of one customer, at all of their meter points"
_EPSILON: Final = re.compile(r"(0|[1-9]\d?)(\.\d{0,5}[1-9])?", re.ASCII)
EPSILON_PATTERN: Final = rf"^{_EPSILON.pattern}$"
EPSILON_WORDS: Final = 'a number above 0 and up to 10 as text, with up to six decimals, as "0.5"'


class NoiseStatement(Message):
    """What was added to the totals of a question.

    Args:
        epsilon: ε of all of its totals together.
        delta: δ likewise: this mechanism has none.
        adjacency: What readings differ in that nobody can tell apart.
        sensitivity: The most by which these totals may then differ together [Wh].
        scale: Of the distribution of each draw [Wh].
        accuracy: So near the exact total a told one is [Wh], with the probability `confidence`.
        mechanism: The mechanism in the spelling of the library that drew.
    """

    kind: ClassVar[str] = "noise-statement"
    distribution: Literal["discrete-laplace"] = "discrete-laplace"
    epsilon: str
    delta: Literal["0"] = "0"
    adjacency: str = ADJACENCY
    sensitivity: int = Field(ge=0)
    scale: int = Field(ge=1)
    accuracy: int = Field(ge=0)
    confidence: Literal["0.95"] = "0.95"
    mechanism: str = ""


def read_epsilon(text: str) -> int | None:
    """An ε in millionths; None for a text that spells none, or not in its one spelling.

    >>> read_epsilon("0.5"), read_epsilon("0.50"), read_epsilon("0")
    (500000, None, None)
    """
    if not _EPSILON.fullmatch(text):
        return None
    found = int(Fraction(text) * MILLION)
    return found if 0 < found <= LARGEST_EPSILON else None


def spell_epsilon(millionths: int) -> str:
    """The one spelling of an ε, or of a sum of them.

    >>> spell_epsilon(500_000), spell_epsilon(12_000_000), spell_epsilon(1)
    ('0.5', '12', '0.000001')
    """
    whole, rest = divmod(millionths, MILLION)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def laplace_scale(sensitivity: int, epsilon: int) -> int:
    """The scale that a question's noise has: the next whole number above sensitivity / ε.

    The mechanism rounds sensitivity / scale up. Where that would come to more than ε, the scale is
    one more: a question is charged before the mechanism is asked, and must be answered then.

    Args:
        sensitivity: Of all its totals together [Wh].
        epsilon: In millionths.

    Raises:
        InputError: So little ε takes more noise than can be drawn exactly (`query.private`).
    """
    scale = sensitivity * MILLION // epsilon + 1
    if Fraction(math.nextafter(sensitivity / scale, math.inf)) > Fraction(epsilon, MILLION):
        scale += 1
    if scale > LARGEST_SCALE:
        raise InputError(
            "Noise for so small an ε, over so many intervals, is larger than any total.",
            reason="query.private",
            remedy="Ask with a larger ε, or about less time.",
        )
    return scale


def half_width(scales: Sequence[int]) -> int:
    """How far from the exact sum one of numbers with noise is, at the most, in 95 of 100 cases.

    Of one draw it is exact: P(|x| > h) = 2 exp(-(h + 1) / b) / (1 + exp(-1 / b)). Of several the
    bounds of each at a larger confidence are added up (Bonferroni), which is never too little.

    Args:
        scales: Of each draw in the sum [Wh].
    """
    miss = float((1 - CONFIDENCE) / max(len(scales), 1))
    bounds = (b * math.log(2 / (miss * (1 + math.exp(-1 / b)))) - 1 for b in scales)
    return sum(max(0, math.ceil(bound)) for bound in bounds)


def find_sensitivity(
    rosters: Iterable[RosterManifest],
    rows: Sequence[NDArray[np.int64]],
    steps: Mapping[str, NDArray[np.int64]],
    *,
    customer_points: int,
) -> int:
    """The most that one customer's readings may change all totals of a question together [Wh].

    Where all members lie in one zone and class, and each counts, each is a customer of its own.
    Else any customer may have as many meter points among them as the utility's books say at most.

    Args:
        rosters: Taken one after the other, and not kept.
        rows: Per roster, the group of each slot, negative where it is in none.
        steps: By quantity, the step of each interval, negative where it is in none.
        customer_points: Most meter points that one customer has, by policy.
    """
    classes, places, all_count = set[str](), set[tuple[str, str]](), True
    for roster, own in zip(rosters, rows, strict=True):
        counted = roster.counted or [True] * roster.slots
        for slot in np.flatnonzero(own >= 0).tolist():
            classes.add(roster.customer_classes[slot])
            places.add((roster.zones[slot], roster.customer_classes[slot]))
            all_count &= counted[slot]
    points = 1 if all_count and len(places) <= 1 else customer_points
    intervals = sum(int((own >= 0).sum()) for own in steps.values())
    return points * max(map(interval_bound_wh, classes), default=0) * intervals
