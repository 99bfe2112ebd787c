"""Registers of a meter's own hours in `gridsecure bill`: which hours, and which prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.register_hours import parse_register_hours, prices_apart
from gridsecure.cli.bill_tariffs import BilledTariff
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.face_energies import NO_BOOKS, MeterBooks
from gridsecure.gateway.formats import ReadingsFile
from gridsecure.periods import BillingPeriod

_ALWAYS: Final = (date.min, date.max)


@dataclass(frozen=True, slots=True)
class BilledRegisters:
    """What was said of the registers of a file, and whose energies they tell.

    Args:
        hours: Which hours they count; empty if nobody said it.
        placed: Meter points whose energies are those of registers.
    """

    hours: str = ""
    placed: frozenset[str] = frozenset()

    def books(self) -> MeterBooks:
        """What is known of the file's meters.

        Raises:
            InputError: The hours cannot be read (`register-hours.text`).
        """
        if not self.hours:
            return NO_BOOKS
        parse_register_hours(self.hours)
        return MeterBooks(hours_of=self._of_all)

    def _of_all(self, names: pd.Series[str], _days: pd.DatetimeIndex) -> NDArray[np.object_]:
        return np.full(len(names), self.hours, dtype=object)

    def beside(self, file: ReadingsFile) -> BilledRegisters:
        """The same with the meter points of a file."""
        return replace(self, placed=self.placed | file.placed)

    def check_prices(
        self, billed: BilledTariff, *, names: pd.Series[str], periods: Sequence[BillingPeriod]
    ) -> None:
        """Refuse energies of registers that a tariff prices apart.

        Args:
            names: The meter points that it bills.

        Raises:
            InvalidReadingsError: It does (`readings.register-hours`).
            InputError: It does not cover a period.
        """
        own = names[names.isin(self.placed)]
        spans = [(*_ALWAYS, self.hours)]
        for period in periods if len(own) else ():
            if prices_apart(billed.tariff, period, spans=spans):
                first = own.iloc[0]
                raise InvalidReadingsError(
                    f"The energy of meter point {first!r} is told by registers of its meter's"
                    f" own hours. In {period.name} the tariff {billed.tariff.tariff_id!r} prices"
                    " hours of one register apart, or has a charge that needs intervals.",
                    reason="readings.register-hours",
                    remedy="Send intervals of 5, 10, 15, 30 or 60 minutes, or give the hours that"
                    " the registers counted in that month with --register-hours. Energies of"
                    " registers are billed where one price applies to all hours of a register.",
                )
