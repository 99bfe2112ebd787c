"""The platform's folder opened, and counted."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import func
from sqlmodel import col, select

from gridsecure.compute.corrections import COMMITTED
from gridsecure.compute.tables import SCHEMA, KeySetRow, RosterRow, RunRow, UploadRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.store.database import open_database, read_session
from gridsecure.store.objects import ObjectStore
from gridsecure.store.schema import migrate
from gridsecure.zone_keys import load_signing_key, make_zone_folder
from gridsecure_api.settings import PlatformSettings, key_registry


def platform_counts(zone: PlatformZone) -> dict[str, int]:
    """How much the platform holds."""
    with read_session(zone.engine) as session:
        rows = {"key_sets": KeySetRow, "rosters": RosterRow, "uploads": UploadRow, "runs": RunRow}
        counts = {
            name: session.exec(select(func.count()).select_from(table)).one()
            for name, table in rows.items()
        }
        committed = select(func.count()).where(col(UploadRow.state) == COMMITTED)
        counts["committed_uploads"] = session.exec(committed).one()
    return counts | {"stored_bytes": stored_bytes(zone.objects)}


def stored_bytes(objects: ObjectStore) -> int:
    """What all objects take on the disk, as their lengths add up [bytes]."""
    total = 0
    for path in objects.root.glob("*/*"):
        with suppress(FileNotFoundError):  # a draft that became an object meanwhile
            total += path.stat().st_size
    return total


def open_zone(settings: PlatformSettings) -> PlatformZone:
    """Open the zone's folder; its signing key is made at first start.

    Raises:
        StorageError: The folder or database cannot be used.
        InvalidMessageError: A peer's key is not a point of the curve.
    """
    folder = make_zone_folder(settings.folder)
    identity = key_registry(settings.identity_public_key)
    authority = key_registry(settings.authority_public_key)
    office = key_registry(settings.billing_office_public_key)
    engine = open_database(settings.database_url)
    migrate(engine, SCHEMA)
    return PlatformZone(
        engine=engine,
        objects=ObjectStore(settings.objects_folder),
        signing_key=load_signing_key(folder),
        identity=identity,
        authority=authority,
        office=office,
    )
