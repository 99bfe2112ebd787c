"""The session's key sets, for the traps that need ours beside theirs."""

from __future__ import annotations

from tests.key_fixtures import interval_keys, key_sets, register_keys, tier_keys

__all__ = ["interval_keys", "key_sets", "register_keys", "tier_keys"]
