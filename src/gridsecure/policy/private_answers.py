"""Numbers with noise: the policy's term that analysts are told these, and no others.

    [private]
    epsilon = "0.5"
    budget = "4"

`epsilon` is the most that one question may cost, and `budget` the most that all questions about the
readings of one month may cost together, of each customer class; both as text, so that they are
exact. A month's budget is spent once: with another month nothing of it comes back.

It needs `customer_points`, because noise hides a customer with all of their meter points, and a
rule that permits analysts something: of what nobody may ask nothing is told with noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from gridsecure.errors import InputError
from gridsecure.plans.noise import EPSILON_WORDS, read_epsilon, spell_epsilon

PRIVATE: Final = "private"
_TERMS: Final = ("epsilon", "budget")

Refuse = Callable[[str, str], InputError]
"""A refusal of a policy, of a sentence and the code of its reason."""


class PrivateTerms(NamedTuple):
    """What questions with noise may cost, in millionths of ε.

    Args:
        epsilon: One question, at the most.
        budget: All questions about a month's readings of a customer class, at the most.
    """

    epsilon: int
    budget: int

    @property
    def said(self) -> str:
        """In words."""
        each, whole = map(spell_epsilon, self)
        return f"with noise of ε {each} a question and {whole} a month of readings"


def read_private(table: object, *, customer_points: int, refuse: Refuse) -> PrivateTerms:
    """Read the policy's table of them.

    Args:
        customer_points: As the policy says; 0 where it does not.

    Raises:
        InputError: From `refuse`: another table (`syntax`), a term that nobody knows (`term`), a
            number that none of them can be (`value`), or no `customer_points` (`private`).
    """
    if not isinstance(table, Mapping):
        raise refuse("[private] says epsilon and budget", "syntax")
    unknown = sorted(table.keys() - set(_TERMS))
    if unknown:
        raise refuse(f"[private] has an unknown term {unknown[0]!r}", "term")
    numbers = [_read(table.get(name), name, refuse) for name in _TERMS]
    terms = PrivateTerms(*numbers)
    if terms.epsilon > terms.budget:
        raise refuse("private.epsilon is more than private.budget", "value")
    if not customer_points:
        raise refuse(
            "[private] without customer_points: how much one customer may change is not known",
            PRIVATE,
        )
    return terms


def _read(given: object, name: str, refuse: Refuse) -> int:
    found = read_epsilon(given) if isinstance(given, str) else None
    if found is None:
        raise refuse(f"private.{name} is {EPSILON_WORDS}", "value")
    return found


def is_less_noise(one: PrivateTerms | None, other: PrivateTerms | None) -> bool:
    """Whether one says more of customers than the other: exact numbers, or a larger ε."""
    if one is None or other is None:
        return one is None and other is not None
    return one.epsilon > other.epsilon or one.budget > other.budget
