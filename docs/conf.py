"""Sphinx settings."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from api_pages import as_rst, write_api_pages

from gridsecure.version import VERSION
from gridsecure.wire.reasons import reason_codes, reasons_page
from gridsecure_api.settings_table import settings_page

project = "GridSecure"
author = "the GridSecure authors"
copyright = "the GridSecure authors, Apache-2.0"
release = version = VERSION

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "slope.md"]  # the table that scale.md includes
nitpicky = True

# The reference: what a module defines, in its order.
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False
napoleon_attr_annotations = False
# Types of other people's packages have no page here; links between our pages stay checked.
nitpick_ignore_regex = [("py:.*", ".*")]

html_theme = "furo"
html_title = f"GridSecure {release}"
html_show_sourcelink = False


def setup(app: Any) -> None:
    """Write the pages of reason codes and of settings before the pages are read."""
    settings = Path(app.srcdir) / "settings.md"
    app.connect("builder-inited", lambda _app: settings.write_text(settings_page()))
    page = Path(app.srcdir) / "reasons.md"
    app.connect("builder-inited", lambda _app: page.write_text(reasons_page(reason_codes())))
    # Before napoleon (priority 500), which reads the sections that are left.
    app.connect("autodoc-process-docstring", _rewrite, priority=400)
    app.connect("builder-inited", lambda _app: write_api_pages(Path(app.srcdir) / "api"))


def _rewrite(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = as_rst(lines)
