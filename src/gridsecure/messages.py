"""The vocabulary that crosses a trust line. Nothing else does.

A message is immutable, versioned by `VERSION`, and refuses fields it does not know. What must be
believed later travels as `Signed`: the exact text of the message, the signer's key thumbprint and
an SM2 signature over kind and text. `open_message` checks the signature against a registry of
trusted keys before the text is parsed.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import ClassVar, Final, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InvalidMessageError, SignatureError, UnknownMeterError
from gridsecure.month_texts import CALENDAR, LAST_CYCLE_DAY

VERSION = 1
MAX_SLOTS = 16384
MAX_INTERVALS = 300
"""Intervals of the longest local day: 25 hours of five minutes."""
MAX_COLUMNS = 20_000
"""A month of five-minute intervals, each with a price of its own, and its settlement: 18,300."""
FIRST_REVISION = 1
"""The revision of an upload that corrects none."""

Digest = str
"""64 hexadecimal digits of SM3."""


class Message(BaseModel):
    """Base of every message: frozen, strict, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
    kind: ClassVar[str]

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read a message.

        Raises:
            InvalidMessageError: Another shape. The message names fields that there are, never their
                values, nor what whoever wrote it calls fields of its own.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            known = _names_in(cls)
            fields = sorted(
                {".".join(_known_places(e["loc"], known)) or e["type"] for e in error.errors()}
            )
            raise InvalidMessageError(
                f"A {cls.kind} message has the wrong shape: {', '.join(fields[:5])}.",
                remedy="Send it in the format this release documents.",
            ) from error


def _known_places(places: Iterable[int | str], known: Container[str]) -> Iterator[str]:
    """A place up to the first part that is no field."""
    for place in places:
        if isinstance(place, str) and place not in known:
            return
        yield str(place)


@cache
def _names_in(model: type[BaseModel]) -> frozenset[str]:
    """The fields of a model, and of all that its fields hold."""
    found, left = dict[type[BaseModel], None](), [model]
    while left:
        one = left.pop()
        if one not in found:
            found[one] = None
            left += [m for field in one.model_fields.values() for m in _models_in(field.annotation)]
    return frozenset(name for one in found for name in one.model_fields)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inside in get_args(annotation):
        yield from _models_in(inside)


MessageT = TypeVar("MessageT", bound=Message)


class Signed(Message):
    """A message as signed: `body` is the exact text."""

    kind: ClassVar[str] = "signed"
    body_kind: str
    body: str
    signer: Digest
    signature: str

    @property
    def digest(self) -> Digest:
        """Name of this signed message."""
        return sm3_hex(self._signed_bytes)

    @property
    def _signed_bytes(self) -> bytes:
        return f"gridsecure/{VERSION}/{self.body_kind}\n{self.body}".encode()

    def verify(self, key: Sm2PublicKey) -> None:
        """Check the signature under one key.

        Raises:
            SignatureError: It does not verify.
        """
        try:
            signature = bytes.fromhex(self.signature)
        except ValueError as error:
            raise SignatureError("A signature is not hexadecimal.") from error
        key.verify(self._signed_bytes, signature)


def sign_message(message: Message, *, key: Sm2PrivateKey) -> Signed:
    """Sign a message as its exact JSON text."""
    unsigned = Signed(
        body_kind=message.kind,
        body=message.model_dump_json(),
        signer=key.public_key.thumbprint,
        signature="",
    )
    signature = key.sign(unsigned._signed_bytes).hex()  # noqa: SLF001
    return unsigned.model_copy(update={"signature": signature})


def open_message(
    envelope: Signed, *, expect: type[MessageT], trusted: Mapping[Digest, Sm2PublicKey]
) -> MessageT:
    """Verify a signed message, then read it.

    Raises:
        UnknownMeterError: The signer is not among the trusted keys.
        SignatureError: The signature does not verify, or the message is of another kind.
        InvalidMessageError: Verified, but of another shape.
    """
    key = trusted.get(envelope.signer)
    if key is None:
        raise UnknownMeterError("The signer of a message is not registered here.")
    if envelope.body_kind != expect.kind:
        raise SignatureError("A signed message is of another kind.")
    envelope.verify(key)
    return expect.parse(envelope.body)


class KeySetRequest(Message):
    """A gateway asks the key authority for its own key set of a parameter set.

    Args:
        domain: The billing domain in which it is known by the key it signs with.
    """

    kind: ClassVar[str] = "key-set-request"
    domain: str
    parameters: str


class KeyNotice(Message):
    """The key authority publishes a key set; the keys themselves are objects named by digest.

    A key set belongs to one gateway. `generation` counts the key sets that this gateway has had of
    these parameters, from 1.

    Args:
        earlier_until: Platforms begin no upload under the earlier ones from then on, ISO 8601,
            aware; empty, they do as long as those are not revoked.
    """

    kind: ClassVar[str] = "key-notice"
    key_id: str
    gateway: str = Field(pattern=r"^[0-9a-f]{64}$")
    generation: int = Field(ge=1, le=9999)
    parameters: str
    parameters_digest: Digest
    public_key: Digest
    relinearisation_keys: Digest | None
    created_at: str
    earlier_until: str = ""


class KeyRevocation(Message):
    """The key authority withdraws a key set: nothing under it is computed on or decrypted."""

    kind: ClassVar[str] = "key-revocation"
    key_id: str
    gateway: str
    revoked_at: str


class SupplyTerms(Message):
    """On which terms a gateway's owner supplies what its columns tell.

    Args:
        policy: Text of a release policy: nothing is told of the columns under a looser one. Empty,
            under any.
        officers: Thumbprints of keys. An officer with one of them approves each release that is
            about the columns, by itself; without any, nobody does besides those of the policy.
    """

    kind: ClassVar[str] = "supply-terms"
    policy: str = Field(default="", max_length=65_536)
    officers: list[Digest] = Field(default=[], max_length=16)


class RosterManifest(Message):
    """Which pseudonym sits in which slot, and the public facts its bill needs.

    Lists run over slots. Quotas are in Wh and capacities in VA, as in contract frames; the first
    month of service is YYYY-MM, and unheld days are those of the period on which a meter point was
    not its holder's, where the bill depends on them. Those three are empty where nobody has such a
    fact.
    `large` rosters hold meter points whose month may take more than a household's.

    `roster_id` is `roster_name` of all that the meter points' holders agree to. `seats` names the
    `RosterSeats` object that shows their agreement; it is empty in a draft, which nobody takes in.

    `owner` is who runs the gateway, by the identity authority's books; empty, it runs itself.
    Gateways of one owner count as one. `counted` says of each slot whether it is the one that
    counts for its customer in its zone and class; empty, every slot is.

    `cycle_day` is the day of the month that its billing periods begin on.

    `supply` are the terms of who runs the gateway; left out, there are none.
    """

    kind: ClassVar[str] = "roster"
    roster_id: str
    gateway_id: str
    domain: str
    tariff: Digest
    pseudonyms: list[str] = Field(min_length=1, max_length=MAX_SLOTS)
    zones: list[str]
    customer_classes: list[str]
    household_quota_wh: list[int]
    contracted_va: list[int]
    free_quota_wh: list[int] = []
    service_from: list[str] = []
    unheld_days: list[int] = []
    large: bool = False
    owner: str = ""
    counted: list[bool] = []
    cycle_day: int = Field(default=CALENDAR, ge=CALENDAR, le=LAST_CYCLE_DAY)
    seats: Digest = ""
    supply: SupplyTerms | None = None

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        slots = len(self.pseudonyms)
        lists = (
            self.zones,
            self.customer_classes,
            self.household_quota_wh,
            self.contracted_va,
            set(self.pseudonyms),
        )
        optional = (
            *(len(self.free_quota_wh), len(self.service_from), len(self.unheld_days)),
            len(self.counted),
        )
        lengths = (*(len(values) for values in lists), *filter(None, optional))
        if any(length != slots for length in lengths):
            raise ValueError("every list has one entry a slot and no pseudonym appears twice")
        return self

    @property
    def slots(self) -> int:
        """Slots in use."""
        return len(self.pseudonyms)


def roster_name(roster: RosterManifest) -> str:
    """The id of a roster: digest of all it says but the id itself and the seats, 32 digits.

    The cycle of calendar months is left out, and so are terms where there are none, and days where
    nobody has a part of a month: rosters of before there were such facts keep their names.
    """
    unnamed = {"roster_id", "seats"} | ({"cycle_day"} if roster.cycle_day == CALENDAR else set())
    unnamed |= set() if roster.unheld_days else {"unheld_days"}
    unnamed |= set() if roster.supply else {"supply"}
    return sm3_hex(roster.model_dump_json(exclude=unnamed).encode())[:32]


class ColumnEntry(Message):
    """One encrypted column of an upload.

    A column of several `intervals`, all of one length, holds every slot for each of them in turn.
    """

    kind: ClassVar[str] = "column"
    quantity: str
    parameters: str
    key_id: str
    unit: str
    start: str
    end: str
    high: int
    digest: Digest
    size: int
    intervals: int = Field(default=1, ge=1, le=MAX_INTERVALS)


class UploadManifest(Message):
    """All columns of one roster and billing period, as first read or corrected.

    A correction names the signed upload it replaces, carries the next revision, and lists the slots
    whose readings or prices changed, in order. A first upload lists the slots whose readings differ
    from what was sealed of a day before; one of a sealed day those that have no energy in it,
    because no complete day of theirs was there.

    A month that was billed may be corrected by its books. `moved_slots` are those whose holder then
    has other days of it, or another meter point, than by the books that it was first billed by.
    What they used may have been told of under another name.
    """

    kind: ClassVar[str] = "upload"
    roster_id: str
    gateway_id: str
    start: str
    end: str
    sequence: int
    estimated_readings: int
    columns: list[ColumnEntry] = Field(min_length=1, max_length=MAX_COLUMNS)
    revision: int = Field(default=FIRST_REVISION, ge=FIRST_REVISION)
    corrects: Digest | None = None
    corrected_slots: list[int] = Field(default=[], max_length=MAX_SLOTS)
    changed_slots: list[int] = Field(default=[], max_length=MAX_SLOTS)
    silent_slots: list[int] = Field(default=[], max_length=MAX_SLOTS)
    moved_slots: list[int] = Field(default=[], max_length=MAX_SLOTS)

    @model_validator(mode="after")
    def _corrects_something_or_nothing(self) -> Self:
        marks = {self.revision == FIRST_REVISION, self.corrects is None, not self.corrected_slots}
        if len(marks) != 1:
            raise ValueError("a correction has a later revision, what it corrects, and its slots")
        if self.corrected_slots and self.changed_slots:
            raise ValueError("a correction is compared with what it corrects, and not with days")
        named = (self.corrected_slots, self.changed_slots, self.silent_slots, self.moved_slots)
        for slots in named:
            if slots != sorted(set(slots)) or (slots and (slots[0] < 0 or slots[-1] >= MAX_SLOTS)):
                raise ValueError("slots are distinct, in order, and slots of a roster")
        return self


PlanName = Literal["bill", "load-curve", "query", "rebill"]


RunKind = Literal["published", "shadow"]
"""A published run is for release; of a shadow run nothing but a preview is ever told."""


class Transcript(Message):
    """What one run of a plan consumed and produced; enough to run it again bit for bit.

    `tariff` is set in a shadow run that bills with another tariff than the rosters name. Such a
    transcript is never released. `policy` is the digest of the release policy that load curves are
    laid out by.

    `steps` are digests of the ciphertexts between inputs and outputs of a bill plan, by name, in
    the order in which one follows from those before. So whoever runs it again finds the first one
    that differs.
    """

    kind: ClassVar[str] = "transcript"
    plan: PlanName
    plan_version: int
    start: str
    end: str
    rosters: list[Digest]
    uploads: list[Digest]
    inputs: dict[str, Digest]
    outputs: dict[str, ColumnEntry]
    seed_commitment: Digest | None
    release: str
    tariff: Digest = ""
    policy: Digest = ""
    steps: dict[str, Digest] = Field(default_factory=dict)


class ClosingList(Message):
    """The utility closes a month: these uploads are billed and totalled together.

    The billing office signs it, before any plan runs over the month. Lists of a month are numbered
    from 1. An upload belongs to the latest list that names it; a list of which a later one names
    any upload is not in force any more.
    """

    kind: ClassVar[str] = "closing-list"
    start: str
    end: str
    number: int = Field(ge=1)
    closed_at: str
    uploads: list[Digest] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if self.uploads != sorted(set(self.uploads)):
            raise ValueError("uploads are distinct and in order")
        return self


class QueriedUploads(Message):
    """What lies at the platform for a query's period: it names all of it, whatever is asked.

    Args:
        closings: The lists in force that closed the period, as the billing office signed them.
        uploads: All that they name, in the order of their rosters' ids.
        rosters: The signed roster of each.
    """

    kind: ClassVar[str] = "queried-uploads"
    closings: list[Signed] = Field(min_length=1)
    uploads: list[Digest] = Field(min_length=1)
    rosters: list[Digest] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        many = len(self.uploads)
        if {len(self.rosters), len(set(self.rosters)), len(set(self.uploads))} != {many}:
            raise ValueError("every upload and roster is named once, and they are as many")
        return self


class ReleaseRequest(Message):
    """The platform asks the authority to release what transcripts produced.

    `request_id` is `request_name` of all that makes it another question. `seeds` are for the
    checker alone: it re-executes with them and never hands them on. What an analyst asked for comes
    with the query as it was sent and the grant for it. Bills and load curves come with the list
    that closed the month for their uploads; corrections follow a release and need none. A sealed
    query comes without transcripts: nothing was run, and `queried` says what lies there.
    """

    kind: ClassVar[str] = "release-request"
    request_id: str
    plan: PlanName
    plan_version: int
    start: str
    end: str
    purpose: str
    requested_by: str
    transcripts: list[Signed]
    seeds: list[str]
    closing: Signed | None = None
    query: str = ""
    grant: str = ""
    queried: QueriedUploads | None = None


def request_name(request: ReleaseRequest) -> str:
    """The id of a request: digest of what is asked, for what, by whom and with which grant.

    Seeds are left out: transcripts commit to them.
    """
    unnamed = {"request_id", "transcripts", "seeds", "closing", "queried"}
    asked = request.model_dump(exclude=unnamed)
    asked["closing"] = request.closing.digest if request.closing else ""
    if request.queried is not None:  # others keep the names that they had before there were queries
        asked["queried"] = request.queried.model_dump(exclude={"closings"})
        asked["queried"]["closings"] = [closing.digest for closing in request.queried.closings]
    asked["transcripts"] = [transcript.digest for transcript in request.transcripts]
    return sm3_hex(json.dumps(asked, sort_keys=True, ensure_ascii=False).encode())[:32]


class ShadowOrder(Message):
    """The billing office orders a shadow run: computed and checked like bills, released to nobody.

    With a `tariff`, the first uploads that it names are billed by that tariff instead of their
    own. Without one, what is run are the corrections of the month that wait for their release.
    """

    kind: ClassVar[str] = "shadow-order"
    start: str = Field(min_length=10, max_length=40)
    end: str = Field(min_length=10, max_length=40)
    ordered_at: str
    tariff: Digest = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    uploads: list[Digest] = []

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if self.uploads != sorted(set(self.uploads)):
            raise ValueError("uploads are distinct and in order")
        if bool(self.tariff) != bool(self.uploads):
            raise ValueError("a tariff comes with the uploads to bill by it; corrections with none")
        return self

    @property
    def plan(self) -> PlanName:
        """The plan that is run."""
        return "bill" if self.tariff else "rebill"


class ShadowRequest(Message):
    """The platform asks the authority for a preview; it is not a release request of any kind."""

    kind: ClassVar[str] = "shadow-request"
    request_id: str
    order: Signed
    requested_by: str
    transcripts: list[Signed] = Field(min_length=1)


def shadow_name(request: ShadowRequest) -> str:
    """The id of a shadow request: digest of the order and of what came of it."""
    parts = [request.order.digest, *(transcript.digest for transcript in request.transcripts)]
    return sm3_hex(" ".join(["shadow", *parts]).encode())[:32]


class MergeStep(Message):
    """One step up, by which cells too small to be told of are merged.

    Args:
        areas: Area -> its zones; `*` in one stands for all zones that no area names.
        groups: Group -> its customer classes, likewise; with none, classes stay apart.
    """

    kind: ClassVar[str] = "merge-step"
    areas: dict[str, list[str]]
    groups: dict[str, list[str]] = {}


class Merging(Message):
    """How cells below their minimum are merged.

    Args:
        classes: Customer classes whose cells are; `*` stands for all that the policy does not name.
        steps: From the nearest neighbours to the farthest.
    """

    kind: ClassVar[str] = "merging"
    classes: list[str] = []
    steps: list[MergeStep] = []


FewestCustomers = dict[str, dict[str, dict[str, int]]]
"""Resolution -> customer class -> measure -> fewest customers."""
LargestShares = dict[str, dict[str, int]]
"""Resolution -> customer class -> largest share of a cell that one customer may have [%]."""
DOMINANCE: Final = "dominance"
"""The rule of release that looks at values, where a cell is withheld by it."""


class OwnCount(Message):
    """Meter points of one owner of gateways in a place, and customers among them.

    Args:
        owner: A number, the same throughout one certificate, which says nothing else of the owner.
    """

    kind: ClassVar[str] = "own-count"
    owner: int
    points: int = Field(ge=0)
    customers: int = Field(ge=0)


class CountedPlace(Message):
    """How many meter points and customers a zone has of a customer class: all that merging uses."""

    kind: ClassVar[str] = "counted-place"
    zone: str
    customer_class: str
    counts: list[OwnCount]


class PreviewCell(Message):
    """What a shadow run would change in a cell.

    The number of bills whose total changes lies between `changed_least` and `changed_most`, which
    are the same where it may be told. Energy [Wh] and money [fen] are new minus old, or withheld.
    """

    kind: ClassVar[str] = "preview-cell"
    zone: str
    customer_class: str
    bills: int
    changed_least: int
    changed_most: int
    energy_wh: str | None
    amount_fen: str | None
    parts: list[int] = []


class ShadowPreview(Message):
    """What a shadow run would change, as the authority signs it. Nothing was released.

    `evidence_head` and `log_proof` are as in a certificate.
    """

    kind: ClassVar[str] = "shadow-preview"
    preview_id: str
    plan: PlanName
    start: str
    end: str
    tariff: Digest
    order: Digest
    requested_by: str
    previewed_at: str
    transcripts: list[Digest]
    minimum_members: int
    cells: list[PreviewCell]
    evidence_head: Digest
    log_proof: str = ""
    policy: Digest = ""
    policy_name: str = ""
    policy_version: int = 0
    minima: FewestCustomers = {}
    subject: str = ""
    approvals: list[Signed] = []
    merging: dict[str, Merging] = {}
    places: list[CountedPlace] = []
    dominance: LargestShares = {}
    level: Digest = ""


class CellTotal(Message):
    """One released cell. A suppressed cell says so and carries no value.

    In a certificate as signed no cell has its value: `told` says that it has one, which is among
    those beside the certificate (`gridsecure.released_values`).

    `parts` are numbers of the certificate's `places` that it is about: more than one where they
    were merged. Then zone and customer class are names of the step that merged them.

    `withheld_by` says that enough customers are in the cell, and that it is withheld because one
    may have more of it than policy lets one customer have (`dominance`).
    """

    kind: ClassVar[str] = "cell"
    zone: str
    customer_class: str
    start: str
    end: str
    measure: str
    members: int
    value: str | None
    told: bool = False
    parts: list[int] = []
    withheld_by: Literal["", "dominance"] = ""


class ReleaseCertificate(Message):
    """What was released, from what, under which rule.

    `minima` says how few customers a cell may be told of, by resolution, customer class (`*` for
    all others) and measure; what is not in it was not permitted. Certificates of before there were
    policies have none, and held all cells to `minimum_members`, which is the smallest of them.

    `subject` is the exact text of what officers approved, and `approvals` are their signatures, as
    `gridsecure.approvals` reads them.

    `evidence_head` is the hash of its entry in the authority's log, and `log_proof` proves that the
    entry is there (`store.proved_entries`); certificates of before there was a tree have no proof.
    `merging` says by resolution how cells below them were merged, and `places` has the counts from
    which anybody can merge them again. Certificates of before cells were merged have neither.
    `dominance` says by resolution and customer class how much of a cell one customer may be.
    `values_digest` names the values, which travel beside it (`gridsecure.released_values`).
    `level` names the security level of the deployment (`gridsecure.policy.levels`); certificates of
    before there were levels, and of deployments without one, have none.

    `question` is the digest of a sealed query's question, under a salt that its asker has. Such a
    certificate has no transcripts, and its cells, which have numbers for names, travel with their
    values: nothing in it says whom they are of, when, how many there are or which were told.

    `agreement` is the agreement of the data market that it was made under, where policy wants one.
    """

    kind: ClassVar[str] = "release"
    release_id: str
    plan: PlanName
    plan_version: int
    start: str
    end: str
    purpose: str
    requested_by: str
    released_at: str
    transcripts: list[Digest]
    outputs_digest: Digest
    minimum_members: int
    cells: list[CellTotal]
    statements: dict[str, Digest]
    values_digest: str = ""
    evidence_head: Digest
    log_proof: str = ""
    policy: Digest = ""
    policy_name: str = ""
    policy_version: int = 0
    minima: FewestCustomers = {}
    subject: str = ""
    approvals: list[Signed] = []
    merging: dict[str, Merging] = {}
    places: list[CountedPlace] = []
    dominance: LargestShares = {}
    question: Digest = ""
    level: Digest = ""
    agreement: Digest = ""


class BatchReceipt(Message):
    """What a gateway took in of a source.

    Args:
        batch_id: As the source names it; with `source` it names the batch.
        sequence: Its number among the source's batches, from 1.
        body_digest: Of the body as it was sent.
        readings_digest: Of the file that the gateway keeps of it.
        readings: How many there were, `rejected` among them.
        rejected: Rule -> readings that it keeps from being billed.
        rejected_digest: Of the list of those readings: SM3 of their `rejected_line`s, in order.
            Empty in receipts of earlier releases.
        next_steps: What the others wait for -> how many: `billing` of their month, or its next
            `correction`, because its bills were fixed before.
        without_contract: How many of the others are of meter points that have no contract in the
            gateway's books; they are billed once there is one.
        passed_over: Values of the body that are no readings, because no bill is computed from them
            -> how many, by name, such as `reactive-fed-in`.
        first: Start of the earliest reading, ISO 8601.
        last: Start of the latest one.
        months: Local month -> `waiting` for its bills, or `late`: they were fixed before.
        taken_in_at: When it was stored.
    """

    kind: ClassVar[str] = "batch-receipt"
    source: str
    batch_id: str
    sequence: int
    body_digest: Digest
    readings_digest: Digest
    readings: int
    rejected: dict[str, int]
    rejected_digest: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    next_steps: dict[Literal["billing", "correction"], int] = Field(default_factory=dict)
    without_contract: int = 0
    passed_over: dict[str, int] = Field(default_factory=dict)
    first: str
    last: str
    months: dict[str, Literal["waiting", "late"]]
    taken_in_at: str


def rejected_line(number: int, meter_point_id: str, *, start: datetime, rule: str) -> str:
    r"""A rejected reading as `BatchReceipt.rejected_digest` has it: a line of JSON, in UTF-8.

    Args:
        number: Its place in the batch, from 1.
        start: Of its interval, aware; written in UTC.

    >>> start = datetime.fromisoformat("2026-07-01T00:00+08:00")
    >>> rejected_line(2, "MP-2", start=start, rule="outside-scope")
    '[2,"MP-2","2026-06-30T16:00:00+00:00","outside-scope"]\\n'
    """
    parts = [number, meter_point_id, start.astimezone(UTC).isoformat(), rule]
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":")) + "\n"


class ReadingCounts(BaseModel):
    """Readings that came in and what became of them; reasons count those of a state.

    Each reading is one of the four. They add up to `came_in` where nothing was lost or counted
    twice.
    """

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)

    came_in: NonNegativeInt
    billed: NonNegativeInt
    estimated: NonNegativeInt
    quarantined: NonNegativeInt
    waiting: NonNegativeInt
    reasons: dict[Literal["estimated", "quarantined", "waiting"], dict[str, NonNegativeInt]]


class EventNotice(Message):
    """What a service tells a receiver: that something happened, and where its log says so.

    Args:
        zone: Which service it is.
        event: What happened, as `cycle.done`.
        subject: What it is about: a month, YYYY-MM, or a release.
        count: How many there are.
        entry: Index of the entry of the zone's evidence log.
        happened_at: When it was entered, ISO 8601.
        at: When this was sent, ISO 8601.
    """

    kind: ClassVar[str] = "event-notice"
    zone: Literal["gateway", "authority"]
    receiver: str
    event: str
    subject: str
    count: NonNegativeInt
    entry: NonNegativeInt
    happened_at: str
    at: str


class BatchNotice(Message):
    """What a gateway tells a source of its batches, as far as they are of one month.

    Args:
        month: Local month, YYYY-MM.
        batches: Id of each batch -> how far its readings of the month are by `at`, as
            `wire.gateway.BatchStatus` has it.
        counts: Id -> what became of these readings, of each batch of which it is known.
        at: When it was sent, ISO 8601.
    """

    kind: ClassVar[str] = "batch-notice"
    source: str
    month: str
    batches: dict[str, str]
    counts: dict[str, ReadingCounts]
    at: str
