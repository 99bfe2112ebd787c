"""What makes an upload a correction of another: the public facts, checked alike by all.

The platform asks before it takes a correction in, and the key authority asks again before it
believes the platform. Everything here is public and signed: who corrects what, in which version,
and which slots. Whether the readings are right nobody can see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gridsecure.errors import InputError
from gridsecure.messages import FIRST_REVISION, Digest, RosterManifest, UploadManifest

_FACTS: Final = (
    *("household_quota_wh", "contracted_va", "free_quota_wh", "service_from"),
    "unheld_days",
)
"""What a roster says of the contract of each slot."""
_NAMES: Final = ("roster_id", "seats")


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One version of a roster's period.

    Args:
        digest: Digest of the signed upload.
        roster: The roster it is for.
    """

    digest: Digest
    upload: UploadManifest
    roster: RosterManifest


def check_correction(new: Version, *, corrected: Version) -> None:
    """Refuse what is no correction of the upload it names.

    Raises:
        InputError: `correction.target`, `correction.gateway`, `correction.period`,
            `correction.revision`, `correction.roster`, `correction.slots` or
            `correction.unchanged`.
    """
    upload, earlier = new.upload, corrected.upload
    if upload.corrects != corrected.digest:
        raise _refusal("names another upload than the one it is compared with", "target")
    if upload.gateway_id != earlier.gateway_id:
        raise _refusal("comes from another gateway than the upload it corrects", "gateway")
    if (upload.start, upload.end) != (earlier.start, earlier.end):
        raise _refusal("is about another period than the upload it corrects", "period")
    if upload.revision != earlier.revision + 1:
        raise _refusal("does not carry the number after that of the upload it corrects", "revision")
    if _members(new.roster) != _members(corrected.roster):
        raise _refusal("seats other meter points than the upload it corrects", "roster")
    if upload.corrected_slots[-1] >= new.roster.slots:
        raise _refusal("names a slot beyond its roster", "slots")
    if not find_changed_slots(new.roster, corrected.roster) <= set(upload.corrected_slots):
        raise _refusal("does not name every slot whose prices or facts changed", "slots")
    if new.roster == corrected.roster and _contents(upload) == _contents(earlier):
        raise _refusal("holds the very columns of the upload it corrects", "unchanged")


def find_changed_slots(new: RosterManifest, earlier: RosterManifest) -> set[int]:
    """Slots that two rosters of the same members bill otherwise, by tariff or contract.

    What is not said of single slots, as a tariff, is about all of them.
    """
    slots = range(new.slots)
    alike = {name: getattr(earlier, name) for name in (*_FACTS, *_NAMES)}
    if new.model_copy(update=alike) != earlier:
        return set(slots)
    facts = [(_of_slots(new, name), _of_slots(earlier, name)) for name in _FACTS]
    return {slot for slot in slots if any(now[slot] != was[slot] for now, was in facts)}


def _of_slots(roster: RosterManifest, fact: str) -> Sequence[object]:
    """A fact of every slot; None where there is none, be it written or left out for all."""
    return [value or None for value in getattr(roster, fact)] or [None] * roster.slots


def is_correction(upload: UploadManifest) -> bool:
    """Whether an upload corrects another one."""
    return upload.revision != FIRST_REVISION


def _members(roster: RosterManifest) -> tuple[object, ...]:
    """Who sits where, and in which cell; only prices and facts of contracts may be corrected."""
    return roster.domain, roster.pseudonyms, roster.zones, roster.customer_classes


def _contents(upload: UploadManifest) -> set[tuple[str, Digest]]:
    return {(column.quantity, column.digest) for column in upload.columns}


def _refusal(why: str, code: str) -> InputError:
    return InputError(
        f"A correction {why}.",
        reason=f"correction.{code}",
        remedy="Correct the latest committed upload of the roster and period, with its number plus "
        "one, and name exactly the slots whose readings or prices changed.",
    )
