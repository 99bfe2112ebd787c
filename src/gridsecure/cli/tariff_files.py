"""Reading and writing the files that tariff commands work on."""

from __future__ import annotations

from pathlib import Path

from gridsecure.errors import ConflictError, InputError, NotFoundError, StorageError
from gridsecure.tariffs.urdb.conversion import UrdbImport, UrdbOptions, import_rate
from gridsecure.tariffs.urdb.elements import parse_urdb

# A rate with a price for every five minutes of a year has some two megabytes.
LARGEST_BYTES = 32 * 1024 * 1024


def import_urdb_file(urdb: Path, *, options: UrdbOptions, output: Path) -> UrdbImport:
    """Import a URDB file and write the tariff file; nothing is written unless all is imported.

    Raises:
        InvalidTariffError: As `import_rate`.
        NotFoundError: There is no such URDB file.
        InputError: It cannot be read as UTF-8 text (`urdb.unreadable`), or is no single rate
            (`urdb.too-large`).
        ConflictError: The output is there already; a tariff file may have been edited by hand.
        StorageError: The output cannot be written.
    """
    result = import_rate(parse_urdb(_read(urdb)), options=options)
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(result.text)
    except FileExistsError as error:
        raise ConflictError(
            f"There is a file {output.name!r} already.",
            remedy="Choose another name, or remove the file first.",
        ) from error
    except OSError as error:
        raise StorageError(
            f"The tariff file {output.name!r} cannot be written.",
            remedy="Check the path given to --output.",
        ) from error
    return result


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(
                f"The file {path.name!r} is too large to be one rate.",
                reason="urdb.too-large",
                remedy="Take one rate out of the database's bulk file, by its label.",
            )
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(
            f"There is no file {path.name!r}.", remedy="Check the path given to --urdb."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The file {path.name!r} cannot be read as UTF-8 text.",
            reason="urdb.unreadable",
            remedy="Check the path and the encoding.",
        ) from error
