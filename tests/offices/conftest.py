"""The offices' tests work at the desk of the identity authority's world."""

from tests.identity.conftest import world

__all__ = ["world"]
