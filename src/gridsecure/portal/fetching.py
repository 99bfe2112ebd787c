"""A customer fetches the own sealed bills from the billing office's web server.

Whole shelves are fetched, each over a connection of its own, and nothing says who fetches. Each is
fetched once, whether bills were on it or none: who asked again for a shelf without any would show
that there was none, and by all shelves that are asked for again the same customer in every month.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx

from gridsecure.bill_mailings import INDEX, Mailing, find_bills, read_index, shelf_name, shelf_of
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.delivered_bills import own_secret
from gridsecure.errors import GridSecureError, StorageError
from gridsecure.portal.folder import BILL
from gridsecure.whole_files import replace_file

_LARGEST_INDEX: Final = 1 << 20
_HEAD: Final = 4096  # what is signed of a shelf, at most
FETCHED: Final = "fetched-mailings.txt"
"""In the customer's folder: key and mailing of each shelf that was fetched, one a line."""


def fetch_bills(
    http: httpx.Client, url: str, *, key: Sm2PrivateKey, office: Sm2PublicKey, folder: Path
) -> list[Path]:
    """Fetch the bills of every mailing that was not fetched into the folder; where they are now.

    They are sealed as they were by the office.

    Args:
        http: Opens a connection for each request.
        url: Address of the folder that the web server serves.
        key: The customer's.
        office: The billing office's.

    Raises:
        GridSecureError: The server did not answer so (`mailing.server`), or answers what the office
            did not sign. Every other mailing was fetched all the same.
        StorageError: The disk refuses (`delivery.output`).
    """
    fetched = _read_fetched(folder)
    index = read_index(_get(http, f"{url}/{INDEX}", longest=_LARGEST_INDEX), office=office)
    secret, written, failed = own_secret(key), [], None
    for mailing in index.mailings:
        entry = f"{key.public_key.thumbprint} {mailing.name}"
        if entry in fetched:
            continue
        number = shelf_of(secret, mailing)
        longest = mailing.shelf_bytes + _HEAD
        try:
            body = _get(http, f"{url}/{mailing.name}/{shelf_name(number)}", longest=longest)
            bills = find_bills(body, secret=secret, mailing=mailing, office=office)
        except GridSecureError as error:
            failed = error  # an old mailing that is damaged does not keep newer bills away
            continue
        written += _write(folder, mailing, bills, key=key.public_key)
        _keep_fetched(folder, fetched, entry)
    if failed is not None:
        raise failed
    return written


def _read_fetched(folder: Path) -> dict[str, None]:
    try:
        return dict.fromkeys((folder / FETCHED).read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _no_folder(folder, "it cannot be read") from error


def _keep_fetched(folder: Path, fetched: dict[str, None], entry: str) -> None:
    fetched[entry] = None
    try:
        replace_file(folder / FETCHED, ["".join(f"{one}\n" for one in fetched).encode()])
    except OSError as error:
        raise _no_folder(folder, error.strerror) from error


def _write(folder: Path, mailing: Mailing, bills: list[bytes], *, key: Sm2PublicKey) -> list[Path]:
    """Write the bills, named by mailing and key: one folder may serve several keys."""
    name = f"{mailing.name}.{key.thumbprint[:8]}"
    paths = [folder / f"{name}.{number}{BILL}" for number in range(1, len(bills) + 1)]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, sealed in zip(paths, bills, strict=True):
            replace_file(path, [sealed])
    except OSError as error:
        raise _no_folder(folder, error.strerror) from error
    return paths


def _no_folder(folder: Path, why: str | None) -> StorageError:
    return StorageError(
        f"Bills could not be written into {folder.name}.",
        reason="delivery.output",
        remedy=f"Name a folder that can be written ({why}).",
    )


def _get(http: httpx.Client, url: str, *, longest: int) -> bytes:
    """A file of the web server, if it is no longer than it may be."""
    body = bytearray()
    try:
        with http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer:
            for piece in answer.iter_raw():
                body += piece
                if len(body) > longest:
                    raise _unfit("It sent more than it may.")
        if answer.status_code != httpx.codes.OK:
            raise _unfit(f"It answered {answer.status_code}.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unfit("It cannot be reached.") from error
    return bytes(body)


def _unfit(why: str) -> GridSecureError:
    return GridSecureError(
        f"The web server of the billing office has no such bills. {why}",
        reason="mailing.server",
        remedy="Check the address, or try again later.",
    )
