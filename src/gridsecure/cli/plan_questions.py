"""What a plan would compute: a tariff, and the contracts of a roster for a month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from gridsecure.billing.contracts import default_contracts, load_contracts
from gridsecure.errors import InputError, NotFoundError
from gridsecure.messages import MAX_SLOTS
from gridsecure.month_texts import read_month
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.plans.explain import Explanation, explain
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, load_tariff

ASSUMED_VA = 315_000
"""Contracted capacity of a meter point that no contract file describes [VA]."""


@dataclass(frozen=True, slots=True)
class PlanQuestion:
    """What to explain.

    Args:
        tariff: A tariff file, or the id of one in the catalogue.
        contract: Contract file, or None.
        month: YYYY-MM, or None for the tariff's first whole month.
        slots: Meter points of the roster; by default the contracts, or a full roster.
    """

    tariff: str
    contract: Path | None = None
    month: str | None = None
    slots: int | None = None


def answer_question(question: PlanQuestion) -> Explanation:
    """Answer a question.

    Raises:
        GridSecureError: With a reason code and a remedy.
    """
    if question.slots is not None and question.slots > MAX_SLOTS:
        raise InputError(
            f"A roster has at most {MAX_SLOTS} meter points.",
            reason="plan.slots",
            remedy="Give a smaller --slots, or leave it out for a full roster.",
        )
    path = catalogue_tariffs().get(question.tariff, Path(question.tariff))
    if not path.is_file():
        raise NotFoundError(
            f"There is no tariff file and no catalogue tariff {question.tariff!r}.",
            remedy="Check the path or the id given to --tariff.",
        )
    tariff = load_tariff(path)
    period = _period(question.month, tariff)
    contracts = _roster(question)
    large = bool((contracts["large"] == "yes").any())
    return explain(tariff, contracts=contracts, period=period, large=large)


def _roster(question: PlanQuestion) -> pd.DataFrame:
    """The contracts, or a typical one, repeated over the slots."""
    if question.contract is None:
        rows = default_contracts(["a meter point"]).assign(contracted_va=ASSUMED_VA)
        slots = question.slots or MAX_SLOTS
    else:
        rows = load_contracts(question.contract)
        slots = question.slots or min(len(rows), MAX_SLOTS)
    if rows.empty:
        raise InputError(
            "The contract file has no meter points.",
            reason="contract.file",
            remedy="Give a file with at least one, or none at all.",
        )
    return rows.iloc[np.arange(slots) % len(rows)].reset_index(drop=True)


def _period(month: str | None, tariff: Tariff) -> BillingPeriod:
    if month is None:
        first = tariff.valid_from if tariff.dynamic is None else tariff.dynamic.start.date()
        return billing_month(*_whole_month(first), timezone=tariff.timezone)
    return billing_month(*read_month(month), timezone=tariff.timezone)


def _whole_month(first: date) -> tuple[int, int]:
    """The first month that begins on or after a date."""
    number = first.year * 12 + first.month - (first.day == 1)
    return number // 12, number % 12 + 1
