"""What the compute platform answers."""

from __future__ import annotations

from typing import Literal

from gridsecure.messages import KeyNotice, PlanName, RunKind, Signed
from gridsecure.wire.services import Answer, Count


class KeySetStatus(Answer):
    """What the platform lacks of a key set: digests of key objects, none when it is known."""

    key_id: str
    missing: list[str]


class KeySetNamed(Answer):
    """The key set that a message was about."""

    key_id: str


class KnownKeySet(KeyNotice):
    """A key set that was sent here, as its notice says, and whether it was revoked."""

    revoked: bool


class TariffKept(Answer):
    """The digest of a tariff file, by which rosters name it."""

    digest: str


class RosterNamed(Answer):
    """The roster that was registered."""

    roster_id: str


class DenyListKept(Answer):
    """The deny list in force: its number, and how many pseudonyms it names."""

    sequence: int
    subjects: int


class UploadStatus(Answer):
    """Where an upload stands: `upload_id` is the digest of the signed manifest."""

    upload_id: str
    state: Literal["pending", "committed"]
    missing: list[str]


class ObjectsReceived(Answer):
    """How many objects were taken in."""

    received: int


class UploadNamed(Answer):
    """A committed first upload of a month, by the digest of its manifest.

    `tariff` is the digest of the tariff that its roster is billed by, and `cycle_day` the day of
    the month that its billing periods begin on.
    """

    upload: str
    roster_id: str
    gateway_id: str
    tariff: str
    cycle_day: int


class ClosingLists(Answer):
    """A month's closing lists as signed, its committed uploads, and what a next run would meet.

    `find_in_force` names lists by digest; `open` are the uploads that no list in force names;
    `next` has for each plan `ready`, or the reason a run would be refused for.
    """

    closed: list[Signed]
    in_force: list[str]
    uploads: list[UploadNamed]
    open: list[UploadNamed]
    next: dict[PlanName, str]


class PeriodClosed(Answer):
    """The closing list that was kept: its digest, its number, and how many uploads it names."""

    closing: str
    number: int
    uploads: int


class RunStarted(Answer):
    """The run that was started."""

    run_id: str


class RunStatus(Answer):
    """Where a run stands; `of` is 0 until the number of its jobs is known.

    A shadow run's `request_id` is the name of its preview, which the key authority keeps.
    """

    run_id: str
    kind: RunKind = "published"
    plan: str
    start: str
    end: str
    state: Literal["running", "done", "failed"]
    done: Count
    of: Count
    request_id: str | None
    reason: str | None
    message: str | None


class QueryState(Answer):
    """Where a query stands: its run, then its release request."""

    run_id: str
    state: Literal["running", "done", "failed"]
    done: int
    of: int
    reason: str | None
    message: str | None
    request_id: str | None
    request_state: str | None


class RequestAnswered(Answer):
    """What was noted of a release request, or of a shadow run's for a preview."""

    request_id: str
    state: Literal["released", "previewed", "refused"]


class PlatformCounts(Answer):
    """How much the platform holds; sizes in bytes."""

    key_sets: int
    rosters: int
    uploads: int
    committed_uploads: int
    runs: int
    stored_bytes: int
