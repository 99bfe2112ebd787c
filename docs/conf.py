"""Sphinx settings. The version is read from pyproject.toml, its one place."""

import tomllib
from pathlib import Path

_project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))[
    "project"
]

project = "GridSecure"
author = "the GridSecure authors"
copyright = "the GridSecure authors, Apache-2.0"
release = version = _project["version"]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"GridSecure {release}"
html_show_sourcelink = False
