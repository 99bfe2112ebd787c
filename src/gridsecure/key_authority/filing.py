"""Filing bills under settlement pseudonyms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gridsecure.errors import InvalidMessageError
from gridsecure.messages import RosterManifest

SUBJECT: Final = re.compile(r"[0-9a-f]{64}")
"""A pseudonym's name."""


def file_by_settlement_name(
    meters: Mapping[str, Any], *, roster: RosterManifest, names: Sequence[str]
) -> dict[str, Any]:
    """File documents under settlement pseudonyms, in their order: neither pseudonym nor slot shows.

    Args:
        meters: Documents by pseudonym.
        names: The settlement pseudonym of every slot.

    Raises:
        InvalidMessageError: Not one of its own for each slot (`settlement.names`).
    """
    check_names(names, slots=roster.slots)
    filed = dict(zip(roster.pseudonyms, names, strict=True))
    return dict(sorted((filed[name], document) for name, document in meters.items()))


def check_names(names: Sequence[str], *, slots: int) -> None:
    """Refuse settlement pseudonyms that are not one of its own for each slot.

    Raises:
        InvalidMessageError: They are not (`settlement.names`).
    """
    if len(names) != slots or len(set(names)) != slots or not all(map(SUBJECT.fullmatch, names)):
        raise InvalidMessageError(
            "The settlement pseudonyms do not match the slots one to one.",
            reason="settlement.names",
        )
