"""Starts the market's service from its settings in the environment, as any other service is."""

from __future__ import annotations

import uvicorn

SERVICE = "gridsecure_api.market:main_app"


def serve(host: str, port: int) -> None:
    """Answer until the process is interrupted."""
    uvicorn.run(SERVICE, factory=True, host=host, port=port, log_level="warning")
