"""A cycle's sealed bills for the web server that customers fetch them from.

    mailings.json        which mailings there are, signed
    2026-07/0001f.shelf  bills of some dozens of customers, among records that are nobody's

The folder is the office's own; a web server serves it, or a copy of it, as plain files. A mailing
is made in a hidden folder that its owner alone may read, and appears as a whole; of one that fails
nothing is left, and one is made at a time. What appeared is
never written anew: two versions of a shelf would show how many bills came or went.
"""

from __future__ import annotations

import fcntl
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shutil import rmtree
from typing import Final

from gridsecure.bill_mailings import (
    INDEX,
    MOST_BILLS,
    MailingIndex,
    add_mailing,
    make_mailing,
    read_index,
    shelf_name,
)
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.delivered_bills import fetching_secret
from gridsecure.errors import ConflictError, InputError, StorageError
from gridsecure.offices.customers import Customers
from gridsecure.whole_files import replace_file

_BILL: Final = ".bill"
_PUBLIC: Final = 0o644
_FOLDER: Final = 0o755
_PRIVATE: Final = 0o700


@dataclass(frozen=True, slots=True)
class Posted:
    """What was posted.

    Args:
        bills: How many lie on shelves.
        customers: Of how many keys.
        left: Bills that go another way: to keys of before customers could fetch, and beyond
            `MOST_BILLS` of one key.
        shelves: How many there are, of `shelf_bytes` each.
    """

    bills: int
    customers: int
    left: int
    shelves: int
    shelf_bytes: int


def post_bills(
    sealed: Path, site: Path, *, name: str, key: Sm2PrivateKey, customers: Customers, now: datetime
) -> Posted:
    """Make a mailing of the bills that were sealed, and put it where the web server looks.

    Args:
        sealed: Folder of sealed bills, one below it for each key.
        site: Folder that the web server serves; made if it is not there.
        name: The mailing's, new.
        key: The billing office's.
        now: The present, aware.

    Raises:
        InputError: There is no sealed bill (`mailing.nothing`).
        ConflictError: There is a mailing of that name, or a folder (`mailing.exists`).
        GridSecureError: The index at the site is not this office's, or the disk refuses
            (`mailing.site`).
    """
    bills, left = _read_bills(sealed, secrets=_secrets(customers))
    if not bills:
        raise InputError(
            "No bill is sealed to a customer who can fetch it.",
            reason="mailing.nothing",
            remedy="Name the folder that `gridsecure office statements` wrote. Who made a key"
            " before this release makes the request anew with `gridsecure my key`.",
        )
    with _alone_at(site):
        return _post(site, name, bills, key=key, now=now, left=left)


def _post(
    site: Path,
    name: str,
    bills: Mapping[bytes, list[bytes]],
    *,
    key: Sm2PrivateKey,
    now: datetime,
    left: int,
) -> Posted:
    index = _index(site, key=key)
    _check_new(name, index, site=site)
    mailing, shelves = make_mailing(name, bills, office=key)
    signed = add_mailing(index, mailing, office=key, now=now).model_dump_json()
    folder, next_index = site / f".{name}", site / f".{INDEX}"
    try:
        if folder.exists():  # of a run that was killed
            rmtree(folder)
        folder.mkdir(mode=_PRIVATE)
        try:
            for number, content in enumerate(shelves):
                replace_file(folder / shelf_name(number), [content], mode=_PUBLIC)
            folder.chmod(_FOLDER)
            # Whatever can fail for want of room is written before anything appears.
            replace_file(next_index, [signed.encode()], mode=_PUBLIC)
            folder.rename(site / name)
        except BaseException:  # two copies would differ by the bills that came in between
            next_index.unlink(missing_ok=True)
            rmtree(folder)
            raise
        next_index.replace(site / INDEX)
    except OSError as error:
        raise _refused(error) from error
    posted = sum(map(len, bills.values()))
    return Posted(posted, len(bills), left, 1 << mailing.bits, mailing.shelf_bytes)


def _check_new(name: str, index: MailingIndex | None, *, site: Path) -> None:
    known = set() if index is None else {one.name for one in index.mailings}
    if name in known or (site / name).exists():
        raise ConflictError(
            f"There is a mailing {name} already.",
            reason="mailing.exists",
            remedy="Give another name, such as 2026-07-corrections: a shelf's place follows from"
            " it. A folder that the index does not name is of a run that was interrupted; its name"
            " is not used again either.",
        )


@contextmanager
def _alone_at(site: Path) -> Iterator[None]:
    """Wait until nobody else posts there: each would take the other's for an interrupted run's."""
    try:
        site.mkdir(parents=True, exist_ok=True)
        held = os.open(site, os.O_RDONLY)
    except OSError as error:
        raise _refused(error) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _read_bills(
    sealed: Path, *, secrets: Mapping[str, bytes]
) -> tuple[dict[bytes, list[bytes]], int]:
    """Sealed bills by the secret of their customer, and how many go another way."""
    bills: dict[bytes, list[bytes]] = defaultdict(list)
    left = 0
    try:
        for path in sorted(sealed.rglob(f"*{_BILL}")):
            own = secrets.get(path.parent.name)
            if own is not None and len(bills[own]) < MOST_BILLS:
                bills[own].append(path.read_bytes())
            else:
                left += 1
    except OSError as error:
        raise _refused(error) from error
    return bills, left


def _secrets(customers: Customers) -> dict[str, bytes]:
    """By the folder of each key, the secret that its bills are found with."""
    found = {}
    for one in customers.customers:
        secret = fetching_secret(one.request)
        if secret is not None:
            found[one.key.thumbprint[:16]] = secret
    return found


def _index(site: Path, *, key: Sm2PrivateKey) -> MailingIndex | None:
    try:
        return read_index((site / INDEX).read_bytes(), office=key.public_key)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> StorageError:
    return StorageError(
        "The folder of sealed bills, or that of the web server, cannot be used.",
        reason="mailing.site",
        remedy=f"Check paths, permissions and free space ({error.strerror}).",
    )
