"""Rosters beside those of a grid: parts of them, and uploads of them that cost no encryption."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gridsecure.gateway.rosters import Roster
from gridsecure.identity_messages import DenyList
from gridsecure.messages import RosterManifest, sign_message
from tests.grid_simulator import NOW, GridSimulator, GridUpload

AUGUST = {"start": "2026-08-01T00:00:00+08:00", "end": "2026-09-01T00:00:00+08:00"}
STRADDLING = {"start": "2026-07-28T00:00:00+08:00", "end": "2026-08-28T00:00:00+08:00"}
"""A month that shares four days with July, of rosters whose periods begin on day 28."""
STRADDLING_DAY = 28

_BY_SLOT = (
    "pseudonyms", "zones", "customer_classes", "household_quota_wh", "contracted_va",
    "free_quota_wh", "service_from",
)  # fmt: skip


def part(roster: RosterManifest, slots: Iterable[int]) -> RosterManifest:
    """Some slots of a roster, without seats yet."""
    kept = list(slots)
    changes = {}
    for name in _BY_SLOT:
        values = getattr(roster, name)
        changes[name] = [values[slot] for slot in kept] if values else []
    return roster.model_copy(update=changes)


def known(grid: GridSimulator, manifest: RosterManifest, *, cycle_day: int = 1) -> Roster:
    """A roster seated and registered at the platform."""
    roster = Roster(grid.seated(manifest.model_copy(update={"cycle_day": cycle_day})), ())
    grid.register(roster)
    return roster


def upload_of(
    grid: GridSimulator, roster: Roster, like: GridUpload, **changes: object
) -> GridUpload:
    """An upload that names a roster, with the columns of another upload, as of its own gateway."""
    grid.sequence += 1
    own = {name: key_set.public.key_id for name, key_set in grid.keys.secret.items()}
    columns = [
        entry.model_copy(update={"key_id": own[entry.parameters]})
        for entry in like.manifest.columns
    ]
    named = {
        "columns": columns,
        "roster_id": roster.manifest.roster_id,
        "gateway_id": grid.gateway_key.public_key.thumbprint,
        "sequence": grid.sequence,
    }
    manifest = like.manifest.model_copy(update=named | changes)
    return replace(like, roster=roster, manifest=manifest, message=grid.sign(manifest))


def deny_list(grid: GridSimulator, *subjects: str, sequence: int = 1):
    """A deny list as the identity authority signs it."""
    said = DenyList(sequence=sequence, issued_at=NOW.isoformat(), subjects=list(subjects))
    return sign_message(said, key=grid.identity_key)
