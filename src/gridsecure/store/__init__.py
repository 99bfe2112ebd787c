"""Rows, content-addressed objects and the evidence log. One database per zone."""

from typing import Final

CONNECTIONS: Final = 16
"""Connections of a process to a database; here, as the vault reads settings and has no tables."""
