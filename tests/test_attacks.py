"""Attacks are declared whole, told to whoever reads the documents, and cut out what they say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from gridsecure.wire.reasons import meanings_of
from tests import attacks
from tests.attacks import WITHHELD, Attack, Attacked, cut, declared_attacks, rule, write_attacks

ROOT = Path(__file__).parents[1]
DECLARED = declared_attacks(ROOT / "tests")


def limit(count: int) -> int:
    """A function with a rule in it."""
    if count > 3:
        raise ValueError("more than three")
    if count < 0:
        raise ValueError("fewer than none")
    return count


class Gate:
    """Functions of every kind that a rule can stand in."""

    @property
    def least(self) -> int:
        return 3

    @staticmethod
    def double(count: int) -> int:
        return 2 * count


HERE = "tests.test_attacks"


def test_a_cut_holds_for_whoever_imported_the_function_and_ends_with_it() -> None:
    known = limit
    with cut(f"{HERE}:limit", "count > 3", "False").applied():
        assert known(4) == 4
        with cut(f"{HERE}:limit", "count < 0", "False").applied():
            assert (known(4), known(-1)) == (4, -1)
        with pytest.raises(ValueError, match="fewer"):
            known(-1)
    with pytest.raises(ValueError, match="more"):
        known(4)


def test_methods_and_properties_are_cut() -> None:
    with cut(f"{HERE}:Gate.least", "3", "4").applied():
        assert Gate().least == 4
    with cut(f"{HERE}:Gate.double", "2 * count", "count").applied():
        assert Gate.double(5) == 5
    assert (Gate().least, Gate.double(5)) == (3, 10)


@pytest.mark.parametrize("place", ["count > 4", "count"])
def test_a_place_that_is_not_there_or_not_once_is_said(place: str) -> None:
    with pytest.raises(AssertionError, match="times"), cut(f"{HERE}:limit", place, "").applied():
        pass


def test_an_attack_ends_as_its_rules_say_and_once() -> None:
    both = Attack("two", (rule("One.", "a.one"), rule("Two.", WITHHELD)))
    for without, code in enumerate(("a.one", WITHHELD, None)):
        tried = Attacked(both, without)
        assert tried.goes_through is (code is None)
        with pytest.raises(AssertionError):
            Attacked(both, without).ends("another")
        tried.ends(code)
        with pytest.raises(AssertionError, match="once"):
            tried.ends(code)


def test_the_table_is_printed_when_all_ran_and_says_what_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attacks, "declared_attacks", lambda _folder: [SimpleNamespace(name="one")])
    said = [["Rule.", "a.code"]]

    def printed(*passed: bool) -> str:
        lines = list[str]()
        reports = [
            SimpleNamespace(user_properties=[("attack", ["one", said, n])], passed=ok)
            for n, ok in enumerate(passed)
        ]
        write_attacks(
            SimpleNamespace(
                stats={"": reports}, section=lambda text, sep: lines.append(text), line=lines.append
            )
        )
        return "\n".join(lines)

    assert printed() == ""
    assert printed(True, True).splitlines() == [
        "1 attacks",
        "one",
        "    → refused: Rule. → a.code",
        "    without it: let through",
    ]
    assert "NOT REFUSED" in printed(False, True)
    assert "STILL NOT LET THROUGH" in printed(True, False)


def test_the_page_tells_exactly_these_attacks() -> None:
    text = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ") and "`" in line]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    assert all(len(row) == 4 and all(row) for row in rows)
    told = [(row[0], row[2]) for row in rows]
    assert sorted(told) == [
        (one.name, "; then: ".join(f"{said} → `{code}`" for said, code in one.rules))
        for one in DECLARED
    ]


def test_every_attack_has_a_name_of_its_own_and_codes_that_the_product_has() -> None:
    assert Counter(one.name for one in DECLARED).most_common(1)[0][1] == 1
    for code in {code for one in DECLARED for code in one.codes} - {WITHHELD}:
        assert meanings_of(code), "no service could say what it means"
    assert len(DECLARED) > 30
