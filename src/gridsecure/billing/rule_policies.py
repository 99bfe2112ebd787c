"""A rule book as it holds for the meter points of a batch: one element of an array each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import start_us
from gridsecure.billing.rule_books import HOLD, OFF, QUARANTINE, RuleBook, Setting, default_book
from gridsecure.billing.validation_rules import CheckedReadings, Finding, Mask


@dataclass(frozen=True, slots=True, eq=False)
class ValidationPolicy:
    """What a run of validation is judged by.

    Args:
        book: The rules.
        contracts: Contracts, of which each meter point's class and capacity are taken; without
            one, it is of no class and has no capacity.
        waived: Meter point and rule, where somebody decided that the rule does not hold its bill.
        vouched: `meter_point_id` and `start` of readings that a person vouches for; rules on what
            energies are like do not judge them.
        past: Method of `PAST_METHODS` -> profile of that month, where there is one.
    """

    book: RuleBook = field(default_factory=default_book)
    contracts: pd.DataFrame | None = None
    waived: frozenset[tuple[str, str]] = frozenset()
    past: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    vouched: pd.DataFrame | None = None

    def find_vouched(self, batch: CheckedReadings) -> Mask:
        """Rows of a batch that a person vouches for."""
        found = np.zeros(len(batch.meters), dtype=bool)
        if self.vouched is None or self.vouched.empty:
            return found
        names = pd.Index(batch.names, dtype=str)
        meters = names.get_indexer(pd.Index(self.vouched["meter_point_id"], dtype=str))
        for meter in np.unique(meters[meters >= 0]):
            own_us = start_us(self.vouched.loc[meters == meter])
            rows = np.flatnonzero(batch.meters == meter)
            found[rows[np.isin(batch.starts_us[rows], own_us)]] = True
        return found

    def judge(self, names: NDArray[np.object_]) -> MeterRules:
        """The rules as they hold for some meter points.

        Args:
            names: Their ids, in the order wanted.
        """
        classes = np.full(len(names), "", dtype=object)
        capacities_va = np.zeros(len(names), dtype=np.int64)
        if self.contracts is not None:
            ids = pd.Index(self.contracts["meter_point_id"], dtype=str)
            at = ids.get_indexer(pd.Index(names, dtype=str))
            known = at >= 0
            classes[known] = self.contracts["customer_class"].to_numpy(object)[at[known]]
            capacities_va[known] = self.contracts["contracted_va"].to_numpy(np.int64)[at[known]]
        codes, found = pd.factorize(classes)
        waived: dict[str, Mask] = {}
        places = {str(name): place for place, name in enumerate(names)} if self.waived else {}
        for name, rule in self.waived:
            mask = waived.setdefault(rule, np.zeros(len(names), dtype=bool))
            if name in places:
                mask[places[name]] = True
        return MeterRules(
            self.book, codes.astype(np.int64), tuple(map(str, found)), capacities_va, waived
        )


@dataclass(frozen=True, slots=True, eq=False)
class MeterRules:
    """The rules of each meter point of a batch.

    Args:
        book: The rules.
        codes: Index into `classes` by meter point.
        classes: Names of customer classes.
        capacities_va: Contracted capacity by meter point [VA]; 0 without.
        waived: Rule -> meter points whose bill it does not hold.
    """

    book: RuleBook
    codes: NDArray[np.int64]
    classes: tuple[str, ...]
    capacities_va: NDArray[np.int64]
    waived: dict[str, Mask]

    def limits(self, rule: str, limit: str) -> NDArray[np.int64]:
        """A limit of a rule by meter point."""
        own = [setting.limits[limit] for setting in self._settings(rule)]
        return np.array(own, dtype=np.int64)[self.codes]

    def does(self, rule: str, *actions: str) -> Mask:
        """Meter points for which a rule does one of these."""
        own = [setting.action in actions for setting in self._settings(rule)]
        return np.array(own, dtype=bool)[self.codes]

    def holds(self, rule: str) -> Mask:
        """Meter points whose bill a rule holds where it finds something."""
        held = self.does(rule, HOLD)
        return held & ~self.waived[rule] if rule in self.waived else held

    def applies(self, rule: str) -> Mask:
        """Meter points to which a rule is applied."""
        return ~self.does(rule, OFF)

    def divide(self, finding: Finding, meters: NDArray[np.int64]) -> tuple[Finding, Finding]:
        """A finding by what its rule does: rows that do not count, and rows that are only told.

        Args:
            finding: Of a rule of the book, whose name it has.
            meters: Meter point of each row.
        """
        actions = {setting.action for setting in self._settings(finding.rule)}
        none = Finding(finding.rule, np.zeros(len(meters), dtype=bool), finding.detail)
        if actions <= {QUARANTINE}:
            return finding, none
        if QUARANTINE not in actions:
            return none, finding
        out = finding.rows & self.does(finding.rule, QUARANTINE)[meters]
        told = finding.rows & ~out
        return (
            Finding(finding.rule, out, finding.detail),
            Finding(finding.rule, told, finding.detail),
        )

    def _settings(self, rule: str) -> list[Setting]:
        return [self.book.setting(rule, name) for name in self.classes]
