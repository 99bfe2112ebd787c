"""Rows of contracts or settlements as tariffs and plans look at them: a column by its name.

A frame is that. Whoever bills rosters has the same as a few lists (`Columns`) and does without
frames: their library takes a worker process as long to load as half of all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class TableRows(Protocol):
    """Rows in the order wanted: a contract or settlement frame, or `Columns`."""

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def __contains__(self, name: Any, /) -> bool:
        """Whether there is such a column."""
        ...

    def __getitem__(self, name: str, /) -> Any:
        """A column, one element per row."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Rows by column; there is a column at least, and all have one length."""

    by_name: Mapping[str, Sequence[str] | npt.NDArray[np.int64]]

    def __len__(self) -> int:
        return len(next(iter(self.by_name.values())))

    def __contains__(self, name: object, /) -> bool:
        return name in self.by_name

    def __getitem__(self, name: str, /) -> Sequence[str] | npt.NDArray[np.int64]:
        return self.by_name[name]


def numbers_of(rows: TableRows, name: str) -> npt.NDArray[np.int64]:
    """A column of whole numbers."""
    return np.asarray(rows[name], dtype=np.int64)
