"""Starts the market's service from its settings in the environment, as any other service is."""

from __future__ import annotations

import os

from gridsecure.cli.processes import python_command


def serve(host: str, port: int) -> None:
    """Become the service's process, which answers until it is interrupted."""
    command = python_command("-P", "-m", "gridsecure_api.serve", "market")
    listening = {"GRIDSECURE_MARKET_HOST": host, "GRIDSECURE_MARKET_PORT": str(port)}
    os.execve(command[0], command, {**os.environ, **listening})  # noqa: S606 - our own interpreter
