"""The notebooks of the documentation run, on a folder as an analyst keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.desk_folder import make_desk

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def test_no_notebook_holds_an_output() -> None:
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs"), path.name
            assert cell.get("execution_count") is None, path.name


def test_all_of_them_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = tmp_path / "desk"
    make_desk(desk)
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    # One kernel for all: each begins with nothing of the one before.
    joined = nbformat.v4.new_notebook()
    for path in NOTEBOOKS:
        joined.cells += nbformat.read(path, as_version=4).cells
        joined.cells.append(nbformat.v4.new_code_cell("%reset -f"))
    for number, cell in enumerate(joined.cells):
        cell.id = f"cell-{number}"
    NotebookClient(joined, timeout=120, resources={"metadata": {"path": str(desk)}}).execute()
    shown = [
        output["data"]["text/plain"]
        for cell in joined.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    assert "True" in shown, "numpy fits the same"
    for expected in (
        "mean absolute error", "kWh per °C", "elasticity", "R²", "share lost", "score",
        "purposes=['research']", "step='series feeder'", "revenue of those before",
    ):  # fmt: skip
        assert any(expected in text for text in shown), expected
    assert (desk / "segment.json").exists()
