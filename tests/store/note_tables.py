"""A small zone of tests: notes with a state, and replies to them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from sqlalchemy.orm import registry
from sqlmodel import Field, Session, SQLModel, col, select

from gridsecure.store.rows import Kept, Moment
from gridsecure.store.schema import Schema

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class Row(SQLModel, registry=registry()):
    """A row of the notes' database."""


class Note(Kept, Row, table=True):
    """A note, perhaps the only one about its topic."""

    SAME: ClassVar = ("name", "digest")

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    topic: str | None = Field(default=None, unique=True)
    digest: str = "d"
    state: str = Field(default="", index=True)
    text: str = ""
    at: datetime = Field(default=NOW, sa_type=Moment)


class Reply(Kept, Row, table=True):
    """A reply, which is one to a note."""

    SAME: ClassVar = ("name", "note")

    name: str = Field(primary_key=True)
    note: str = Field(foreign_key="note.name", index=True)


NOTES = Schema(
    metadata=Row.metadata, scripts=Path(__file__).parent / "note_scripts", head="notes_0002"
)


def names(session: Session) -> list[str]:
    """Of all notes, in the order they were kept."""
    return [note.name for note in session.exec(select(Note).order_by(col(Note.id)))]
