"""Attacks: what is tried, by which rule it is refused, and that it goes through without that rule.

    @attack(
        "a release that its requester approves",
        rule(
            "Whoever asks for a release does not approve it.",
            "approval.requester",
            cut("gridsecure.approvals:_check_holds", "person == subject.requested_by", "False"),
        ),
    )
    def test_who_asked_does_not_approve(order: Order, attacked: Attacked) -> None:
        attacked.ends(order.give(order.approved(order.both())))

Such a test runs once under the product as it is, and must end with the rule's code. It runs again
with the rule cut out, and must end with none. What several rules stop is given all of them, in the
order in which they do: then one more is cut out each time, and the next one has to stop it.

A cut changes one place in the source of one function, while the test runs. A place that is not
there any more fails the test, so a rule cannot move away unnoticed.

Where a try costs much, one test does both (`together=True`, `attacked.ends_both`): it leaves out
itself what its rule is about.

`make attack` runs all of them and prints the table. Every run prints it that had all of them, the
gate's too. docs/attacks.md says what each attacker has, and what would be lost.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final, TypeVar

import pytest

from gridsecure.errors import GridSecureError

MARK: Final = "attack"
WITHHELD: Final = "withheld"
"""How an attack ends that is answered, and told nothing of what it was about."""
LET_THROUGH: Final = ""
TOGETHER: Final = -1
"""Stands for both tries of a test."""
T = TypeVar("T")
_ANNOTATIONS: Final = __future__.annotations.compiler_flag
_SOURCES: Final[dict[FunctionType, str]] = {}
"""Of functions that run as changed: another cut of the same function is made in this."""


@dataclass(frozen=True)
class Cut:
    """One place in the source of a function, and what stands there while an attack is tried again.

    Args:
        target: "module:function" or "module:Class.function".
        old: Stands once in its source.
    """

    target: str
    old: str
    new: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have the function run as changed: every importer's, because it stays the same object."""
        function = self._function()
        kept, source = function.__code__, _SOURCES.get(function)
        _SOURCES[function] = self._source_of(function).replace(self.old, self.new)
        function.__code__ = self._changed(function)
        try:
            yield
        finally:
            function.__code__ = kept
            del _SOURCES[function]
            if source is not None:
                _SOURCES[function] = source

    def check(self) -> None:
        """Find the place, and leave it as it is."""
        self._source_of(self._function())

    def _source_of(self, function: FunctionType) -> str:
        source = _SOURCES.get(function) or textwrap.dedent(inspect.getsource(function))
        times = source.count(self.old)
        assert times == 1, f"{self.target} has {self.old!r} {times} times"
        return source

    def _function(self) -> FunctionType:
        module, _, path = self.target.partition(":")
        found: Any = import_module(module)
        for name in path.split("."):
            found = inspect.getattr_static(found, name)
        for wrapper in ("__func__", "fget", "func"):  # class and static methods, properties
            found = getattr(found, wrapper, found)
        return inspect.unwrap(found)

    def _changed(self, function: FunctionType) -> CodeType:
        name = function.__code__.co_filename
        module = compile(_SOURCES[function], name, "exec", flags=_ANNOTATIONS, dont_inherit=True)
        (code,) = [
            one
            for one in module.co_consts
            if isinstance(one, CodeType) and one.co_name == function.__name__
        ]
        return code


@dataclass(frozen=True)
class Rule:
    """What stops an attack.

    Args:
        text: The rule, as a sentence.
        code: How the attack ends by it: a reason code, or `WITHHELD`.
        cuts: What takes it out of the product. A rule without any is no code that a test can
            change, as arithmetic is none; the test itself then leaves out what it is about.
    """

    text: str
    code: str
    cuts: tuple[Cut, ...]


@dataclass(frozen=True)
class Attack:
    """An attack and the rules that stop it, in the order in which they do."""

    name: str
    rules: tuple[Rule, ...]


def cut(target: str, old: str, new: str) -> Cut:
    """As `Cut`; a function, like the other two, so that a declaration reads as one."""
    return Cut(target, old, new)


def rule(text: str, code: str, *cuts: Cut) -> Rule:
    """A rule; see `Rule`."""
    return Rule(text, code, cuts)


def attack(name: str, *rules: Rule, together: bool = False) -> Callable[[Any], Any]:
    """Mark a test that attacks; it takes the fixture `attacked`, and ends by `attacked.ends`.

    Args:
        together: The test tries it with and without its one rule, and ends by `ends_both`.
    """
    found = Attack(name, rules)
    cases = (
        []
        if together
        else [
            pytest.param((found, without), id=f"without-{without}" if without else "held")
            for without in range(len(rules) + 1)
        ]
    )

    def marked(test: Any) -> Any:
        every = cases or [pytest.param((found, TOGETHER), id="together")]
        both = pytest.mark.parametrize("attacked", every, indirect=True)
        return getattr(pytest.mark, MARK)(both(test))

    return marked


@dataclass
class Attacked:
    """One try of an attack.

    Args:
        without: So many of its rules are cut out, from the first.
    """

    attack: Attack
    without: int
    outcome: str | None = field(default=None, init=False)

    @property
    def goes_through(self) -> bool:
        """Whether no rule is left."""
        return self.without == len(self.attack.rules)

    def tries(self, act: Callable[[], T]) -> T | None:
        """Do it, and end as it does; what it gives where it goes through."""
        try:
            gained = act()
        except GridSecureError as refused:
            self.ends(refused.reason)
            return None
        self.ends(LET_THROUGH)
        return gained

    def ends_both(self, *, held: str | None, without: str | None) -> None:
        """Say how it ended with its rule, and without it."""
        assert self.without == TOGETHER
        assert self.outcome is None, "an attack ends once"
        self.outcome = held or LET_THROUGH
        assert [self.outcome, without or LET_THROUGH] == [self.attack.rules[0].code, LET_THROUGH]

    def ends(self, code: str | None) -> None:
        """Say how it ended: the reason code of the refusal, `WITHHELD`, or nothing."""
        assert self.outcome is None, "an attack ends once"
        self.outcome = code or LET_THROUGH
        left = self.attack.rules[self.without :]
        assert self.outcome == (left[0].code if left else LET_THROUGH)


@pytest.fixture
def attacked(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Iterator[Attacked]:
    """The attack that a test is marked with, some of its rules cut out."""
    found, without = request.param
    made = Attacked(found, without)
    record_property(MARK, [found.name, [[one.text, one.code] for one in found.rules], without])
    with ExitStack() as cuts:
        for one in found.rules[: max(without, 0)]:
            for place in one.cuts:
                cuts.enter_context(place.applied())
        yield made
    assert made.outcome is not None, "nothing said how the attack ended"


# --- the table -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Declared:
    """An attack as a test's source declares it, without importing the test."""

    test: str
    name: str
    rules: tuple[tuple[str, str], ...]

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """By which it may be refused."""
        return tuple(code for _, code in self.rules)


def declared_attacks(folder: Path) -> list[Declared]:
    """Every attack that a test below a folder is marked with, by name."""
    found = []
    for path in folder.rglob("test_*.py"):
        source = path.read_text(encoding="utf-8")
        if "@attack(" not in source:
            continue
        tree = ast.parse(source)
        named = {
            ast.unparse(one.targets[0]): one.value
            for one in tree.body
            if isinstance(one, ast.Assign)
        }
        for node in ast.walk(tree):
            for one in getattr(node, "decorator_list", []):
                if isinstance(one, ast.Call) and ast.unparse(one.func) == "attack":
                    test = f"{path.relative_to(folder).as_posix()}::{node.name}"
                    found.append(_declared(test, one, named))
    return sorted(found, key=lambda one: one.name)


def _declared(test: str, call: ast.Call, named: dict[str, ast.expr]) -> Declared:
    """Read a declaration, in which a rule may stand by its name in the test's module."""
    name, *rules = call.args
    calls = [named[one.id] if isinstance(one, ast.Name) else one for one in rules]
    texts = [tuple(map(_word, one.args[:2])) for one in calls]
    return Declared(test, _word(name), tuple(texts))


def declared_cuts(folder: Path) -> Iterator[Cut]:
    """Every cut in a test below a folder, without importing the test."""
    for path in folder.rglob("test_*.py"):
        source = path.read_text(encoding="utf-8")
        if "@attack(" not in source:
            continue
        tree = ast.parse(source)
        texts = {
            ast.unparse(one.targets[0]): one.value.value
            for one in tree.body
            if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "cut":
                yield eval(ast.unparse(node), {"cut": cut, **texts})  # noqa: S307 - our own tests


def _word(node: ast.expr) -> str:
    """A text as it stands there, or by its name in this module."""
    return globals()[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)


def write_attacks(reporter: Any) -> None:
    """Print each attack with what refuses it, if all of them ran."""
    tried: dict[str, tuple[list[list[str]], dict[int, bool]]] = {}
    for report in chain.from_iterable(reporter.stats.values()):
        said = dict(getattr(report, "user_properties", ())).get(MARK)
        if said:
            name, rules, without = said
            _, by_case = tried.setdefault(name, (rules, defaultdict(lambda: True)))
            for case in (0, 1) if without == TOGETHER else (without,):
                by_case[case] &= report.passed  # also at its end, where it must have ended somehow
    declared = {one.name for one in declared_attacks(Path(__file__).parent)}
    if not declared <= tried.keys():
        return
    reporter.section(f"{len(tried)} attacks", sep="-")
    for name in sorted(tried):
        rules, by_case = tried[name]
        for line in _lines(name, rules, by_case):
            reporter.line(line)


def _lines(name: str, rules: Sequence[Sequence[str]], by_case: dict[int, bool]) -> Iterator[str]:
    yield name
    for number, (text, code) in enumerate(rules):
        held = "refused" if by_case.get(number) else "NOT REFUSED AS SAID"
        yield f"    → {held}: {text} → {code}"
    gone = "let through" if by_case.get(len(rules)) else "STILL NOT LET THROUGH"
    yield f"    without {'it' if len(rules) == 1 else 'them'}: {gone}"
