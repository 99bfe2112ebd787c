"""Every command's help is there at once: nothing is loaded for it but the command line itself."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = {
    "cryptography", "fastapi", "gmssl", "httpx", "jinja2", "numpy", "pandas", "pydantic_settings",
    "reportlab", "sqlalchemy", "sqlmodel", "starlette", "streamlit", "tenseal", "uvicorn",
}  # fmt: skip
# One process asks for all: what it has not loaded in the end, no help has loaded. The command is
# made once; `app` would make it anew, with all below it, for every call.
ALL_HELP = """
import json, sys
from typer.main import get_command
from gridsecure.cli.main import app

def all_words(command, words):
    yield words
    for name, child in getattr(command, "commands", {}).items():
        yield from all_words(child, [*words, name])

gridsecure = get_command(app)
asked = list(all_words(gridsecure, []))
for words in asked:
    try:
        gridsecure([*words, "--help"])
    except SystemExit as end:
        assert end.code == 0, words
print(json.dumps([asked, sorted({name.split(".")[0] for name in sys.modules})]))
"""
RUN_HELP = "import sys; sys.argv = ['gridsecure', 'run', '--help']; import gridsecure.cli.__main__"
LIBRARY_ALONE = "import typer, typer.rich_utils, typer._adapters, rich.console, rich.markdown"


def output(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout


def least_cpu_seconds(program: str) -> float:
    """Of three processes: what else the machine does costs them little."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    seconds = []
    for _ in range(3):
        before = spent()
        output(program)
        seconds.append(spent() - before)
    return min(seconds)


def test_no_help_loads_what_only_the_work_needs() -> None:
    asked, loaded = json.loads(output(ALL_HELP).splitlines()[-1])
    assert [] in asked
    assert ["run"] in asked
    assert ["identity", "rekey-order"] in asked
    assert len(asked) > 30
    assert "typer" in loaded
    assert HEAVY & set(loaded) == set()


def test_help_costs_little_more_than_the_library_that_prints_it() -> None:
    """No figure of seconds, which would fail on a slow machine; all rooms cost eight times that.

    It was 2.53 times as much beside two other workers.
    """
    assert least_cpu_seconds(RUN_HELP) < 3.5 * least_cpu_seconds(LIBRARY_ALONE)
