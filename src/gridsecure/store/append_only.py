"""Triggers that keep a table's rows from being changed, on each database that is in use."""

from __future__ import annotations

from typing import Final

from sqlalchemy import DDL, Table, event

_REFUSED: Final = "the evidence log is append-only"
_GUARDS: Final = (
    *(
        (
            "sqlite",
            f"CREATE TRIGGER IF NOT EXISTS evidence_no_{verb.lower()} BEFORE {verb} ON evidence "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
        )
        for verb in ("UPDATE", "DELETE")
    ),
    (
        "postgresql",
        "CREATE OR REPLACE FUNCTION evidence_append_only() RETURNS trigger LANGUAGE plpgsql "
        f"AS $$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$",
    ),
    (
        "postgresql",
        "CREATE TRIGGER evidence_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON evidence "
        "FOR EACH STATEMENT EXECUTE FUNCTION evidence_append_only()",
    ),
)


def append_only(table: Table) -> None:
    """Guard the evidence table as it is created, against mistakes.

    Args:
        table: The table named `evidence`.
    """
    for dialect, statement in _GUARDS:
        guard = DDL(statement)  # type: ignore[no-untyped-call] # the library left it without types
        event.listen(table, "after_create", guard.execute_if(dialect=dialect))
