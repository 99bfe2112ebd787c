"""A statement as one HTML file: no script, no link, no font or picture from elsewhere.

Every text passes through the template engine's escaping, so markup in a name is shown as text; a
content security policy in the file would stop it from acting even so. The page prints on A4, with
its table headings repeated.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from gridsecure.statements.model import StatementView


def render_html(statement: StatementView) -> bytes:
    """Draw a statement as a complete HTML file in UTF-8."""
    return _template().render(it=statement).encode("utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("statement.html.jinja")
