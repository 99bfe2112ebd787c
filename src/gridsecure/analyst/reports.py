"""Tables and figures made from released cells, and from nothing else.

Invariants:
- A sum runs over released cells only; cells that are withheld are counted beside it, by reason.
- Money is Decimal yuan, energy Decimal kWh, exact; only averages and ratios are rounded, half up.
- A row is released only if every measure of its cell is.

Frames hold Python objects (Decimal, int or None), never binary floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal

import pandas as pd

from gridsecure.analyst.releases import BILL, MEASURES, REBILL, Release, ReleasedCell
from gridsecure.errors import InvalidMessageError
from gridsecure.plans.cells import Place

RELEASED: Final = "released"
SUPPRESSED: Final = "suppressed"
"""Fewer members than the certificate's minimum."""
PROTECTED: Final = "protected"
"""Enough members, but a value would tell about fewer of them than the minimum."""
DOMINATED: Final = "dominated"
"""One customer may have more of it than policy lets one customer have."""
WITHHELD: Final = "withheld"
"""The reader's role sees no values."""

_WH_PER_KWH: Final = Decimal(1000)
_FEN_PER_YUAN: Final = Decimal(100)
_AVERAGE_STEP: Final = Decimal("0.0001")  # a hundredth of a fen, as average prices are quoted
_LEADS_A_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")
"""The last four are those of full width, which spreadsheets of East Asia take for the same."""
_COLUMNS: Final = (
    "zone", "customer_class", "start", "end", "parts", "state", "bills", "energy_kwh",
    "amount_yuan", "average_yuan_per_kwh",
)  # fmt: skip

Dimension = Literal["zone", "customer_class"]


@dataclass(frozen=True, slots=True)
class BillTotals:
    """Control totals over the released cells of a bill run.

    Args:
        bills: Number of bills.
        energy_kwh: Energy billed [kWh].
        amount_yuan: Amount billed [yuan].
        average_yuan_per_kwh: Their ratio, 4 decimals half up; None without energy.
        cells: Cells that are in the sums.
        suppressed: Cells left out because they are too small.
        protected: Cells left out because a value would tell about too few of their members.
        dominated: Cells left out because one customer may have too much of them.
        withheld: Cells left out because the reader's role sees no values.
    """

    bills: int
    energy_kwh: Decimal
    amount_yuan: Decimal
    average_yuan_per_kwh: Decimal | None
    cells: int
    suppressed: int
    protected: int
    dominated: int
    withheld: int

    @property
    def cells_left_out(self) -> int:
        """Cells that are in no sum, for whatever reason."""
        return self.suppressed + self.protected + self.dominated + self.withheld


def energy_kwh(energy_wh: int) -> Decimal:
    """Energy in kWh, exact."""
    return Decimal(energy_wh) / _WH_PER_KWH


def amount_yuan(amount_fen: int) -> Decimal:
    """Money in yuan with two decimals, exact."""
    return (Decimal(amount_fen) / _FEN_PER_YUAN).quantize(Decimal("0.01"))


def average_price(amount: Decimal, energy: Decimal) -> Decimal | None:
    """Yuan per kWh, 4 decimals half up; None without energy."""
    if energy == 0:
        return None
    return (amount / energy).quantize(_AVERAGE_STEP, rounding=ROUND_HALF_UP)


def cell_state(cells: Iterable[ReleasedCell], *, release: Release) -> str:
    """Whether all measures of a cell are released, and if not, why."""
    missing = [cell for cell in cells if cell.value is None]
    if not missing:
        return RELEASED
    if any(cell.is_small for cell in missing):
        return SUPPRESSED
    if any(cell.is_dominated for cell in missing):
        return DOMINATED
    return PROTECTED if release.values_shown else WITHHELD


def bill_table(release: Release) -> pd.DataFrame:
    """One row per cell of a bill release; what was not released of a cell is None.

    Raises:
        InvalidMessageError: A measure is missing or appears twice (`release.malformed`).
        ValueError: The release is of another plan.
    """
    if release.plan != BILL:
        raise ValueError("a bill table needs a release of the bill plan")
    return _group_table(release)


def correction_table(release: Release) -> pd.DataFrame:
    """One row per cell of a release of corrections: what they changed, as `bill_table`.

    The average price of a difference says nothing.

    Raises:
        InvalidMessageError: A measure is missing or appears twice (`release.malformed`).
        ValueError: The release is of another plan.
    """
    if release.plan != REBILL:
        raise ValueError("a table of corrections needs a release of the rebill plan")
    return _group_table(release)


def _group_table(release: Release) -> pd.DataFrame:
    grouped: dict[tuple[str, str, datetime, datetime], dict[str, ReleasedCell]] = {}
    for cell in release.cells:
        measures = grouped.setdefault((cell.zone, cell.customer_class, cell.start, cell.end), {})
        if cell.measure in measures:
            raise _malformed("appears twice")
        measures[cell.measure] = cell
    rows = []
    for place, measures in sorted(grouped.items()):
        if measures.keys() != MEASURES[release.plan]:
            raise _malformed("lacks a measure")
        state = cell_state(measures.values(), release=release)
        parts = measures["bills"].parts
        rows.append((*place, parts, state, *_bill_figures(measures)))
    return pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object)


def _bill_figures(measures: dict[str, ReleasedCell]) -> tuple[object, ...]:
    bills, wh, fen = (measures[name].value for name in ("bills", "energy_wh", "amount_fen"))
    energy = None if wh is None else energy_kwh(wh)
    amount = None if fen is None else amount_yuan(fen)
    if energy is None or amount is None:
        return bills, energy, amount, None
    return bills, energy, amount, average_price(amount, energy)


def bill_totals(table: pd.DataFrame) -> BillTotals:
    """Control totals over a bill table's released rows."""
    released = select_released(table)
    energy = sum(released["energy_kwh"], Decimal(0))
    amount = sum(released["amount_yuan"], Decimal("0.00"))
    return BillTotals(
        bills=sum(released["bills"]),
        energy_kwh=energy,
        amount_yuan=amount,
        average_yuan_per_kwh=average_price(amount, energy),
        cells=len(released),
        suppressed=int((table["state"] == SUPPRESSED).sum()),
        protected=int((table["state"] == PROTECTED).sum()),
        dominated=int((table["state"] == DOMINATED).sum()),
        withheld=int((table["state"] == WITHHELD).sum()),
    )


def all_parts(table: pd.DataFrame, dimension: Dimension, name: str) -> list[Place]:
    """The zones and classes that rows of one zone or class are made of."""
    return [part for parts in table["parts"][table[dimension] == name] for part in parts]


def select_released(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that carry released figures."""
    return table[table["state"] == RELEASED]


def csv_bytes(
    table: pd.DataFrame,
    *,
    release_id: str,
    columns: Sequence[str],
    source: Mapping[str, str] | None = None,
) -> bytes:
    """Released rows as CSV, each with the id of its release.

    Args:
        source: Further columns that are the same in every row: where the figures come from.

    The byte order mark lets spreadsheets read Chinese labels as UTF-8.
    """
    shown = select_released(table)[list(columns)].copy()
    for name in ("zone", "customer_class"):
        shown[name] = [harmless_label(label) for label in shown[name]]
    for name in ("start", "end"):
        shown[name] = [moment.isoformat() for moment in shown[name]]
    for name in shown.columns.difference(["zone", "customer_class", "start", "end"]):
        shown[name] = ["" if v is None else format(v, "f" if isinstance(v, Decimal) else "")
                       for v in shown[name]]  # fmt: skip
    shown.insert(0, "release_id", release_id)
    for name, text in (source or {}).items():
        shown[name] = harmless_label(text)
    return shown.to_csv(index=False, lineterminator="\n").encode("utf-8-sig")


def harmless_label(label: str) -> str:
    r"""A label that no spreadsheet runs as a formula: one such as `=A1` gets an apostrophe.

    >>> [harmless_label(label) for label in ("=1", "\n=1", "\uff1d1", "\uff201", "a=1")]
    ["'=1", "'\n=1", "'\uff1d1", "'\uff201", 'a=1']
    """
    return f"'{label}" if label.startswith(_LEADS_A_FORMULA) else label


def _malformed(what: str) -> InvalidMessageError:
    return InvalidMessageError(
        f"A cell of the release certificate {what}.",
        reason="release.malformed",
        remedy="Run the same release of every service.",
    )
