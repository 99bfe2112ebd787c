"""The API page of a service at `/docs`, with everything it loads served by the service itself.

A zone often has no way out, and a page that runs a stranger's script beside somebody's token would
be an attack. So the browser is told by a content security policy to load and call nothing but this
origin, and Swagger UI's check of the document by an outside validator is off.
"""

from __future__ import annotations

import html
from importlib import resources
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, HTMLResponse

_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
"""Files of Swagger UI, as its wheel carries them, and what they are."""
_START: Final = "start.js"

PAGE_PATHS: Final = frozenset({"/docs", *(f"/docs/{name}" for name in (*_ASSETS, _START))})
"""What the page consists of; it needs no token."""

_HEADERS: Final = {
    # Swagger UI sets styles on elements, and its style sheet holds pictures as data.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

# Addresses are relative to /docs, so that the page also works behind a proxy's prefix.
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START_TEXT: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""


def add_api_page(app: FastAPI) -> None:
    """Serve the API page and what it loads.

    Args:
        app: An application made without pages of the framework's own (`docs_url=None`).
    """
    page = _PAGE.format(title=html.escape(app.title))

    @app.get("/docs", include_in_schema=False)
    def read_page() -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    @app.get(f"/docs/{_START}", include_in_schema=False)
    def read_start() -> Response:
        return Response(_START_TEXT, media_type="text/javascript", headers=_HEADERS)

    with resources.as_file(resources.files("fastapi_swagger.resources")) as folder:
        for name, content_type in _ASSETS.items():
            _add_file(app, folder / name, content_type)


def _add_file(app: FastAPI, path: Path, content_type: str) -> None:
    @app.get(f"/docs/{path.name}", include_in_schema=False)
    def read_file() -> Response:
        return FileResponse(path, headers={**_HEADERS, "Content-Type": content_type})
