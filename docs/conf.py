"""Sphinx settings."""

from gridsecure.version import VERSION

project = "GridSecure"
author = "the GridSecure authors"
copyright = "the GridSecure authors, Apache-2.0"
release = version = VERSION

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"GridSecure {release}"
html_show_sourcelink = False
