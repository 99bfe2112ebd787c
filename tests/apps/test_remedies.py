"""A refusal's way out exists: every command and option that a remedy names is one of the command's.

And every refusal has a way out, in all that reads files, bills and tells customers.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.main

from gridsecure import errors
from gridsecure.cli.main import app

ROOT = Path(__file__).parents[2]
COMMAND = typer.main.get_command(app)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
MUST_HAVE_ONE = (
    *(
        "src/gridsecure/billing",
        "src/gridsecure/tariffs",
        "src/gridsecure/gateway/formats.py",
        "src/gridsecure/statements",
    ),
    *("src/gridsecure/gateway/column_names.py", "src/gridsecure/gateway/format_times.py"),
    *("src/gridsecure/gateway/workbooks.py", "src/gridsecure/gateway/nem12.py"),
    *("src/gridsecure/gateway/green_button.py", "src/gridsecure/gateway/channels.py"),
    *("src/gridsecure/gateway/meter_readings.py", "src/gridsecure/gateway/bounded_xml.py"),
    *("src/gridsecure/gateway/format_cells.py", "src/gridsecure/gateway/foreign_files.py"),
    *("src/gridsecure/gateway/value_kinds.py", "src/gridsecure/gateway/month_files.py"),
    *(
        f"src/gridsecure/cli/{name}.py"
        for name in ("bill", "bill_readings", "bill_tariffs", "bill_year")
    ),
    *(
        f"src/gridsecure/cli/{name}.py"
        for name in ("rebill", "statement", "tariff", "tariff_files")
    ),
    *(f"src/gridsecure/cli/{name}.py" for name in ("tariff_names", "tariff_check", "meters")),
    "src/gridsecure/cli/plan_answers.py",
)
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}


def sources(*roots: str) -> Iterator[tuple[Path, ast.Module]]:
    for root in roots:
        start = ROOT / root
        for path in [start] if start.is_file() else sorted(start.rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def texts(node: ast.expr) -> str:
    """Every text in an expression; what is filled in stands as {}."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join("{}" if isinstance(part, ast.FormattedValue) else texts(part)
                       for part in node.values)  # fmt: skip
    return " ".join(
        texts(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)
    )


@cache
def remedies() -> tuple[tuple[str, str], ...]:
    """Where each remedy of the sources stands, and its text."""
    return tuple(_remedies())


def _remedies() -> Iterator[tuple[str, str]]:
    for path, module in sources("src", "apps"):
        for node in ast.walk(module):
            if isinstance(node, ast.keyword) and node.arg == "remedy":
                yield f"{path}:{node.value.lineno}", texts(node.value)
            if isinstance(node, ast.FunctionDef) and node.name == "import_with":
                for part in ast.walk(node):
                    if isinstance(part, ast.Return) and part.value is not None:
                        yield f"{path}:{part.lineno}", texts(part.value)


def all_options(command: object) -> set[str]:
    found = {name for parameter in command.params for name in parameter.opts}
    for child in getattr(command, "commands", {}).values():
        found |= all_options(child)
    return found


def missing_from_the_command(text: str) -> list[str]:
    """Commands and options that a text names and that do not exist."""
    missing = []
    for quoted in re.findall(r"`gridsecure ([^`]*)`", text):
        command, words = COMMAND, quoted.split()
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        named = [word for word in words if OPTION.fullmatch(word)]
        if command is COMMAND or getattr(command, "commands", {}):
            missing.append(f"gridsecure {quoted}")
        missing += [name for name in named if name not in all_options(command) | {"--{}"}]
    known = all_options(COMMAND)
    return missing + [name for name in OPTION.findall(text) if name not in known]


def test_remedies_are_found() -> None:
    assert len(remedies()) > 300
    assert any("`gridsecure tariff import --" in text for _, text in remedies())


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("Ask `gridsecure tariff list`.", []),
        ("Pass --timezone, or `gridsecure bill --values register`.", []),
        ("Run `gridsecure validate FILE`.", ["gridsecure validate FILE"]),
        ("`gridsecure bill --year 2025`.", ["--year"]),
        ("Give --no-such-option.", ["--no-such-option"]),
    ],
)
def test_the_check_finds_what_does_not_exist(text: str, missing: list[str]) -> None:
    assert missing_from_the_command(text) == missing


def test_every_command_and_option_that_a_remedy_names_exists() -> None:
    found = {place: missing_from_the_command(text) for place, text in remedies()}
    assert {place: names for place, names in found.items() if names} == {}


def test_every_refusal_of_files_and_bills_has_a_way_out() -> None:
    without = []
    for path, module in sources(*MUST_HAVE_ONE):
        for node in ast.walk(module):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in ERRORS and not {"remedy"} & {key.arg for key in node.keywords}:
                without.append(f"{path}:{node.lineno}")
    assert without == []
