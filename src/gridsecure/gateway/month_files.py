"""A month's input files in the gateway's folder: replaced as a set or not at all.

    months/2026-07/input-<random>/     readings-0001, …, tariff-0001.toml, …
    months/2026-07/input.json          names the set in force

A set is written into a folder of its own, and takes effect when `input.json` names it. Whatever a
killed or refused attempt left is removed by the next one. Files have names given here, never those
of the sender. Each readings file is digested as it comes, and read only while it is what came: so
what is read of it later is what came in.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import pandas as pd
from sqlmodel import col, select

from gridsecure.billing.contracts import load_contracts
from gridsecure.errors import ConflictError, InputError, NotFoundError, StorageError
from gridsecure.gateway.books.as_of import contracts_as_of
from gridsecure.gateway.books.imports import state_contracts
from gridsecure.gateway.books.register import is_held_in, newest_revision
from gridsecure.gateway.check_files import read_checks
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.edits import edit_files, find_edits
from gridsecure.gateway.exceptions import find_waived
from gridsecure.gateway.ingestion.batches import find_batches, newest_batch
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.private_files import private_folder, write_private
from gridsecure.gateway.rule_sets import rules_of
from gridsecure.gateway.sealed_days import day_folder
from gridsecure.gateway.tables import BatchMonthRow, MonthReportRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.periods import BillingPeriod, local_day
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff

_CHUNK: Final = 1 << 20
_POINTER: Final = "input.json"
_NO_FILES: Final[dict[str, Any]] = {"folder": "", "readings": [], "tariffs": {}}
_CONTRACTS: Final = "contracts.csv"
_WHAT: Final = "A file of the month"


def month_folder(zone: GatewayZone, month: str) -> Path:
    """Where everything about a month lies.

    Raises:
        InputError: Not a month (`month.format`, `month.year`); such a text never becomes part of
            a path.
    """
    zone.period(month)
    return zone.folder / "months" / month


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What is handed in for a month.

    Args:
        readings: Meter data files; read when the month is processed. There may be none where
            sources sent batches of the month.
        contracts: A contract file; None where the books have what the month needs.
        tariffs: Tariff files beyond the catalogue's, or instead of them.
        checks: Files of what is known of the sums of readings.
    """

    readings: Sequence[BinaryIO] = ()
    contracts: BinaryIO | None = None
    tariffs: Sequence[BinaryIO] = ()
    checks: Sequence[BinaryIO] = ()


def save_files(zone: GatewayZone, month: str, *, files: HandedIn, person: str, at: datetime) -> int:
    """Keep a month's files in place of earlier ones.

    A contract file goes into the books, from the month's first day, and is not kept. It says who
    holds what then: whoever it leaves out has moved out.

    Args:
        month: YYYY-MM.
        person: Who hands them in.

    Returns:
        Contracts in the contract file; 0 without one.

    Raises:
        ConflictError: The month's rosters are fixed (`conflict.month-files`), or the books were
            changed at the same time (`conflict.books`).
        InputError: No readings, nobody in the books, or a file of contracts, a tariff or checks
            that cannot be used; earlier files stay in force.
        StorageError: The disk could not take them; earlier files stay in force.
    """
    folder = month_folder(zone, month)
    period = zone.period(month)
    _check_handed_in(zone, month, files, period)
    private_folder(folder)
    with _staged(folder) as staging:
        names = [f"readings-{number:04d}" for number in range(1, len(files.readings) + 1)]
        digests = [
            _write_digested(staging / name, source)
            for name, source in zip(names, files.readings, strict=True)
        ]
        checks = [f"checks-{number:04d}" for number in range(1, len(files.checks) + 1)]
        for name, source in zip(checks, files.checks, strict=True):
            write_private(staging / name, _chunks(source), what=_WHAT)
            read_checks(staging / name, timezone=zone.timezone)  # refused now, not months later
        contracts = _read_contracts(files.contracts, staging)
        by_id = {}
        for number, source in enumerate(files.tariffs, start=1):
            name = f"tariff-{number:04d}.toml"
            write_private(staging / name, _chunks(source), what=_WHAT)
            by_id[load_tariff(staging / name).tariff_id] = name
        if contracts is not None:
            first = period.start.date()
            state_contracts(zone, contracts, valid_from=first, person=person, at=at)
        pointer = {
            "folder": staging.name,
            "readings": names,
            "digests": digests,
            "tariffs": by_id,
            "checks": checks,
        }
        text = json.dumps(pointer, sort_keys=True)
        _log(zone, month, pointer, person=person, at=at)
        write_private(folder / _POINTER, [text.encode()], what=_WHAT)
    return 0 if contracts is None else len(contracts)


def _log(
    zone: GatewayZone, month: str, pointer: Mapping[str, Any], *, person: str, at: datetime
) -> None:
    """Who hands in what, in the evidence log; no reading. Before it counts, so that all is there.

    Args:
        pointer: Names the set of files.
    """
    detail: dict[str, evidence.JSON] = {
        "month": month,
        "person": person,
        "readings": list(pointer["digests"]),
        "tariffs": sorted(pointer["tariffs"]),
        "checks": len(pointer["checks"]),
    }
    with write_session(zone.engine) as session:
        evidence.append(session, at=at, actor=zone.service_id, action="month.files", detail=detail)


def _write_digested(path: Path, source: BinaryIO) -> str:
    """Keep a file, and return its digest [SHA-256, hex]."""
    digest = hashlib.sha256()

    def parts() -> Iterator[bytes]:
        for part in _chunks(source):
            digest.update(part)
            yield part

    write_private(path, parts(), what=_WHAT)
    return digest.hexdigest()


def _check_handed_in(zone: GatewayZone, month: str, files: HandedIn, period: BillingPeriod) -> None:
    if find_plan(zone, month) is not None:
        raise ConflictError(
            f"The rosters of {month} are fixed; its files can no longer change.",
            reason="conflict.month-files",
            remedy="Process the month to its end.",
        )
    if not files.readings and not newest_batch(zone, month=month):
        raise InputError(
            "No readings file was sent, and no source sent readings of this month.",
            reason="month.no-readings",
            remedy="Send one file or more under the name readings, or batches to /v1/readings.",
        )
    if files.contracts is None and not is_held_in(zone, period):
        raise InputError(
            "Nobody holds a meter point in this month, by the books.",
            reason="month.no-contracts",
            remedy="Send a contract file under the name contracts, or import into the books first.",
        )


def _read_contracts(source: BinaryIO | None, staging: Path) -> pd.DataFrame | None:
    if source is None:
        return None
    write_private(staging / _CONTRACTS, _chunks(source), what=_WHAT)
    contracts = load_contracts(staging / _CONTRACTS)
    (staging / _CONTRACTS).unlink()  # the books have it
    return contracts


def require_files(zone: GatewayZone, month: str) -> dict[str, Any]:
    """Require that there is something to process of a month, without reading it.

    Returns:
        The folder and the names of the set of files in force, which may be none where sources sent
        batches and the books have contracts.

    Raises:
        NotFoundError: Nothing was handed in (`month.unknown`).
    """
    pointer = _pointer(month_folder(zone, month))
    if pointer is not None:
        return pointer
    if newest_batch(zone, month=month) and is_held_in(zone, zone.period(month)):
        return _NO_FILES
    raise NotFoundError(
        f"Of {month} there are no files, and no batches beside contracts in the books.",
        reason="month.unknown",
        remedy="Send batches to /v1/readings, with contracts in the books; or hand in files.",
    )


def list_begun(zone: GatewayZone, months: Iterable[str]) -> list[str]:
    """Those of some months that files or batches came of, or that are done, in their order."""
    wanted = list(months)
    done = select(MonthReportRow.month).where(col(MonthReportRow.month).in_(wanted))
    with read_session(zone.engine) as session:
        finished = set(session.exec(done))

        def is_begun(month: str) -> bool:
            if month in finished or _pointer(month_folder(zone, month)) is not None:
                return True
            came = select(BatchMonthRow.batch).where(BatchMonthRow.month == month).limit(1)
            return session.exec(came).first() is not None

        return [month for month in wanted if is_begun(month)]


def load_files(zone: GatewayZone, month: str) -> MonthFiles:
    """The files in force for a month, and the batches of it.

    Raises:
        NotFoundError: Nothing was handed in (`month.unknown`).
        StorageError: The disk refuses to read them.
    """
    return _load(zone, month, require_files(zone, month))


def known_tariffs(zone: GatewayZone) -> frozenset[str]:
    """Ids of the tariffs that a month can be billed by as things are.

    They are those of the catalogue, and those that were handed in with the files of a month.
    """
    folder = zone.folder / "months"
    months = sorted(folder.iterdir()) if folder.is_dir() else []
    pointers = [_pointer(path) for path in months if path.is_dir()]
    own = (name for pointer in pointers if pointer is not None for name in pointer["tariffs"])
    return frozenset(catalogue_tariffs()).union(own)


def load_day_files(zone: GatewayZone, day: str) -> MonthFiles:
    """What there is to seal a day of, which lies in a month that is not fixed: batches and edits.

    Contracts are those of the month, and so are its own tariffs where any were handed in.

    Args:
        day: YYYY-MM-DD, local.

    Raises:
        InputError: Not a day (`day.format`, `month.year`).
        StorageError: The disk refuses to read them.
    """
    period, folder = local_day(day, timezone=zone.timezone), day_folder(zone, day)
    month = zone.month_of(day)
    pointer = _pointer(month_folder(zone, month)) or _NO_FILES
    of_month = _load(zone, month, {**pointer, "readings": [], "digests": []})
    until = of_month.until_batch
    return replace(of_month, folder=folder, batches=find_batches(zone, period, until=until))


def _load(zone: GatewayZone, month: str, pointer: dict[str, Any]) -> MonthFiles:
    folder = month_folder(zone, month)
    source = folder / pointer["folder"]
    plan, period = find_plan(zone, month), zone.period(month)
    until = newest_batch(zone) if plan is None else plan.until_batch
    revision = newest_revision(zone) if plan is None else plan.books_revision
    editions = catalogue_tariffs(date(*period.month, 1))
    paths = editions | {n: source / file for n, file in pointer["tariffs"].items()}
    try:
        tariffs = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    except OSError as error:
        raise _unreadable(error) from error
    return MonthFiles(
        month=month,
        folder=folder,
        readings=tuple(source / name for name in pointer["readings"]),
        tariffs=tariffs,
        contracts=partial(contracts_as_of, zone, period=period, revision=revision),
        books_revision=revision,
        max_readings=zone.max_readings,
        batches=find_batches(zone, period, until=until),
        until_batch=until,
        rules=rules_of(zone, month, plan=plan),
        edits=edit_files(zone, find_edits(zone, month) if plan is None else plan.edits),
        waived=find_waived(zone, month) if plan is None else frozenset(plan.waived),
        checks=tuple(source / name for name in pointer.get("checks", ())),
        digests=tuple(pointer.get("digests", ())),
    )


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A new set's folder; afterwards only the set in force is left."""
    staging = private_folder(folder / f"input-{secrets.token_hex(8)}")
    try:
        yield staging
    finally:
        pointer = _pointer(folder)
        for other in folder.glob("input-*"):
            if pointer is None or other.name != pointer["folder"]:
                shutil.rmtree(other, ignore_errors=True)


def _pointer(folder: Path) -> dict[str, Any] | None:
    try:
        pointer: dict[str, Any] = json.loads((folder / _POINTER).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(error) from error
    return pointer


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK):
        yield chunk


def _unreadable(error: OSError | ValueError) -> StorageError:
    what = error.strerror if isinstance(error, OSError) else "it is damaged"
    return StorageError(
        f"The month's files cannot be read: {what}.",
        reason="storage.read",
        remedy="Check the gateway's folder, or send the files again.",
    )
