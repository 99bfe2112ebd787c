"""How many connections a process opens; apart, as the vault reads settings and has no tables."""

from __future__ import annotations

from typing import Final

CONNECTIONS: Final = 16
"""Connections of a process to a database."""
