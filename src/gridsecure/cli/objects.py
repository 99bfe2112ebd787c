"""`gridsecure objects`: an operator's work on what a zone stores, in its own database and store."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.errors import InputError, NotFoundError

with on_use():
    from gridsecure.compute import containers
    from gridsecure.compute import tables as platform_tables
    from gridsecure.gateway import stored_objects as gateway_objects
    from gridsecure.gateway import tables as gateway_tables
    from gridsecure.key_authority.checker import stored_objects as authority_objects
    from gridsecure.key_authority.checker import tables as authority_tables
    from gridsecure.store import database as databases
    from gridsecure.store import objects as stores
    from gridsecure.store import schema as schemas
    from gridsecure.store import sweeping

if TYPE_CHECKING:
    from sqlalchemy import Engine  # a second of loading

objects_app = typer.Typer(help="Look after a zone's stored objects.", no_args_is_help=True)

LEAST_AGE: Final = timedelta(hours=1)
_AGE: Final = re.compile(r"([1-9][0-9]{0,4})([hd])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1)}


class ZoneOption(StrEnum):
    """Whose objects."""

    PLATFORM = "platform"
    GATEWAY = "gateway"
    AUTHORITY = "authority"


@objects_app.command()
@explain_errors
def sweep(
    folder: Annotated[Path, typer.Argument(help="The zone's folder.")],
    *,
    zone: Annotated[ZoneOption, typer.Option(help="Whose it is.")] = ZoneOption.PLATFORM,
    older_than: Annotated[str, typer.Option(help="How old, as 2d or 36h; at least 1h.")] = "2d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    database: Annotated[
        str,
        typer.Option(help="URL of its database; else GRIDSECURE_<ZONE>_DATABASE, or the folder's."),
    ] = "",
    objects: Annotated[
        str,
        typer.Option(help="URL of its objects; else GRIDSECURE_<ZONE>_OBJECTS, or the folder's."),
    ] = "",
) -> None:
    """Remove stored objects that nothing names: what killed processes left.

    A platform is swept beside its running service. Stop a gateway or a key authority before.
    """
    before = datetime.now(UTC) - _age(older_than)
    database = database or os.environ.get(f"GRIDSECURE_{zone.name}_DATABASE", "")
    objects = objects or os.environ.get(f"GRIDSECURE_{zone.name}_OBJECTS", "")
    if not database and not (folder / "zone.db").is_file():
        raise NotFoundError(
            "There is no zone's database in this folder.",
            reason="objects.zone",
            remedy="Name the zone's folder, or its database with --database.",
        )
    store = stores.open_objects(objects or stores.folder_url(folder / "objects"))
    engine = databases.open_database(database or f"sqlite:///{folder / 'zone.db'}")
    try:
        swept = _sweep(zone, store, engine, before=before, dry_run=dry_run)
    finally:
        engine.dispose()
    done = "Would remove" if dry_run else "Removed"
    typer.echo(f"{done} {swept.objects:,} objects, {swept.size:,} bytes.")


def _sweep(
    zone: ZoneOption,
    store: stores.ObjectStore,
    engine: Engine,
    *,
    before: datetime,
    dry_run: bool,
) -> sweeping.Swept:
    if zone is ZoneOption.PLATFORM:
        schemas.check_schema(engine, platform_tables.SCHEMA)
        return containers.PlatformObjects(store, engine).sweep(before=before, dry_run=dry_run)
    schema, named = {
        ZoneOption.GATEWAY: (gateway_tables.SCHEMA, gateway_objects.NAMED),
        ZoneOption.AUTHORITY: (authority_tables.SCHEMA, authority_objects.NAMED),
    }[zone]
    schemas.check_schema(engine, schema)
    return sweeping.sweep_objects(store, engine, named=named, before=before, dry_run=dry_run)


def _age(text: str) -> timedelta:
    found = _AGE.fullmatch(text)
    age = int(found[1]) * _UNITS[found[2]] if found else timedelta()
    if age < LEAST_AGE:
        raise InputError(
            "This is no age of objects that may be removed.",
            reason="objects.age",
            remedy="Write days or hours, as 2d or 36h: longer than any upload or run may take.",
        )
    return age
