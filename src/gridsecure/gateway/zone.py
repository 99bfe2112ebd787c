"""What the gateway holds: its area's plaintext readings, its secrets, public keys of peers.

Its folder: `zone.db` (records and evidence), `objects/` (tariffs, seats and public keys by digest),
`outbox/` (encrypted columns until the platform has them) and `months/` (plaintext, mode 0600).

It has two names. The identity service and the key authority know it by its signing key, as a
service. The platform knows it by a pseudonym of the year (`agents`), under which it signs rosters
and uploads; nothing that goes there carries the other name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from gridsecure.credentials.opening import Opener
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import ConflictError
from gridsecure.gateway.collection import MAX_READINGS
from gridsecure.gateway.tables import CycleRow
from gridsecure.messages import SupplyTerms
from gridsecure.month_texts import CALENDAR, year_text
from gridsecure.periods import BillingPeriod, check_cycle_day, local_day, month_around, month_period
from gridsecure.store.objects import ObjectStore
from gridsecure.store.rows import keep_once
from gridsecure.store.shared_turns import SharedTurns


@dataclass(frozen=True, slots=True)
class PinnedKeys:
    """Keys of the identity authority that the gateway was told; it takes none from an answer.

    Args:
        identity: Of the service: what enrolment is sealed to, and its word is signed with.
        signers: Of both openers, which sign what holders pin.
    """

    identity: Sm2PublicKey
    signers: Mapping[Opener, Sm2PublicKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeZone:
    """What it takes to take in readings: all of a gateway that a worker process is handed.

    Args:
        signing_key: By which services know the gateway; signs receipts, enrolment orders and
            log-ins of the service.
        timezone: Local time of its meters.
        cycle_day: Day of the month that its billing periods begin on; a gateway has one cycle.
    """

    engine: Engine
    folder: Path
    signing_key: Sm2PrivateKey = field(repr=False)
    timezone: str = "Asia/Shanghai"
    cycle_day: int = CALENDAR


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayZone(IntakeZone):
    """The gateway's stores and keys.

    Args:
        objects: Tariffs' texts, rosters' seats and the public keys it fetched.
        authority: The key authority's key by thumbprint.
        seed: What the secrets of all its holders follow from [32 bytes].
        supply: On which terms its owner supplies columns; None where there are none.
        max_readings: Readings of a month that are held at once.
        batch_turns: At which batches that come at once are committed together.
    """

    objects: ObjectStore
    authority: Mapping[str, Sm2PublicKey]
    pinned: PinnedKeys
    seed: bytes = field(repr=False)
    supply: SupplyTerms | None = None
    max_readings: int = MAX_READINGS
    batch_turns: SharedTurns[Any, Any] = field(
        default_factory=SharedTurns, repr=False, compare=False
    )

    def period(self, month: str) -> BillingPeriod:
        """The billing period of a month written YYYY-MM.

        Raises:
            InputError: It is not a month (`month.format`, `month.year`).
        """
        return month_period(month, timezone=self.timezone, cycle_day=self.cycle_day)

    def period_around(self, moment: datetime) -> BillingPeriod:
        """The billing period that a moment lies in."""
        return month_around(moment, timezone=self.timezone, cycle_day=self.cycle_day)

    def month_of(self, day: str) -> str:
        """The month whose billing period holds a local day, YYYY-MM.

        Args:
            day: YYYY-MM-DD.

        Raises:
            InputError: Not a day (`day.format`, `month.year`).
        """
        return self.period_around(local_day(day, timezone=self.timezone).start).name

    def year_of(self, month: str) -> str:
        """The year of the pseudonyms that a month is billed under: the one it begins in."""
        return year_text(self.period(month).start.isoformat())

    def keep_cycle(self) -> None:
        """Keep the day that its billing periods begin on, for good.

        Readings, plans and bills are of its periods, so another day would tear them.

        Raises:
            InputError: No cycle begins on that day (`cycle.day`).
            ConflictError: It had another one (`conflict.cycle`).
            StorageError: The database could not take it.
        """
        check_cycle_day(self.cycle_day)
        try:
            keep_once(self.engine, CycleRow(cycle_day=self.cycle_day))
        except ConflictError as error:
            raise ConflictError(
                "The billing periods of this gateway begin on another day of the month.",
                reason="conflict.cycle",
                remedy="Give the day it was set up with. Another cycle needs another gateway, to"
                " which meter points move when their period ends.",
            ) from error

    def local_text(self, moment: datetime) -> str:
        """A moment in local time, with its offset, as people compare it with meters and files."""
        return moment.astimezone(ZoneInfo(self.timezone)).isoformat()

    @property
    def service_id(self) -> str:
        """Thumbprint of its signing key: its name as a service, and in its own evidence log."""
        return self.signing_key.public_key.thumbprint
