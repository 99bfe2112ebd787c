"""`gridsecure statement`: statements of a bill file, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gridsecure.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    StorageError,
)
from gridsecure.portal.receipts import delivered_receipt, has_receipt
from gridsecure.statements.options import RenderOptions
from gridsecure.statements.render import (
    RenderedStatement,
    choose_statements,
    render_statement,
)
from gridsecure.whole_files import replace_file

Report = Callable[[str], None]

RECEIPT: Final = ".receipt.json"
"""What a receipt's file is called in place of the statement's ending."""
_FILE_ENDINGS: Final = {".html", ".htm", ".pdf"}


@dataclass(frozen=True, slots=True)
class StatementJob:
    """What to make statements of, and where they go.

    Args:
        bill: Bill file, the JSON of `gridsecure bill`.
        output: A file, when there is one statement; else a folder, made if it is not there.
        meter: Only this meter point.
        month: Only periods starting in this month, YYYY-MM.
    """

    bill: Path
    output: Path
    meter: str | None = None
    month: str | None = None
    force: bool = False


def write_statements(
    job: StatementJob, *, options: RenderOptions, report: Report
) -> tuple[Path, ...]:
    """Write the statements of a bill file and return where they are.

    A bill that has a receipt gets it in a file of its own beside the statement.

    1. Everything is read, checked and rendered; a bad bill leaves no file behind.
    2. Files that are there already are found before the first one is written.
    3. Each file appears under its name only when it is complete.

    Raises:
        GridSecureError: With a reason code and a remedy.
    """
    orders = choose_statements(read_document(job.bill), meter_point_id=job.meter, month=job.month)
    rendered = [render_statement(order, options=options) for order in orders]
    targets = _targets(job, rendered)
    files = [
        (target, statement.content) for target, statement in zip(targets, rendered, strict=True)
    ]
    files += [
        (target.with_suffix(RECEIPT), delivered_receipt(order))
        for target, order in zip(targets, orders, strict=True)
        if has_receipt(order)
    ]
    if not job.force:
        refuse_existing([target for target, _ in files])
    for target, content in files:
        write_whole(target, content)
        report(str(target))
    return tuple(target for target, _ in files)


def read_document(path: Path) -> object:
    """The bill document in a file.

    Raises:
        NotFoundError: There is none (`statement.file`).
        InputError: It cannot be read (`statement.file`), or is not JSON (`statement.json`).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(
            f"There is no bill file {path.name!r}.",
            reason="statement.file",
            remedy="Check the path given to --bill.",
        ) from error
    except OSError as error:
        raise InputError(
            f"The bill file {path.name!r} cannot be read.",
            reason="statement.file",
            remedy="Check the path given to --bill, and that the file may be read.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"The bill file {path.name!r} is not JSON.",
            reason="statement.json",
            remedy="Write it with `gridsecure bill ... --format json > FILE.json`.",
        ) from error


def _targets(job: StatementJob, rendered: Sequence[RenderedStatement]) -> tuple[Path, ...]:
    """Return a file for each statement; `--output` names a file by its ending."""
    is_file = not job.output.is_dir() and job.output.suffix.lower() in _FILE_ENDINGS
    if is_file and len(rendered) > 1:
        raise InputError(
            f"--output names one file, but there are {len(rendered)} statements.",
            reason="statement.output",
            remedy="Give a folder, or choose one with --meter and --month.",
        )
    if is_file:
        return (job.output,)
    targets = tuple(job.output / statement.name for statement in rendered)
    if len(set(targets)) < len(targets):
        raise InputError(
            "The bill file has two bills for the same meter point, month and version.",
            reason="statement.output",
            remedy="Keep one version of each bill in the file.",
        )
    return targets


def refuse_existing(targets: Sequence[Path]) -> None:
    """Refuse to write over a file.

    Raises:
        ConflictError: One is there (`statement.exists`).
    """
    there = [target for target in targets if os.path.lexists(target)]
    if there:
        raise ConflictError(
            f"{there[0].name!r} is there already; nothing was written.",
            reason="statement.exists",
            remedy="Choose another --output, or overwrite with --force.",
        )


def write_whole(target: Path, content: bytes) -> None:
    """Write a file, readable by its owner only, that is there whole or not at all.

    Raises:
        StorageError: The disk refuses (`statement.output`).
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, [content])
    except OSError as error:
        raise StorageError(
            f"{target.name!r} could not be written.",
            reason="statement.output",
            remedy="Give a writable folder with enough free space, or another file name.",
        ) from error
