"""Mutants of a room: does one of its tests notice when one operator of its code is another?

    make mutants ARGS="store --count 12"

Of all single changes of a room's modules (a comparison turned round, a number off by one, a
condition negated, a `raise` or a `return` left out) some are picked by their digest under a seed:
the same in every run, and still the same where other code changed. Each is made in a copy of the
checkout, where the room's tests run until one fails: first those of `make test`, then those that
only the gate runs. A mutant that survives both is printed with its line: a test is missing there,
or the change means nothing.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
TIERS: Final = {
    "test": ("test", "not slow and not rest"),
    "rest": ("dev", "(rest or sampled) and not slow"),
}
"""What runs: `make test`, and what the gate adds -> profile of hypothesis, and the marks."""
PARTS: Final = ("src", "apps", "tests", "data", "docs", "benchmarks", "pyproject.toml")
LIMIT_SECONDS: Final = 1200
"""A mutant that keeps its tests from ending is noticed too."""

OUTPUT: int | None = subprocess.DEVNULL
"""Where what tests print goes; None for where ours goes."""

Changeable = ast.expr | ast.stmt

COMPARED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
COMPUTED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Args:
        module: The module's path in the checkout.
        node: The code that is changed.
        other: The code in its place.
        number: How many such changes of the module come before it.
    """

    module: Path
    node: Changeable
    other: Changeable
    number: int

    def __str__(self) -> str:
        before, after = (" ".join(ast.unparse(one).split()) for one in (self.node, self.other))
        return f"{self.module}:{self.node.lineno}: {before[:60]}  ->  {after[:60]}"

    def place(self, seed: int) -> bytes:
        """Its place in the order of a seed, which no change of other lines moves."""
        change = f"{ast.unparse(self.node)} {ast.unparse(self.other)} {self.number}"
        return sha256(f"{seed} {self.module.name} {change}".encode()).digest()

    @property
    def text(self) -> str:
        """The changed module."""
        tree = ast.parse((ROOT / self.module).read_text(encoding="utf-8"))
        changed = _Replaced(self.node, self.other).visit(tree)
        return ast.unparse(ast.fix_missing_locations(changed))


def mutants_of(module: Path) -> Iterator[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    seen: Counter[str] = Counter()
    for node in _changeable(tree):
        for other in _changes(node):
            change = f"{ast.unparse(node)} {ast.unparse(other)}"
            yield Mutant(module, node, other, seen[change])
            seen[change] += 1


def _changeable(tree: ast.Module) -> Iterator[Changeable]:
    """Expressions and statements that run, but for annotations and texts."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Changeable):
            yield node
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list"):
                parts = value if isinstance(value, list) else [value]
                waiting += [part for part in parts if isinstance(part, ast.AST)]


def _changes(node: ast.AST) -> Iterator[Changeable]:
    """What could stand in a node's place."""
    match node:
        case ast.Compare(left, [operator], right) if type(operator) in COMPARED:
            yield ast.Compare(left, [COMPARED[type(operator)]()], right)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.And() if isinstance(operator, ast.Or) else ast.Or(), values)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.If(test, body, others) | ast.IfExp(test, body, others):
            yield type(node)(ast.UnaryOp(ast.Not(), test), body, others)
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
        case ast.BinOp(left, operator, right) if type(operator) in COMPUTED:
            yield ast.BinOp(left, COMPUTED[type(operator)](), right)
        case ast.Raise():
            yield ast.Pass()
        case ast.Return(value) if value is not None:
            yield ast.Return(ast.Constant(None))


class _Replaced(ast.NodeTransformer):
    """A tree in which one node, found by its place, is another."""

    def __init__(self, node: Changeable, other: Changeable) -> None:
        self._place, self._other = self._place_of(node), other

    @staticmethod
    def _place_of(node: ast.AST) -> tuple[object, ...]:
        names = ("lineno", "col_offset", "end_lineno", "end_col_offset")
        return (type(node), *(getattr(node, name, None) for name in names))

    def visit(self, node: ast.AST) -> ast.AST:
        if self._place_of(node) == self._place:
            return self._other
        return self.generic_visit(node)


def picked(room: str, *, count: int, seed: int) -> list[Mutant]:
    """The first of a room's mutants in the order of a seed."""
    modules = sorted((ROOT / "src" / "gridsecure" / room).rglob("*.py"))
    every = [found for path in modules for found in mutants_of(path.relative_to(ROOT))]
    return sorted(every, key=lambda one: one.place(seed))[:count]


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout to change."""

    folder: Path

    @classmethod
    def copied_to(cls, folder: Path) -> Checkout:
        for name in PARTS:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("_build"))
            elif source.exists():
                shutil.copy(source, folder / name)
        return cls(folder)

    def killer(self, mutant: Mutant, tests: Sequence[str]) -> str | None:
        """Which tests notice a mutant, if any do."""
        path = self.folder / mutant.module
        kept = path.read_bytes()
        path.write_text(mutant.text, encoding="utf-8")
        try:
            return next((tier for tier in TIERS if not self.passes(tests, tier=tier)), None)
        finally:
            path.write_bytes(kept)

    def passes(self, tests: Sequence[str], *, tier: str) -> bool:
        """Whether tests pass here, or there are none of the tier."""
        profile, marks = TIERS[tier]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", marks, *tests]
        command += ["-p", "no:cacheprovider", "-p", "no:randomly"]
        own = os.pathsep.join((str(self.folder / "src"), str(self.folder)))
        environment = {**os.environ, "PYTHONPATH": own, "HYPOTHESIS_PROFILE": profile}
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                stdout=OUTPUT,
                stderr=OUTPUT,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("room", help="a folder of src/gridsecure, with tests of the same name")
    parser.add_argument("tests", nargs="*", help="other tests than the room's own")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    tests = given.tests or [f"tests/{given.room}"]
    killers: Counter[str | None] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        checkout = Checkout.copied_to(Path(folder))
        if not checkout.passes(tests, tier="test"):
            sys.exit("The tests fail without any mutant: run them first.")
        for mutant in picked(given.room, count=given.count, seed=given.seed):
            killer = checkout.killer(mutant, tests)
            killers[killer] += 1
            print(f"{killer or 'SURVIVES':8} {mutant}", flush=True)
    print(f"{given.room}: of {killers.total()} mutants, {killers['test']} die under make test,")
    print(f"{killers['rest']} more in the gate, {killers[None]} survive")


if __name__ == "__main__":
    main()
