"""`gridsecure objects`: an operator's work on what a platform stores.

It works on the platform's own database and store, and beside the running service.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.errors import InputError, NotFoundError

with on_use():
    from gridsecure.compute import containers, tables
    from gridsecure.store import database as databases
    from gridsecure.store import objects as stores
    from gridsecure.store import schema as schemas

objects_app = typer.Typer(help="Look after a platform's stored objects.", no_args_is_help=True)

LEAST_AGE: Final = timedelta(hours=1)
_AGE: Final = re.compile(r"([1-9][0-9]{0,4})([hd])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1)}


@objects_app.command()
@explain_errors
def sweep(
    zone: Annotated[Path, typer.Argument(help="The platform's folder.")],
    *,
    older_than: Annotated[str, typer.Option(help="How old, as 2d or 36h; at least 1h.")] = "2d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    database: Annotated[
        str,
        typer.Option(
            envvar="GRIDSECURE_PLATFORM_DATABASE",
            show_envvar=True,
            help="URL of its database, unless in the folder.",
        ),
    ] = "",
    objects: Annotated[
        str,
        typer.Option(
            envvar="GRIDSECURE_PLATFORM_OBJECTS",
            show_envvar=True,
            help="URL of its objects, unless in the folder.",
        ),
    ] = "",
) -> None:
    """Remove stored objects that nothing names: what killed processes left."""
    before = datetime.now(UTC) - _age(older_than)
    if not database and not (zone / "zone.db").is_file():
        raise NotFoundError(
            "There is no platform's database in this folder.",
            reason="objects.zone",
            remedy="Name the platform's folder, or its database with --database.",
        )
    store = stores.open_objects(objects or stores.folder_url(zone / "objects"))
    engine = databases.open_database(database or f"sqlite:///{zone / 'zone.db'}")
    try:
        schemas.check_schema(engine, tables.SCHEMA)
        swept = containers.PlatformObjects(store, engine).sweep(before=before, dry_run=dry_run)
    finally:
        engine.dispose()
    done = "Would remove" if dry_run else "Removed"
    typer.echo(f"{done} {swept.objects:,} objects, {swept.size:,} bytes.")


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
