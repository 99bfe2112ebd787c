"""What is known of connections to stores; apart, as the vault reads settings and has no tables."""

from __future__ import annotations

from typing import Final

CONNECTIONS: Final = 16
"""Connections of a process to a database."""

OUT_OF_REACH: Final = "storage.connection"
"""The reason of what passes by itself: a connection broke, or cannot be made."""
