"""An application called in the test's own process, as over HTTP."""

from __future__ import annotations

import asyncio

import httpx
from fastapi import FastAPI


class InProcess(httpx.BaseTransport):
    """Carries requests of an ordinary client to an application, from any thread."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._handle(request))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        carried = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.read()
        )
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        response = await transport.handle_async_request(carried)
        content = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, content=content)


def client_of(app: FastAPI, *, url: str = "http://service", **choices: object) -> httpx.Client:
    """A client of an application."""
    return httpx.Client(transport=InProcess(app), base_url=url, **choices)
