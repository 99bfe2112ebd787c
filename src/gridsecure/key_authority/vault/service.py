"""The vault as a process of its own, behind a Unix-domain socket that only the checker may use.

Whoever connects is first known by the user the kernel tells, then every order by the checker's
signature. Orders and answers are frames of bytes, so neither side unpickles what the other sends.
A programming mistake ends the connection: the checker finds the vault down and fails closed.

Orders with files are worked off one at a time, so that the vault holds one roster and not one of
each connection. A checker that does not send the next file in time loses its order and connection.
Orders about keys wait for none of that: between two columns of a running order a key set may be
revoked, and the order is then refused at its next column under it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import resource
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gridsecure import frames
from gridsecure.errors import ConflictError, GridSecureError, InvalidMessageError, StorageError
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.key_authority.door import (
    KEY_ORDERS,
    OK,
    REFUSED,
    SEALED,
    WANTED,
    Line,
    read_peer_uid,
)
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.messages import Signed
from gridsecure.policy.signed_policies import SignedPolicy

MAX_CONNECTIONS: Final = 8
"""The checker has two; more are those that a killed checker has not closed yet."""

LOOK_SECONDS: Final = 1.0
"""How often the vault looks whether its time is over [s]."""

_PR_SET_DUMPABLE: Final = 4
_log = logging.getLogger(__name__)


def keep_memory_private() -> None:
    """No core dump, and on Linux no process of the same user may look into this one's memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a vault's folder, so that no second vault serves the same keys.

    Raises:
        ConflictError: Another process has it (`vault.running`).
        StorageError: The folder cannot be opened.
    """
    try:
        held = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unusable("The vault's folder cannot be opened", error) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConflictError(
            "Another vault is already running on this folder.",
            reason="vault.running",
            remedy="Stop it first; two vaults never share a folder.",
        ) from error
    finally:
        os.close(held)


def listen(path: Path, *, is_shared: bool) -> socket.socket:
    """Make the socket; it appears under its name once it accepts connections.

    Args:
        path: Where; what a vault that was killed left there is replaced.
        is_shared: Whether another user may connect.

    Raises:
        StorageError: It cannot be made there (`vault.socket`).
    """
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    partial = path.with_name(f".{secrets.token_hex(4)}")
    try:
        mask = os.umask(0o111 if is_shared else 0o177)  # its mode holds from its first moment
        try:
            door.bind(str(partial))
        finally:
            os.umask(mask)
        door.listen(MAX_CONNECTIONS)
        partial.replace(path)
    except OSError as error:
        door.close()
        partial.unlink(missing_ok=True)
        raise _unusable("The vault's socket cannot be made", error) from error
    return door


def serve(vault: Vault, door: socket.socket, *, checker_uid: int, file_seconds: float) -> None:
    """Answer the checker until the process ends.

    Args:
        door: From `listen`.
        checker_uid: The user whose connections are taken; others are closed without a word.
        file_seconds: Longest that an order waits for its next file, or for its answer to be taken.
    """
    at_work = threading.Lock()
    free = threading.Semaphore(MAX_CONNECTIONS)

    def answer(line: Line) -> None:
        try:
            with line:
                _answer_all(vault, _Checker(line, file_seconds), at_work)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: its text may hold values
            _log.error("a connection ended: %s", type(error).__name__)
        finally:
            free.release()

    threading.Thread(target=_lock_in_time, args=(vault,), daemon=True).start()
    while True:
        peer, _address = door.accept()
        if read_peer_uid(peer) != checker_uid or not free.acquire(blocking=False):
            _log.warning("a connection was refused")
            peer.close()
            continue
        threading.Thread(target=answer, args=(Line(peer),), daemon=True).start()


def _lock_in_time(vault: Vault) -> None:
    """Have the vault forget its key when its time is over, whether or not anybody asks."""
    while True:
        time.sleep(LOOK_SECONDS)
        vault.lock_in_time()


class _Checker:
    """The checker at the other end, who has so many seconds for each message."""

    def __init__(self, line: Line, seconds: float) -> None:
        self._line, self._seconds = line, seconds

    def order(self) -> bytes:
        """Its next order, however long that takes to come."""
        self._line.wait()
        return self._line.receive(seconds=self._seconds)

    def tell(self, *parts: bytes) -> None:
        self._line.send(frames.join_frames(parts), seconds=self._seconds)

    def keep(self, sealed: bytes) -> None:
        self.tell(SEALED, sealed)

    def files(self) -> Iterator[bytes]:
        """An order's files, each of which it sends when it is asked for it."""
        while True:
            self.tell(WANTED)
            data = self._line.receive(seconds=self._seconds)
            if not data:
                return
            yield data


def _answer_all(vault: Vault, checker: _Checker, at_work: threading.Lock) -> None:
    """Answer orders until the checker leaves."""
    while True:
        try:
            received = checker.order()
        except (EOFError, OSError):
            return
        try:
            order, *content = frames.split_frames(received)
            named = order.decode(errors="replace")
            with contextlib.nullcontext() if named in KEY_ORDERS else at_work:
                answer = [OK, *_answer(vault, named, content, checker)]
        except GridSecureError as error:
            texts = (type(error).__name__, error.reason, error.message, error.remedy)
            answer = [REFUSED, *(text.encode() for text in texts)]
        with contextlib.suppress(OSError):  # the checker went away: the next read ends this
            checker.tell(*answer)


def _answer(vault: Vault, order: str, content: list[bytes], checker: _Checker) -> list[bytes]:
    files, keep = checker.files(), checker.keep
    if order in ("release-bills", "release-corrections"):
        corrects = order == "release-corrections"
        release = vault.release_corrections if corrects else vault.release_bills
        return [release(Signed.parse(content[0]), files, keep).model_dump_json().encode()]
    if order in ("release-totals", "release-query"):
        total = vault.release_query if order == "release-query" else vault.release_totals
        totals = total(Signed.parse(content[0]), files)
        return [totals.model_dump_json().encode()]
    if order == "preview-bills":
        preview = vault.preview_bills(Signed.parse(content[0]), files)
        return [preview.model_dump_json().encode()]
    if order == "create-key-set":
        return _described(vault.create_key_set(Signed.parse(content[0])))
    if order == "revoke-ground":
        vault.revoke_ground(Signed.parse(content[0]))
        return []
    return [_answer_custodian(vault, order, content).model_dump_json().encode()]


def _answer_custodian(vault: Vault, order: str, content: list[bytes]) -> Signed:
    """What custodians and the vault say to each other, which the checker carries."""
    if order == "read-life":
        gateway, key_id = (part.decode(errors="replace") for part in content)
        return vault.read_life(gateway, key_id)
    if order == "move-key-set":
        return vault.move_key_set(Signed.parse(content[0]))
    if order == "hold-policy":
        return vault.hold_policy(SignedPolicy.parse(content[0]))
    if order == "read-policy":
        return vault.read_policy(content[0].decode(errors="replace"))
    return _answer_lock(vault, order, content)


def _answer_lock(vault: Vault, order: str, content: list[bytes]) -> Signed:
    if order == "status":
        return vault.status(content[0].decode(errors="replace"))
    if order == "challenge":
        purpose, asker = (part.decode(errors="replace") for part in content)
        return vault.state_challenge(purpose, asker=asker)
    if order == "give-share":
        return vault.give_share(Signed.parse(content[0]))
    if order == "hand-out-share":
        return vault.hand_out_share(content[0].decode(errors="replace"))
    if order == "lock":
        return vault.lock(Signed.parse(content[0]))
    raise InvalidMessageError("The vault knows no such order.", reason="vault.order")


def _described(public: PublicKeySet) -> list[bytes]:
    return [public.parameters.name.encode(), public.public_key, public.relinearisation_keys]


def _unusable(what: str, error: OSError) -> StorageError:
    return StorageError(
        f"{what}.",
        reason="vault.socket",
        remedy=f"Check its path and permissions ({error.strerror or error}).",
    )
