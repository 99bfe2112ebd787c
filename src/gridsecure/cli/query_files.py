"""What an answer is printed as, and the files that it is written to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.analyst.reports import harmless_label
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import to_the_minute
from gridsecure.errors import StorageError
from gridsecure.queries.answers import UNCERTAINTY
from gridsecure.queries.lines import TOLD
from gridsecure.whole_files import replace_file

with on_use():
    from gridsecure.analyst import answer_charts

if TYPE_CHECKING:
    from gridsecure.analyst.desk import Answer

MOST_ROWS = 60
"""So many rows are printed; files have all."""


@dataclass(frozen=True, slots=True)
class AnswerFiles:
    """Files that an answer is written to, where they are named."""

    csv: Path | None = None
    parquet: Path | None = None
    chart: Path | None = None

    def write(self, answer: Answer) -> list[Path]:
        """Write them.

        Raises:
            StorageError: The disk refuses (`query.output`).
            InputError: As `answer_charts.draw_answer`.
        """
        written = []
        for path, content in self._contents(answer):
            try:
                replace_file(path, [content])
            except OSError as error:
                raise StorageError(
                    f"{path.name} cannot be written.",
                    reason="query.output",
                    remedy="Check its folder, its permissions and the space that is left.",
                ) from error
            written.append(path)
        return written

    def _contents(self, answer: Answer) -> Iterator[tuple[Path, bytes]]:
        if self.csv is not None:
            yield self.csv, csv_bytes(answer.frame)
        if self.parquet is not None:
            yield self.parquet, parquet_bytes(answer.frame)
        if self.chart is not None:
            chart = answer_charts.draw_answer(
                answer.question, answer.frame, ending=self.chart.suffix
            )
            yield self.chart, chart


def csv_bytes(answer: pd.DataFrame) -> bytes:
    """An answer as CSV; spreadsheets read it as UTF-8, and run no label as a formula."""
    shown = answer.copy()
    for name in shown.columns:
        shown[name] = [_write(value) for value in shown[name]]
    return shown.to_csv(index=False, lineterminator="\n").encode("utf-8-sig")


def _write(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return "" if value is None else harmless_label(str(value))


def parquet_bytes(answer: pd.DataFrame) -> bytes:
    """An answer as Parquet: values are decimals, exact."""
    typed = answer.astype({"meter_points": "int64"})
    buffer = BytesIO()
    typed.to_parquet(buffer, index=False)
    return buffer.getvalue()


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """An answer as a document: numbers as text, because they are exact."""
    rows = [
        {name: format(v, "f") if isinstance(v, Decimal) else v for name, v in row.items()}
        for row in answer.frame.to_dict("records")
    ]
    return {
        "question": answer.question.text,
        "rows": rows,
        "releases": [release.release_id for release in answer.releases],
        "chain": [link._asdict() for link in answer.chain],
        "terms": answer.terms.model_dump(exclude_defaults=True),
    }


def show_answer(answer: pd.DataFrame, console: Console) -> None:
    """Print the first rows of an answer."""
    table = Table()
    for name in answer.columns:
        is_number = name in ("value", UNCERTAINTY)
        head = "±" if name == UNCERTAINTY else name.replace("_", " ")
        table.add_column(head, justify="right" if is_number else "left")
    for row in answer.head(MOST_ROWS).to_dict("records"):
        table.add_row(*(Text(_cell(str(name), value)) for name, value in row.items()))
    console.print(table)
    if len(answer) > MOST_ROWS:
        console.print(f"{len(answer) - MOST_ROWS:,} more rows: write them with --csv or --parquet.")


def _cell(name: str, value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:,f}"
    if name in ("start", "end"):
        return to_the_minute(str(value))
    return "" if value is None else str(value)


def count_missing(answer: pd.DataFrame) -> dict[str, int]:
    """How many numbers there are not, by why."""
    counts = answer["state"].value_counts()
    return {str(state): int(number) for state, number in counts.items() if state != TOLD}
