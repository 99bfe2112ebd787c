"""The checker's door to the vault: a Unix-domain socket, orders and answers as frames of bytes.

The checker knows where the socket is and as which user the vault runs, and nothing else of it: not
its folder, not its key files, not the key-encryption key. Neither side unpickles what the other
sends. The kernel tells the user at the other end of the socket, so that a process of somebody else
which took the vault's place is told nothing (`vault.stranger`).

A vault that is not there costs nothing but time: the order fails (`vault.down`), nothing comes out,
and the next order looks for the vault again. An order is never sent twice by itself.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from gridsecure import errors, frames
from gridsecure.errors import AccessDeniedError, GridSecureError
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import find_parameters
from gridsecure.key_authority.door import (
    KEY_ORDERS,
    OK,
    SEALED,
    WANTED,
    Line,
    read_peer_uid,
)
from gridsecure.key_authority.packages import Keep, PreviewAnswer, VaultAnswer
from gridsecure.messages import Signed
from gridsecure.policy.signed_policies import SignedPolicy

_CLASSES: Final = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, GridSecureError)
}


class VaultClient:
    """The checker's end of the socket.

    Orders with files are answered one at a time, and orders about keys meanwhile.

    Args:
        path: The vault's socket. It need not be there yet.
        uid: The user the vault runs as.
    """

    def __init__(self, path: Path, *, uid: int) -> None:
        self._releases = _Orders(path, uid)
        self._keys = _Orders(path, uid)

    def create_key_set(self, order: Signed) -> PublicKeySet:
        """As `Vault.create_key_set`."""
        return _public(self._ask("create-key-set", [order.model_dump_json().encode()]))

    def read_life(self, gateway: str, key_id: str) -> Signed:
        """As `Vault.read_life`."""
        return Signed.parse(self._ask("read-life", [gateway.encode(), key_id.encode()])[0])

    def move_key_set(self, move: Signed) -> Signed:
        """As `Vault.move_key_set`."""
        return Signed.parse(self._ask("move-key-set", [move.model_dump_json().encode()])[0])

    def hold_policy(self, document: SignedPolicy) -> Signed:
        """As `Vault.hold_policy`."""
        return Signed.parse(self._ask("hold-policy", [document.model_dump_json().encode()])[0])

    def read_policy(self, nonce: str = "") -> Signed:
        """As `Vault.read_policy`."""
        return Signed.parse(self._ask("read-policy", [nonce.encode()])[0])

    def revoke_ground(self, order: Signed) -> None:
        """As `Vault.revoke_ground`."""
        self._ask("revoke-ground", [order.model_dump_json().encode()])

    def status(self, nonce: str = "") -> Signed:
        """As `Vault.status`."""
        return Signed.parse(self._ask("status", [nonce.encode()])[0])

    def state_challenge(self, purpose: str, *, asker: str = "") -> Signed:
        """As `Vault.state_challenge`."""
        return Signed.parse(self._ask("challenge", [purpose.encode(), asker.encode()])[0])

    def give_share(self, given: Signed) -> Signed:
        """As `Vault.give_share`."""
        return Signed.parse(self._ask("give-share", [given.model_dump_json().encode()])[0])

    def hand_out_share(self, name: str) -> Signed:
        """As `Vault.hand_out_share`."""
        return Signed.parse(self._ask("hand-out-share", [name.encode()])[0])

    def lock(self, order: Signed) -> Signed:
        """As `Vault.lock`."""
        return Signed.parse(self._ask("lock", [order.model_dump_json().encode()])[0])

    def release_bills(self, order: Signed, files: Iterable[bytes], keep: Keep) -> VaultAnswer:
        """As `Vault.release_bills`."""
        content = [order.model_dump_json().encode()]
        return VaultAnswer.parse(self._ask("release-bills", content, files, keep)[0])

    def release_corrections(self, order: Signed, files: Iterable[bytes], keep: Keep) -> VaultAnswer:
        """As `Vault.release_corrections`."""
        content = [order.model_dump_json().encode()]
        return VaultAnswer.parse(self._ask("release-corrections", content, files, keep)[0])

    def release_totals(self, order: Signed, files: Iterable[bytes]) -> VaultAnswer:
        """As `Vault.release_totals`."""
        content = [order.model_dump_json().encode()]
        return VaultAnswer.parse(self._ask("release-totals", content, files)[0])

    def release_query(self, order: Signed, files: Iterable[bytes]) -> VaultAnswer:
        """As `Vault.release_query`."""
        content = [order.model_dump_json().encode()]
        return VaultAnswer.parse(self._ask("release-query", content, files)[0])

    def preview_bills(self, order: Signed, files: Iterable[bytes]) -> PreviewAnswer:
        """As `Vault.preview_bills`."""
        content = [order.model_dump_json().encode()]
        return PreviewAnswer.parse(self._ask("preview-bills", content, files)[0])

    def close(self) -> None:
        """Leave the vault; it goes on."""
        self._releases.close()
        self._keys.close()

    def _ask(
        self,
        order: str,
        content: Sequence[bytes],
        files: Iterable[bytes] = (),
        keep: Keep = lambda _sealed: None,
    ) -> list[bytes]:
        orders = self._keys if order in KEY_ORDERS else self._releases
        return orders.ask([order.encode(), *content], files, keep)


class _Orders:
    """One connection to the vault, and the orders that follow each other on it."""

    def __init__(self, path: Path, uid: int) -> None:
        self._path = path
        self._uid = uid
        self._line: Line | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Leave the vault, once the order at work is answered."""
        with self._lock:
            self._leave()

    def ask(self, order: Sequence[bytes], files: Iterable[bytes], keep: Keep) -> list[bytes]:
        """Give an order, then each file when the vault wants it; keep what it seals meanwhile."""
        left = iter(files)
        with self._lock:
            try:
                line = self._reach()
                line.send(frames.join_frames(order))
                while True:
                    status, *answer = frames.split_frames(line.receive())
                    if status == WANTED:
                        line.send(next(left, b""))
                    elif status == SEALED:
                        keep(answer[0])
                    else:
                        break
            except (EOFError, OSError) as error:
                self._leave()
                raise GridSecureError(
                    "The vault does not answer.",
                    reason="vault.down",
                    remedy="Start the vault; nothing was released, and the order can be repeated.",
                ) from error
            except BaseException:  # a file or the disk failed: the vault still waits for its answer
                self._leave()
                raise
        if status != OK:
            kind, reason, message, remedy = (part.decode() for part in answer)
            raise _CLASSES.get(kind, GridSecureError)(message, reason=reason, remedy=remedy)
        return answer

    def _reach(self) -> Line:
        """The connection; a new one where there is none, or where the vault left the last one.

        Between orders the vault never speaks, so whatever can be read then is the end.
        """
        if self._line is not None and self._line.has_spoken():
            self._leave()
        if self._line is None:
            self._line = self._connect()
        return self._line

    def _connect(self) -> Line:
        with contextlib.ExitStack() as undo:
            door = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            door.connect(str(self._path))
            if read_peer_uid(door) != self._uid:
                raise AccessDeniedError(
                    "A user other than the vault's answers at the vault's socket.",
                    reason="vault.stranger",
                    remedy="Find out who made the socket, or correct the vault's user.",
                )
            undo.pop_all()
            return Line(door)

    def _leave(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def _public(parts: Sequence[bytes]) -> PublicKeySet:
    name, public_key, relinearisation = parts
    return PublicKeySet(find_parameters(name.decode()), public_key, relinearisation)
