"""Mutants are single changes of code that runs, the same ones in every run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import mutants
from tests.mutants import Checkout, mutants_of, picked

CODE = '''"""Not 1 of these is > 0."""

def limit(count: int = 3) -> int:
    """Give 7."""
    none = not count
    if count < 4 and none == 2:
        raise ValueError("5")
    return count + 1
'''


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "src" / "gridsecure" / "room"
    folder.mkdir(parents=True)
    for place in (folder, folder.parent):
        (place / "__init__.py").touch()
    (folder / "code.py").write_text(CODE)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    return folder / "code.py"


def test_every_operator_is_changed_once_and_no_text(room: Path) -> None:
    found = {str(one).partition(": ")[2] for one in mutants_of(room.relative_to(mutants.ROOT))}
    assert {change for change in found if not change.startswith("if")} == {
        "3  ->  4",
        "count < 4 and none == 2  ->  count < 4 or none == 2",
        "count < 4  ->  count <= 4",
        "4  ->  5",
        "not count  ->  count",
        "none == 2  ->  none != 2",
        "2  ->  3",
        "raise ValueError('5')  ->  pass",
        "return count + 1  ->  return None",
        "count + 1  ->  count - 1",
        "1  ->  2",
    }
    assert len(found) == 12


def test_a_mutant_differs_from_the_module_in_its_change_alone(room: Path) -> None:
    plain = ast.unparse(ast.parse(CODE)).splitlines()
    for mutant in mutants_of(room.relative_to(mutants.ROOT)):
        lines = mutant.text.splitlines()
        assert sum(one != other for one, other in zip(plain, lines, strict=True)) == 1


def test_a_seed_picks_the_same_mutants_where_other_code_changed(room: Path) -> None:
    def names() -> list[str]:
        return [str(one).partition(": ")[2] for one in picked("room", count=6, seed=3)]

    first = names()
    room.write_text("import os\n\n\n" + CODE)
    assert names() == first
    assert [str(one) for one in picked("room", count=6, seed=4)] != first


TEST = """
from gridsecure.room.code import limit

def test_limit():
    assert {claim}
"""


@pytest.mark.parametrize(("claim", "killer"), [("limit(4) == 5", "test"), ("True", None)])
def test_a_mutant_is_killed_by_a_test_that_fails(
    room: Path, claim: str, killer: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "OUTPUT", None)  # shown beside a failure of this test
    test = mutants.ROOT / "test_code.py"
    test.write_text(TEST.format(claim=claim))
    found = mutants_of(room.relative_to(mutants.ROOT))
    (mutant,) = (one for one in found if str(one).endswith(": count + 1  ->  count - 1"))
    assert Checkout(mutants.ROOT).killer(mutant, [str(test)]) == killer
    assert room.read_text() == CODE
