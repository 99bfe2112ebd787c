"""Hostile dates at the command line: every option of every command that takes one, and the files.

Options are read from the commands themselves. Nothing but an error of ours, or of the command line,
may end a command.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from gridsecure.cli.main import app
from gridsecure.errors import InputError
from tests.hostile_dates import HOSTILE
from tests.statements.samples import period, statement

DATED = ("month", "period", "year", "date", "timezone", "since", "until", "starts")
"""Parts of the names of options that say when."""
FILES = {
    "readings": "meter_point_id,start,kwh\nA,2026-07-01 00:00,1\nA,2026-07-01 00:15,1\n",
    "contract": "meter_point_id,tariff_id\nA,flat\n",
}
VALUES = {"tariff": "flat"}


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    waiting: list[tuple[tuple[str, ...], click.Command]] = [((), typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        inner = getattr(command, "commands", None)
        if inner:
            waiting += [((*name, word), one) for word, one in inner.items()]
        else:
            yield name, command


def is_option(parameter: click.Parameter) -> bool:
    return parameter.param_type_name == "option"


@cache
def dated_options() -> list[tuple[tuple[str, ...], click.Command, click.Parameter]]:
    return [
        (name, command, parameter)
        for name, command in sorted(commands())
        for parameter in command.params
        if is_option(parameter)
        and parameter.name is not None
        and any(word in parameter.name.split("_") for word in DATED)
        and parameter.name != "year_to_date"
        and not getattr(parameter, "is_flag", False)
    ]


def required(command: click.Command, folder: Path, *, but: click.Parameter) -> list[str]:
    """What a command needs besides: files that are there, services that are not."""
    words: list[str] = []
    for parameter in command.params:
        wanted = parameter.required or parameter.name in FILES
        if parameter is but or not wanted or parameter.name is None:
            continue
        value = VALUES.get(parameter.name)
        if value is None and "url" in parameter.name:
            value = "http://127.0.0.1:9"
        if value is None:
            path = folder / parameter.name
            path.write_text(FILES.get(parameter.name, "2026-07\n"))
            value = str(path)
        words += [parameter.opts[0], value] if is_option(parameter) else [value]
    return words


def test_the_options_that_say_when_are_found():
    found = {(*name, parameter.opts[-1]) for name, _, parameter in dated_options()}
    assert found >= {
        ("run", "--month"),
        ("statement", "--month"),
        ("plan", "explain", "--month"),
        ("tariff", "show", "--month"),
        ("tariff", "import", "--year"),
        ("period", "close", "--month"),
        ("period", "show", "--month"),
        ("analyst", "ask", "--month"),
        ("analyst", "enrol", "--period"),
        ("bill", "--timezone"),
    }


@pytest.mark.parametrize(
    ("name", "option"),
    [(name, parameter.opts[-1]) for name, _, parameter in dated_options()],
    ids=lambda part: part if isinstance(part, str) else "-".join(part),
)
def test_no_option_fails_on_a_date(tmp_path, monkeypatch, name, option, sampled):
    monkeypatch.chdir(tmp_path)
    ((command, parameter),) = [
        (one, own) for named, one, own in dated_options() if (named, own.opts[-1]) == (name, option)
    ]
    others = required(command, tmp_path, but=parameter)
    kept = sorted(path.name for path in tmp_path.iterdir())
    # A month with all of them; what else says when (zones, years) with some.
    for text in sampled(HOSTILE if option in {"--month", "--period"} else HOSTILE[::4]):
        result = CliRunner().invoke(app, [*name, *others, f"{option}={text}"])
        told = (name, option, text, result.output[-300:])
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            *told,
            repr(result.exception),
        )
        assert "Traceback" not in result.output, told
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


@pytest.mark.parametrize("key", ["start", "end"])
def test_no_period_of_a_bill_document_fails(key):
    refused, remedies = 0, set()
    for text in HOSTILE:
        try:
            statement(period(**{key: text}))
        except InputError as error:
            refused += 1
            remedies.add(error.remedy)
    assert refused >= len(HOSTILE) - 2
    assert "" not in remedies
