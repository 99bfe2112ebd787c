"""Answers to trials of questions: what would become of one, before anything is spent on it.

A trial tells no number: neither how many are in a group nor that there is one that is too small,
in the words in which a question is refused. All of it is in the key authority's word, sealed to the
reader and padded, as answers are.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from gridsecure.messages import Digest, Message

TRIALS_OF_PASS: Final = 20
"""How often one pass tries a question."""


class TriedGroup(Message):
    """A group with enough customers.

    Args:
        values: What its meter points have in common, in the order of `group_by`.
        cohort: As in answers.
        conflicts: Of one that would be withheld, ids of releases that it conflicts with, of those
            whose certificates list their cells; empty where it is something else that was told
            before, or where several do so together.
    """

    kind: ClassVar[str] = "tried-group"
    values: list[str]
    cohort: str
    conflicts: list[str] = Field(default_factory=list)


class TriedBudget(Message):
    """What a question would take one of.

    Args:
        left: How many releases of this month may still be about it.
        of: Out of how many.
    """

    kind: ClassVar[str] = "tried-budget"
    measure: str
    resolution: str
    customer_class: str
    left: int
    of: int


class TriedCost(Message):
    """What would be read and computed: the same for all questions of a public period.

    Args:
        columns: Encrypted columns, each of a roster and a day.
        objects: What is fetched of the platform: columns, rosters and uploads.
        bytes: Of the columns.
        seconds: Estimate of the key authority's work [s].
    """

    kind: ClassVar[str] = "tried-cost"
    columns: int
    objects: int
    bytes: int
    seconds: float


class TriedNoise(Message):
    """What the noise of a question would cost, and how near it would leave a total.

    Args:
        epsilon: What it costs.
        left: What is left of the budget, of the customer class with the least.
        of: Out of how much.
        accuracy: So near the exact total each is, in 95 of 100 cases [Wh].
    """

    kind: ClassVar[str] = "tried-noise"
    epsilon: str
    left: str
    of: str
    accuracy: int


class TrialAnswer(Message):
    """What would become of a question.

    Args:
        asked_by: SM3 of the query as it was sent.
        is_allowed: Whether any group would be told.
        reason: Why not; likewise `message` and `remedy`.
        resolution: How fine its numbers are, as policy decides by it.
        told: The groups that would be told of.
        withheld: Those that would not.
        approvals: Who has to approve it, if no standing authorisation does.
        budgets: What it would take one of, of all customer classes that lie there.
        noise: What its noise would cost, where it asks for some.
        cost: What it would cost to compute; None where the question does not say.
        nearest: The nearest question that was tried and is allowed, where this one is not.
        closings: Digests of the closing lists that it was tried over.
        left_out: Rosters of these lists that would be in no group.
        trials_left: How often its pass tries a question still.
    """

    kind: ClassVar[str] = "trial-answer"
    asked_by: Digest
    is_allowed: bool
    reason: str = ""
    message: str = ""
    remedy: str = ""
    resolution: str = ""
    told: list[TriedGroup] = Field(default_factory=list)
    withheld: list[TriedGroup] = Field(default_factory=list)
    approvals: list[str] = Field(default_factory=list)
    budgets: list[TriedBudget] = Field(default_factory=list)
    noise: TriedNoise | None = None
    cost: TriedCost | None = None
    nearest: str = Field(default="", repr=False)
    closings: list[Digest] = Field(default_factory=list)
    left_out: int = 0
    trials_left: int = 0
