"""`gridsecure workshop`: components and products, as people call it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.policy.packs import load_pack
from gridsecure.products.components import list_components
from gridsecure.products.designs import list_standard
from tests.analyst.logged_certificates import write_certificate
from tests.queries.published_months import bill_release


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


def test_a_bundle_is_registered_and_verified_offline(tmp_path: Path) -> None:
    holder, key = generate_private_key(), tmp_path / "holder.key"
    key.write_bytes(holder.to_bytes())
    key.chmod(0o600)
    authority = generate_private_key()
    month = bill_release("2026-07")
    issue = month.model_copy(
        update={
            "plan": "query",
            "policy": load_pack("uniform-15").digest,
            "cells": [cell for cell in month.cells if cell.measure == "energy_wh"],
        }
    )
    certificate = write_certificate(issue, key=authority, folder=tmp_path)
    said, bundle = tmp_path / "said.toml", tmp_path / "bundle.json"
    rights = "".join(
        f'[[ownership]]\nright = "{right}"\nholder = "示范供电局"\nbasis = "合同 1"\n'
        for right in ("hold", "process", "operate")
    )
    said.write_text(
        rights + '[[statements]]\nclause = "第六条"\nstatement = "合计"\nevidence = "uniform-15"\n'
    )
    registered = run(
        "register", "vacancy-index", "--statements", said, "--holder", "示范供电局", "--key", key,
        "--to", bundle, "--type", "data-index", "--certificate", certificate, "--on", "2026-11-30",
    )  # fmt: skip
    assert registered.exit_code == 0, registered.output
    assert bundle.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    keys = ("--holder-key", holder.public_key.point.hex())
    with_log = ("--authority-key", authority.public_key.point.hex())
    verified = run("verify-bundle", bundle, *keys, *with_log)
    assert "kept until    2056-11-30" in verified.output
    assert "自述" in verified.output
    assert "registration.authority" in run("verify-bundle", bundle, *keys).output
    forged = run("verify-bundle", bundle, *keys, "--authority-key", holder.public_key.point.hex())
    assert "release.signature" in forged.output
    bundle.write_text(bundle.read_text().replace("2056-11-30", "2057-11-30"))
    assert "authenticity.signature" in run("verify-bundle", bundle, *keys, *with_log).output
