"""Sphinx settings."""

from pathlib import Path
from typing import Any

from gridsecure.version import VERSION
from gridsecure.wire.reasons import reason_codes, reasons_page

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


def setup(app: Any) -> None:
    """Write the page of reason codes before the pages are read."""
    page = Path(app.srcdir) / "reasons.md"
    app.connect("builder-inited", lambda _app: page.write_text(reasons_page(reason_codes())))
