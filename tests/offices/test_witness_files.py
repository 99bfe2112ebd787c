"""What an office kept of a log before the log was a tree still holds the log to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, InputError
from gridsecure.offices.files import LOGS, SeenEntry, read_witness
from gridsecure.offices.officers import VerifiedLog, fetch_verified_log
from gridsecure.store.evidence import EvidenceEntry
from gridsecure.store.log_entries import shown_entry
from gridsecure.transparency.tree import Frontier
from gridsecure.wire.identity import EvidenceShown
from tests.grid_simulator import NOW

CHAINED = 5


def named(entry: EvidenceEntry) -> EvidenceEntry:
    return replace(entry, hash=sm3_hex(entry.record.encode()))


def log_of(detail: str = "{}") -> list[EvidenceEntry]:
    """Entries of a chain, and behind them one of the tree."""
    entries: list[EvidenceEntry] = []
    previous = "0" * 64
    for index in range(CHAINED + 1):
        text = detail if index == 1 else "{}"
        behind = previous if index < CHAINED else ""
        entry = named(EvidenceEntry(index, NOW, "identity", "a.b", text, behind, "", "ab" * 16))
        entries.append(entry)
        previous = entry.hash
    return entries


class Office:
    """Shows a log to its officer."""

    def __init__(self, entries: list[EvidenceEntry]) -> None:
        self.entries = entries

    def read(self, _path: str, _kind: type, *, params: dict) -> EvidenceShown:
        behind = self.entries[params["after"] + 1 :]
        return EvidenceShown(entries=[shown_entry(one) for one in behind])


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """As the earlier release wrote it: the fourth entry is the last one that was seen."""
    seen = shown_entry(log_of()[3]).model_dump(exclude={"salt"})
    path = tmp_path / "witness.json"
    path.write_text(json.dumps(dict.fromkeys(LOGS, seen)))
    return path


def verify(witness: Path, entries: list[EvidenceEntry]) -> VerifiedLog:
    return fetch_verified_log(Office(entries), "registrations", witness=witness)


def test_it_is_accepted_once_and_kept_in_the_new_form(witness: Path) -> None:
    entries = log_of()
    first = verify(witness, entries)
    assert first.witnessed == Frontier().grow(entry.leaf for entry in entries[:4])
    kept = read_witness(witness)
    assert kept["registrations"] == first.tree
    assert isinstance(kept["enrolments"], SeenEntry)  # at which nobody looked yet
    assert verify(witness, entries).witnessed == first.tree


def cut(entries: list[EvidenceEntry]) -> list[EvidenceEntry]:
    return entries[:3]


def written_anew(_entries: list[EvidenceEntry]) -> list[EvidenceEntry]:
    return log_of('{"another":1}')


def altered_before(entries: list[EvidenceEntry]) -> list[EvidenceEntry]:
    """The entry that was seen is there, and one that it covers is another."""
    return [entries[0], log_of('{"another":1}')[1], *entries[2:]]


def altered_in_place(entries: list[EvidenceEntry]) -> list[EvidenceEntry]:
    return [entries[0], replace(entries[1], detail="[]"), *entries[2:]]


@pytest.mark.parametrize("change", [cut, written_anew, altered_before, altered_in_place])
def test_a_log_that_is_not_the_one_that_was_seen_is_refused(witness: Path, change) -> None:
    before = witness.read_text()
    with pytest.raises(AuditBrokenError, match=r"audit\.log"):
        verify(witness, change(log_of()))
    assert witness.read_text() == before


def test_what_is_neither_form_is_no_witness(witness: Path) -> None:
    kept = json.loads(witness.read_text())
    del kept["enrolments"]["hash"]
    witness.write_text(json.dumps(kept))
    with pytest.raises(InputError, match=r"office\.witness"):
        read_witness(witness)
