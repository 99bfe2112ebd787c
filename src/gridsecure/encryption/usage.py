"""What the encryption service meters: each use of a managed key, by kind and organisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sqlmodel import Session, select

from gridsecure.encryption.tables import KeyUseRow, UsageRow
from gridsecure.store.usage import Done, Metered, UsageBook

_MEASURES: Final[Mapping[str, str]] = {
    "signature": "signatures",
    "mac": "macs",
    "mac-check": "mac_checks",
    "data-key-seal": "data_keys_for_sealing",
    "data-key-open": "data_keys_for_opening",
}
OPERATIONS: Final[Mapping[str, str]] = {name: f"managed-key.{name}" for name in _MEASURES}
"""Operation -> what the log calls it."""

BOOK: Final = UsageBook(
    UsageRow,
    {OPERATIONS[name]: Metered(measure, name="use") for name, measure in _MEASURES.items()},
)


def list_done(session: Session) -> Iterator[Done]:
    """What was done, from the service's rows."""
    for row in session.exec(select(KeyUseRow).execution_options(yield_per=1000)):
        yield Done(OPERATIONS[row.operation], row.use, row.organisation, {})
