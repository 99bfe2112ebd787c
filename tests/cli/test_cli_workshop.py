"""`gridsecure workshop`: components and products, as people call it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.products.components import list_components


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["workshop", *map(str, arguments)])


def test_components_are_printed_signed_and_checked(tmp_path: Path) -> None:
    document = json.loads(run("components", "--format", "json").stdout)
    names = [(card["sort"], card["name"]) for card in document["cards"]]
    assert names == [(sort, name) for sort, own in list_components().items() for name in own]
    shown = run("components", "variance").stdout
    assert "方差" in shown
    assert "uniform-15: at least" in shown
    assert "components.unknown" in run("components", "soup").output
    key, file = tmp_path / "maker.key", tmp_path / "components.json"
    maker = generate_private_key()
    key.write_bytes(maker.to_bytes())
    key.chmod(0o600)
    assert run("sign-components", file, "--key", key).exit_code == 0
    checked = run("check-components", file, "--maker", maker.public_key.point.hex())
    assert "components are the signed ones" in checked.output
    other = generate_private_key().public_key.point.hex()
    assert "components.signature" in run("check-components", file, "--maker", other).output
