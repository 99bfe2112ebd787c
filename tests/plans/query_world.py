"""Rosters with encrypted columns and the keys they are under, as gateways uploaded them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes, read_column
from gridsecure.homomorphic.secret_key import SecretKeySet
from gridsecure.messages import ColumnEntry, KeyNotice, RosterManifest, UploadManifest
from gridsecure.plans.execution import Output, RosterData, roster_data
from gridsecure.plans.key_ring import KeyRing, KnownKeys
from tests.grid_simulator import grid_keys

GATEWAY = "a1" * 32
START, END = "2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00"


def query_roster(
    name: str, slots: int, *, customer_class: str = "household", **facts: Any
) -> RosterManifest:
    """A roster of one class in one zone."""
    return RosterManifest(
        roster_id=name,
        gateway_id=GATEWAY,
        domain="test",
        tariff="0" * 64,
        pseudonyms=[f"{name}-{slot}" for slot in range(slots)],
        zones=["futian"] * slots,
        customer_classes=[customer_class] * slots,
        **{"household_quota_wh": [0] * slots, "contracted_va": [0] * slots} | facts,
    )


@dataclass
class QueryWorld:
    """What the gateways of some rosters uploaded."""

    secret: Mapping[str, SecretKeySet] = field(default_factory=lambda: grid_keys().secret)
    objects: dict[str, bytes] = field(default_factory=dict)

    def upload(
        self,
        roster: RosterManifest,
        columns: Mapping[str, tuple[NDArray[Any], int, str]],
    ) -> RosterData:
        """Encrypt a roster's columns and name them in an upload.

        Args:
            columns: Quantity -> values [intervals, slots] or [slots], largest value, and set.
        """
        entries = [self._entry(roster, name, *column) for name, column in columns.items()]
        upload = UploadManifest(
            roster_id=roster.roster_id, gateway_id=roster.gateway_id, start=START, end=END,
            sequence=1, estimated_readings=0, columns=entries,
        )  # fmt: skip
        return roster_data(roster, upload)

    def _entry(
        self, roster: RosterManifest, quantity: str, values: NDArray[Any], high: int, name: str
    ) -> ColumnEntry:
        keys = self.secret[name].public
        column = keys.encrypt(values.ravel(), high=high)
        span = {"start": START, "end": END, "unit": "Wh", "high": high, "quantity": quantity}
        label = ColumnLabel(roster_id=roster.roster_id, slots=values.size, **span)
        data = column_bytes(column, label=label)
        digest = sm3_hex(data)
        self.objects[digest] = data
        return ColumnEntry(
            parameters=name, key_id=keys.key_id, digest=digest, size=len(data),
            intervals=values.size // roster.slots, **span,
        )  # fmt: skip

    @property
    def ring(self) -> KeyRing:
        """The key sets that were published for the gateway."""
        notices, objects = [], {}
        for keys in self.secret.values():
            public = keys.public
            parts = [public.public_key, public.relinearisation_keys]
            digests = [sm3_hex(part) if part else None for part in parts]
            objects |= dict(zip(digests, parts, strict=True))
            notices.append(
                KeyNotice(
                    key_id=public.key_id, gateway=GATEWAY, generation=1,
                    parameters=public.parameters.name,
                    parameters_digest=public.parameters.digest, public_key=digests[0],
                    relinearisation_keys=digests[1], created_at=START,
                )
            )  # fmt: skip
        return KeyRing(KnownKeys(tuple(notices)), objects.__getitem__)

    def decrypt(self, outputs: Iterable[tuple[str, Output]]) -> list[NDArray[np.uint64]]:
        """What the vault reads of outputs "roster/…"."""
        return [self._decrypted(name, output) for name, output in outputs]

    def _decrypted(self, name: str, output: Output) -> NDArray[np.uint64]:
        keys = self.secret[output.entry.parameters]
        column, _ = read_column(
            output.data, evaluation=keys.public.evaluation, roster_id=name.partition("/")[0]
        )
        return keys.decrypt(column)


def plain_totals(
    values: Sequence[NDArray[Any]], rows: Sequence[NDArray[np.int64]], *, groups: int
) -> list[int]:
    """Totals by group, of values and groups by roster."""
    return [
        sum(int(own[row == group].sum()) for own, row in zip(values, rows, strict=True))
        for group in range(groups)
    ]
