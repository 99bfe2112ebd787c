"""`gridsecure workshop`: components and products, as people call it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.products.components import list_components
from gridsecure.products.designs import list_standard


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


def test_products_are_listed_checked_and_previewed(tmp_path: Path) -> None:
    listed = json.loads(run("list", "--format", "json").stdout)["products"]
    assert [row["name"] for row in listed] == list_standard()
    own, sample = tmp_path / "own.toml", tmp_path / "sample.json"
    own.write_text(run("show", "vacancy-index").stdout)
    checked = run("check", own)
    assert checked.exit_code == 0
    assert "260 customers, at least 15" in checked.stdout
    shown = run("preview", own, "--to", sample)
    assert "月用电低于100千瓦时的住宅占比" in shown.stdout
    assert json.loads(sample.read_text())["synthetic"] is True
    own.write_text(own.read_text().replace("edges_kwh = [20]", "edges_kwh = [21]"))
    refused = run("check", own)
    assert (refused.exit_code, "parts.0.question" in refused.stdout) == (1, True)
    assert "query.edge" in refused.stdout
    assert "product.unknown" in run("check", "soup").output
    assert json.loads(run("schema").stdout)["title"] == "ProductDesign"
