"""Whose key set a column is under: looked up by key id and gateway, never by parameters alone.

A homomorphic ciphertext says nothing of who encrypted it, and whoever has it can write another name
on it. So every gateway has key sets of its own, and a column counts as a gateway's only under one
of these. Platform and checker ask here before they compute. What passes under a false key id is
decrypted with another key than it was encrypted under, which gives numbers that have nothing to do
with the column (docs/threat-model.md).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from gridsecure.errors import KeyMismatchError
from gridsecure.homomorphic.columns import Evaluation
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import find_parameters
from gridsecure.messages import ColumnEntry, KeyNotice

MAX_OPEN: Final = 16
"""Key sets kept ready; with relinearisation keys one takes some ten megabytes."""


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """The key sets that were published, and which of them were withdrawn.

    Args:
        notices: The verified notices.
    """

    notices: tuple[KeyNotice, ...]
    revoked: frozenset[str] = frozenset()


class KeyRing:
    """The key sets of all gateways, opened when they are first needed.

    Args:
        load: Fetches a key object by its digest.
    """

    def __init__(self, known: KnownKeys, load: Callable[[str], bytes]) -> None:
        self.learn(known)
        self._load = load
        self._opened: OrderedDict[str, Evaluation] = OrderedDict()

    def learn(self, known: KnownKeys) -> None:
        """Hold to these notices from now on; key sets that were opened stay ready."""
        self.known = known
        self._notices = {notice.key_id: notice for notice in known.notices}
        self._revoked = known.revoked

    def check(self, entries: Iterable[ColumnEntry], *, gateway: str) -> None:
        """Refuse columns that are not under usable key sets of a gateway; by key id alone.

        Args:
            entries: The columns as their manifest names them.
            gateway: Thumbprint of the gateway whose they are said to be.

        Raises:
            KeyMismatchError: `ciphertext.key-id`, `keys.gateway`, `keys.revoked` or
                `parameters.digest`.
        """
        for key_id, parameters in {(entry.key_id, entry.parameters) for entry in entries}:
            self._notice(key_id, parameters, gateway)

    def evaluation(self, entry: ColumnEntry, *, gateway: str) -> Evaluation:
        """What computing on a gateway's column needs.

        Raises:
            KeyMismatchError: As `check`, or the key objects are not what the notice names.
        """
        notice = self._notice(entry.key_id, entry.parameters, gateway)
        known = self._opened.get(entry.key_id)
        if known is None:
            known = load_key_set(notice, self._load).evaluation
            if len(self._opened) == MAX_OPEN:
                self._opened.popitem(last=False)
            self._opened[entry.key_id] = known
        self._opened.move_to_end(entry.key_id)
        return known

    def _notice(self, key_id: str, parameters: str, gateway: str) -> KeyNotice:
        notice = self._notices.get(key_id)
        if notice is None:
            raise KeyMismatchError(
                "A column is encrypted under a key that is not known here.",
                reason="ciphertext.key-id",
                remedy="Send the key authority's notice of the key set first.",
            )
        if notice.gateway != gateway:
            raise foreign_key_set_error()
        if key_id in self._revoked:
            raise revoked_key_set_error()
        if notice.parameters != parameters:
            raise KeyMismatchError(
                "A column names another parameter set than its key set has.",
                reason="parameters.digest",
                remedy="Run the same release on both sides.",
            )
        return notice


def foreign_key_set_error() -> KeyMismatchError:
    """The error for a column under a key set that is not its gateway's."""
    return KeyMismatchError(
        "A column is encrypted under a key set of another gateway.",
        reason="keys.gateway",
        remedy="Encrypt readings under the key set that the key authority made for this gateway.",
    )


def revoked_key_set_error() -> KeyMismatchError:
    """The error for a column under a key set that was revoked."""
    return KeyMismatchError(
        "A column is encrypted under a key set that was revoked.",
        reason="keys.revoked",
        remedy="Ask the key authority for the key set in force and encrypt the readings anew.",
    )


def load_key_set(notice: KeyNotice, load: Callable[[str], bytes]) -> PublicKeySet:
    """The public key set of a verified notice.

    Args:
        notice: The notice, its signature verified.
        load: Fetches an object by its digest.

    Raises:
        KeyMismatchError: The objects are not the keys the notice names (`keys.id`).
    """
    parameters = find_parameters(notice.parameters, digest=notice.parameters_digest)
    relinearisation = notice.relinearisation_keys
    key_set = PublicKeySet(
        parameters,
        load(notice.public_key),
        load(relinearisation) if relinearisation else b"",
    )
    if key_set.key_id != notice.key_id:
        raise KeyMismatchError(
            "The keys are not the ones that the key set's notice names.",
            reason="keys.id",
            remedy="Fetch the key set again. If the error persists, call the key custodian.",
        )
    return key_set
