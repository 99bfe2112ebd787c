"""Proving a transcript: who signed its inputs, and that the plan gives exactly its outputs.

Nothing here decrypts, and nothing the platform computed is used further: the outputs that go on to
the vault are the ones derived again in this process from the gateways' signed uploads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from gridsecure.credentials.seats import check_facts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InvalidMessageError, ReleaseRefusedError
from gridsecure.homomorphic.blinding import SEED_SIZE
from gridsecure.key_authority.checker.reexecution import (
    BillCheck,
    Derived,
    LoadCurveCheck,
    Running,
)
from gridsecure.key_authority.checker.seating import find_timezone, prove_roster
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import (
    Digest,
    RosterManifest,
    Signed,
    Transcript,
    UploadManifest,
    open_message,
)
from gridsecure.month_texts import day_text, read_moment
from gridsecure.plans.cells import Minima
from gridsecure.plans.execution import (
    RosterData,
    compile_bill,
    roster_data,
)
from gridsecure.plans.key_ring import KeyRing
from gridsecure.plans.load_curve import CellLayout, lay_out_cells
from gridsecure.plans.quantities import Family, find_family
from gridsecure.plans.sealed_days import compared_period, is_sealed_day
from gridsecure.plans.transcript_inputs import (
    PlatformView,
    check_executed,
    check_upload,
    fetch_message,
    fetch_tariff,
    pair_inputs,
)
from gridsecure.policy.decisions import curve_resolution
from gridsecure.policy.language import Policy, Resolution
from gridsecure.tariffs.tariff import parse_tariff

LOAD_CURVE_PREFIX: Final = "load-curve/"
"""Begins the claim to a day of an upload's load curve."""
CORRECTS_PREFIX: Final = "corrects/"
SEED_PREFIX: Final = "seed/"
"""Begins the claim to a blinding seed."""


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """A transcript that holds.

    Args:
        transcript: As the platform signed it.
        digest: Of the signed transcript.
        outputs: The outputs, derived again.
        claims: What this transcript releases; each may be released once.
    """

    transcript: Transcript
    digest: str
    datas: tuple[RosterData, ...]
    outputs: dict[str, Derived]
    claims: tuple[str, ...]

    @property
    def rosters(self) -> list[RosterManifest]:
        """The rosters, in order."""
        return [data.roster for data in self.datas]

    @property
    def resolution(self) -> Resolution:
        """How often its numbers are."""
        if self.transcript.plan != "load-curve":
            return "monthly"
        return curve_resolution(out.entry for out in self.outputs.values())


@dataclass(slots=True, eq=False)
class KnownInputs:
    """The rosters and uploads that a request's transcripts are about, verified once for them all.

    The days of a load curve name the same ones, by digest. They are verified again for every
    request, because whom the checker believes may have changed meanwhile.
    """

    purpose: str = ""
    _named: tuple[object, ...] = ()
    _datas: tuple[RosterData, ...] = ()
    _layout: tuple[Minima, CellLayout] | None = None

    def of(
        self, transcript: Transcript, verify: Callable[[Transcript], Sequence[RosterData]]
    ) -> tuple[RosterData, ...]:
        """The rosters and uploads of a transcript; verified, where it names others than the last.

        Args:
            transcript: As the platform signed it.
            verify: Gives them, each signed by the gateway it belongs to.
        """
        named = (
            transcript.plan,
            transcript.start,
            transcript.end,
            tuple(transcript.rosters),
            tuple(transcript.uploads),
        )
        if named != self._named:
            self._datas = tuple(verify(transcript))
            self._named, self._layout = named, None
        return self._datas

    def lay_out(self, minima: Minima) -> CellLayout:
        """The cells of the rosters that were last verified."""
        if self._layout is None or self._layout[0] != minima:
            rosters = [data.roster for data in self._datas]
            self._layout = minima, lay_out_cells(rosters, minima=minima)
        return self._layout[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    """A transcript whose inputs hold, while its plan is executed again."""

    transcript: Transcript
    digest: str
    datas: tuple[RosterData, ...]
    claims: tuple[str, ...]
    running: Running

    def finish(self) -> Proven:
        """Compare what was derived with what the transcript says."""
        inputs, outputs, steps = self.running.result()
        derived = {name: output.entry for name, output in outputs.items()}
        check_executed(self.transcript, inputs=inputs, outputs=derived, steps=steps)
        return Proven(self.transcript, self.digest, self.datas, outputs, self.claims)


def prove_all(
    pairs: Iterable[tuple[Signed, bytes | None]],
    *,
    purpose: str = "",
    zone: AuthorityZone,
    view: PlatformView,
    keys: KeyRing,
) -> Generator[Proven]:
    """Verify the inputs of a request's transcripts and execute their plans again.

    They come in their order, while workers have as many more in hand as there are workers.

    Args:
        pairs: Signed transcripts, and the blinding seeds they commit to, if any.
        purpose: What load curves are asked for, which policy lays their cells out by.
        keys: The gateways' key sets, from `key_sets.key_ring`.

    Raises:
        AuthenticityError: A message is not signed by whom it should be, or an object was changed.
        InputError: A message that is signed, but makes no sense.
        NotFoundError: The platform lacks an object, or an upload a column.
        ReleaseRefusedError: `release.seed`, `release.part-day`, `release.policy`,
            `release.re-execution` or `correction.plan`.
        CiphertextError: A column is not what its manifest says, or is under no usable key set of
            its gateway (`keys.gateway`, `keys.revoked`).
        GridSecureError: A worker died (`check.killed`).
    """
    known = KnownInputs(purpose)
    begun: deque[_Begun] = deque()
    try:
        for envelope, seed in pairs:
            begun.append(_begin(envelope, seed, known=known, zone=zone, view=view, keys=keys))
            if len(begun) > zone.checks.workers:
                yield begun.popleft().finish()
        while begun:
            yield begun.popleft().finish()
    finally:
        for one in begun:
            one.running.drop()


def prove(envelope: Signed, *, zone: AuthorityZone, view: PlatformView, keys: KeyRing) -> Proven:
    """Verify the inputs of one transcript of a bill and execute its plan again, as `prove_all`."""
    (proven,) = prove_all([(envelope, None)], zone=zone, view=view, keys=keys)
    return proven


def _begin(
    envelope: Signed,
    seed: bytes | None,
    *,
    known: KnownInputs,
    zone: AuthorityZone,
    view: PlatformView,
    keys: KeyRing,
) -> _Begun:
    transcript = open_message(envelope, expect=Transcript, trusted=zone.platform)
    datas = known.of(transcript, partial(verify_datas, zone=zone, view=view))
    if transcript.plan != "load-curve":
        (data,) = datas
        running = begin_bill(data, zone=zone, view=view, keys=keys, by=transcript.tariff)
        claims = [bill_claim(transcript.uploads[0])]
        if data.upload.corrects is not None:
            # The bill that is cancelled can be cancelled once.
            claims.append(CORRECTS_PREFIX + data.upload.corrects)
    else:
        day, quantities = _whole_day(transcript, datas)
        _check_policy(transcript, zone.policy)
        minima = zone.find_minima(known.purpose, resolution=_resolution(datas, quantities))
        check = LoadCurveCheck(
            tuple(with_only(quantities, data) for data in datas),
            quantities,
            known.lay_out(minima),
            _committed(seed, transcript),
        )
        running = zone.checks.begin(check, view=view, keys=keys)
        claims = [
            f"{LOAD_CURVE_PREFIX}{curve_subject(upload, data)}/{day}"
            for upload, data in zip(transcript.uploads, datas, strict=True)
        ]
        # A seed that blinded two columns alike would show the vault their difference.
        claims.append(SEED_PREFIX + str(transcript.seed_commitment))
    return _Begun(transcript, envelope.digest, datas, tuple(claims), running)


def bill_claim(upload: Digest) -> str:
    """What the bills of an upload are released once as."""
    return f"bill/{upload}"


def begin_bill(
    data: RosterData,
    *,
    zone: AuthorityZone,
    view: PlatformView,
    keys: KeyRing,
    by: Digest = "",
) -> Running:
    """Have the bill plan of a roster's upload executed, on columns whose digests are right.

    Args:
        by: The tariff to bill by; the roster's by default.

    Raises:
        GridSecureError: As `prove_all`.
    """
    plan = compile_bill(data, tariff=parse_tariff(fetch_tariff(view, by or data.roster.tariff)))
    return zone.checks.begin(BillCheck(data, plan), view=view, keys=keys)


def _check_policy(transcript: Transcript, policy: Policy) -> None:
    """Refuse a load curve whose cells were laid out by another policy than holds here."""
    if transcript.policy != policy.terms_digest:
        raise ReleaseRefusedError(
            "A load curve was computed under another release policy than the authority's.",
            reason="release.policy",
            remedy="Give the platform the policy that the authority has, and run the plan again.",
        )


def _resolution(datas: Sequence[RosterData], quantities: Sequence[str]) -> Resolution:
    return curve_resolution(data.entry(name) for data in datas for name in quantities)


def with_only(quantities: Sequence[str], data: RosterData) -> RosterData:
    """A roster's upload with the columns that a worker needs.

    Raises:
        NotFoundError: It lacks one.
    """
    columns = {name: data.entry(name) for name in quantities}
    upload = data.upload.model_copy(update={"columns": list(columns.values())})
    return replace(data, upload=upload, columns=columns)


def _committed(seed: bytes | None, transcript: Transcript) -> bytes:
    if seed is None or len(seed) != SEED_SIZE or sm3_hex(seed) != transcript.seed_commitment:
        raise ReleaseRefusedError(
            "A blinding seed is not the one its transcript commits to.", reason="release.seed"
        )
    return seed


def verify_datas(
    transcript: Transcript, *, zone: AuthorityZone, view: PlatformView
) -> list[RosterData]:
    """The rosters and uploads of a transcript, each signed by the gateway it belongs to.

    Raises:
        GridSecureError: As `prove_all`, of messages and rosters.
    """
    pairs = pair_inputs(transcript)
    _check_period(transcript.start, transcript.end)
    datas = []
    for roster_digest, upload_digest in pairs:
        manifest, gateway = prove_roster(
            roster_digest, period=(transcript.start, transcript.end), zone=zone, view=view
        )
        upload = fetch_message(view, "upload", upload_digest)
        if upload.signer != gateway.thumbprint:
            raise ReleaseRefusedError(
                "A roster and its upload come from different gateways.", reason="release.gateway"
            )
        uploaded = open_message(upload, expect=UploadManifest, trusted={upload.signer: gateway})
        check_facts(manifest)
        check_upload(uploaded, transcript)
        data = roster_data(manifest, uploaded)
        if is_sealed_day(uploaded):
            timezone = find_timezone(manifest.tariff, zone=zone, view=view)
            data = replace(data, month=compared_period(uploaded, manifest, timezone=timezone))
        datas.append(data)
    return datas


def curve_subject(upload: Digest, data: RosterData) -> str:
    """What a day of load curves is claimed for: an upload, or the roster whose day was sealed.

    A second upload of a sealed day is a second version of it, whatever it holds.
    """
    return data.roster.roster_id if is_sealed_day(data.upload) else upload


def _check_period(start: str, end: str) -> None:
    """Refuse times that cannot be read, or that mean another moment on another machine."""
    begin, finish = read_moment(start), read_moment(end)
    if begin is None or finish is None or begin >= finish:
        raise InvalidMessageError(
            "A period needs a start, a later end, and offsets, within the years that bills may "
            "have.",
            reason="release.period",
        )


def _whole_day(transcript: Transcript, datas: Sequence[RosterData]) -> tuple[str, tuple[str, ...]]:
    """The local day a load curve is about; it must be all of that day, for every roster.

    Parts of days could be combined into differences that no released cell was meant to show.
    """
    asked = {name.partition("/")[2] for name in transcript.inputs}
    days = set()
    for data in datas:
        days |= {day_text(data.entry(quantity).start) for quantity in asked}
    whole = [
        {
            entry.quantity
            for entry in data.columns.values()
            if find_family(entry.quantity) is Family.INTERVALS and day_text(entry.start) in days
        }
        for data in datas
    ]
    if len(days) != 1 or any(quantities != asked for quantities in whole):
        raise ReleaseRefusedError(
            "A load curve is released by whole local days.",
            reason="release.part-day",
            remedy="Request all intervals of a day for all rosters.",
        )
    return days.pop(), tuple(sorted(asked))
