"""Replaying a certificate: its plans are executed again from the ciphertexts, without a secret key.

What the checker does before a release (`key_authority.checker.verification`), anybody can do after
it, with the same functions of `plans`. Nothing of the material is believed but what hangs on two
pinned keys: the key authority's, which signed the certificate and the notices of key sets, and the
identity authority's, which says which gateway speaks for a roster.

    certificate → transcript → roster, upload → columns, tariff     by digest
    roster → seats → gateway → upload                               by signature
    column → key id → notice → keys                                 by signature, then by digest

What this shows: the outputs that were decrypted are those that the plan gives on what the gateways
signed, and the members of each cell are those of the signed rosters (`replay_counts`). What it does
not show: that the vault decrypted them rightly, and that the gateways encrypted what meters read.
Outputs of load curves hang on a blinding seed, which is for platform and checker alone; their plan
is executed with another, and compared in all that does not hang on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gridsecure.analyst.certificates import verify_certificate
from gridsecure.analyst.releases import LOAD_CURVE, PinnedAuthority
from gridsecure.analyst.replay_counts import compare_counts
from gridsecure.analyst.replay_material import ReplayMaterial
from gridsecure.credentials.seats import verify_seats
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, GridSecureError, NotFoundError, ReleaseRefusedError
from gridsecure.homomorphic.blinding import SEED_SIZE
from gridsecure.messages import (
    ColumnEntry,
    KeyNotice,
    ReleaseCertificate,
    RosterManifest,
    Transcript,
    UploadManifest,
    open_message,
)
from gridsecure.plans.bills import BILL_PLAN_VERSION
from gridsecure.plans.cells import ENERGY, OTHER_CLASSES, Minima
from gridsecure.plans.execution import (
    RosterData,
    compile_bill,
    execute_bill,
    execute_load_curve,
    roster_data,
)
from gridsecure.plans.key_ring import KeyRing, KnownKeys
from gridsecure.plans.load_curve import LOAD_CURVE_PLAN_VERSION, lay_out_cells
from gridsecure.plans.transcript_inputs import (
    check_executed,
    check_upload,
    fetch_object,
    fetch_tariff,
    pair_inputs,
)
from gridsecure.released_values import SignedCertificate
from gridsecure.tariffs.tariff import parse_tariff
from gridsecure.version import VERSION

BLINDED: Final = "replay.blinded"
"""Why a load curve's outputs are not compared byte for byte."""
_OWN_SEED: Final = bytes(SEED_SIZE)
"""In place of the blinding seed, which platform and checker alone have."""
_OF_EACH: Final = Minima({OTHER_CLASSES: {ENERGY: 1}})
"""Every zone and class is a cell; how they were merged, the blinding alone would show."""
LARGEST_OBJECT: Final = 1 << 28
"""Bytes of a key, tariff or seats, above which nothing of it is read."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one transcript.

    Args:
        transcript: Its digest.
        release: Of the software that the platform ran; empty where the transcript is not there.
        rosters: Their ids, as far as they are known.
        columns: Columns read.
        outputs: Outputs that are the same; none where the plan was not executed.
        missing: Objects that are not there: digest -> what it is.
        error: Why it does not hold, or was not executed.
    """

    transcript: str
    release: str = ""
    rosters: tuple[str, ...] = ()
    columns: int = 0
    outputs: int = 0
    missing: Mapping[str, str] = field(default_factory=dict)
    error: GridSecureError | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a certificate.

    Args:
        parts: Its transcripts, in the certificate's order.
        error: Why the outputs are not those that the certificate names, or the members of its
            cells are not those of its rosters.
        counted: Zones and classes whose members are those of the rosters.
    """

    certificate: ReleaseCertificate
    parts: tuple[Replayed, ...]
    error: GridSecureError | None
    counted: int

    @property
    def is_same(self) -> bool:
        """Whether every plan was executed and gave what the certificate names."""
        return self.error is None and all(part.error is None for part in self.parts)


def replay_certificate(
    content: bytes,
    material: ReplayMaterial,
    *,
    authority: PinnedAuthority,
    identity: Sequence[Sm2PublicKey],
) -> Replay:
    """Execute a certificate's plans again and compare digests.

    1. the certificate is signed and in the log of the pinned key;
    2. the transcripts are those that it names, each and no other;
    3. of each, what it names is signed by whom it should be, and its plan gives its outputs;
    4. together they are the outputs that the certificate says were decrypted;
    5. the cells have the members that the rosters have.

    Args:
        content: The signed certificate.
        identity: Public keys of the identity authority.

    Raises:
        GridSecureError: 1. and 2. (`verify_certificate`, `replay.transcript`). What is wrong with
            one transcript stands in its part.
    """
    verify_certificate(content, authority=authority)
    certificate = ReleaseCertificate.parse(SignedCertificate.parse(content).body)
    if certificate.question:
        raise _sealed()
    _check_named(certificate, material)
    trusted = {authority.thumbprint: authority.key}
    notices = tuple(
        open_message(signed, expect=KeyNotice, trusted=trusted)
        for signed in material.of_kind(KeyNotice.kind)
    )
    replayer = _Replayer(
        certificate,
        material,
        KeyRing(KnownKeys(notices), material.store.get),
        {key.thumbprint: key for key in identity},
    )
    parts = tuple(map(replayer.replay, certificate.transcripts))
    is_whole = all(part.error is None or part.error.reason == BLINDED for part in parts)
    if not is_whole:
        return Replay(certificate, parts, None, 0)
    error = replayer.compare_outputs() or compare_counts(certificate, replayer.read)
    return Replay(certificate, parts, error, 0 if error else len(certificate.places))


def _check_named(certificate: ReleaseCertificate, material: ReplayMaterial) -> None:
    given = {signed.digest for signed in material.of_kind(Transcript.kind)}
    foreign = sorted(given - set(certificate.transcripts))
    if foreign:
        raise ReleaseRefusedError(
            f"The certificate does not name the transcript {foreign[0]}.",
            reason="replay.transcript",
            remedy="Replay a certificate with the messages that were exported for it.",
        )


@dataclass(slots=True, eq=False)
class _Replayer:
    """One certificate's transcripts, one after the other."""

    certificate: ReleaseCertificate
    material: ReplayMaterial
    keys: KeyRing
    identity: Mapping[str, Sm2PublicKey]
    read: list[tuple[Transcript, list[RosterData]]] = field(default_factory=list)
    _seated: dict[str, tuple[RosterManifest, Sm2PublicKey]] = field(default_factory=dict)
    _outputs: list[str] = field(default_factory=list)

    def replay(self, digest: str) -> Replayed:
        """Execute the plan of one transcript again."""
        found = Replayed(digest)
        try:
            transcript = Transcript.parse(self.material.message(Transcript.kind, digest).body)
            self._check_run(transcript)
            found = Replayed(digest, release=transcript.release)
            pairs = pair_inputs(transcript)
            rosters = tuple(self._roster(one).roster_id for one, _ in pairs)
            found = Replayed(digest, transcript.release, rosters, len(transcript.inputs))
            missing = self._find_missing(transcript)
            if missing:
                return _as_missing(found, missing)
            datas = [self._read_inputs(pair, transcript) for pair in pairs]
            self.read.append((transcript, datas))
            return self._compare(found, transcript, datas)
        except GridSecureError as error:
            return Replayed(
                digest, found.release, found.rosters, found.columns, error=_explained(error, found)
            )

    def compare_outputs(self) -> GridSecureError | None:
        """Why the outputs of all are not what the certificate says was decrypted."""
        if sm3_hex("".join(self._outputs).encode()) == self.certificate.outputs_digest:
            return None
        return AuditBrokenError(
            "The certificate names other outputs than its transcripts have.",
            reason="replay.outputs",
            remedy="Keep certificate and messages, and ask the key authority what it decrypted.",
        )

    def _check_run(self, transcript: Transcript) -> None:
        certified = self.certificate
        asked = (certified.plan, certified.start, certified.end, "")
        if (transcript.plan, transcript.start, transcript.end, transcript.tariff) != asked:
            raise ReleaseRefusedError(
                "A transcript is about another plan or period than the certificate.",
                reason="replay.transcript",
                remedy="Keep both, and ask the key authority why it released this.",
            )
        is_curve = transcript.plan == LOAD_CURVE
        if transcript.plan_version != (LOAD_CURVE_PLAN_VERSION if is_curve else BILL_PLAN_VERSION):
            raise _other_release(transcript.release)

    def _find_missing(self, transcript: Transcript) -> dict[str, str]:
        """Objects that are not there, before anything is computed."""
        wanted: dict[str, str] = {}
        sizes: dict[str, int] = {}
        for roster_digest, upload_digest in pair_inputs(transcript):
            roster = self._roster(roster_digest)
            upload = UploadManifest.parse(self.material.message("upload", upload_digest).body)
            of = f"of roster {roster.roster_id}"
            wanted |= {roster.tariff: f"tariff {of}", roster.seats: f"seats {of}"}
            read = set(transcript.inputs.values())
            columns = [entry for entry in upload.columns if entry.digest in read]
            wanted |= {entry.digest: f"column {entry.quantity} {of}" for entry in columns}
            sizes |= {entry.digest: entry.size for entry in columns}
            wanted |= self._key_objects(columns)
        return {
            one: what
            for one, what in wanted.items()
            if not self._is_there(one, what, size=sizes.get(one))
        }

    def _is_there(self, digest: str, what: str, *, size: int | None) -> bool:
        """Whether an object is there, and not so large that hashing it alone would do harm."""
        try:
            found = self.material.store.size(digest)
        except NotFoundError:
            return False
        if found > LARGEST_OBJECT or size not in (None, found):
            raise AuditBrokenError(
                f"The {what} has another size than it should: object {digest}.",
                reason="replay.size",
                remedy="Remove the file, and fetch this digest again.",
            )
        return True

    def _roster(self, digest: str) -> RosterManifest:
        """A roster as it says, before its signature is verified."""
        return RosterManifest.parse(self.material.message(RosterManifest.kind, digest).body)

    def _key_objects(self, columns: Iterable[ColumnEntry]) -> dict[str, str]:
        used = {entry.key_id for entry in columns}
        return {
            digest: f"{what} of key set {notice.key_id}"
            for notice in self.keys.known.notices
            if notice.key_id in used
            for digest, what in (
                (notice.public_key, "public key"),
                (notice.relinearisation_keys, "relinearisation keys"),
            )
            if digest
        }

    def _read_inputs(self, pair: tuple[str, str], transcript: Transcript) -> RosterData:
        """A roster and its upload, each signed by the gateway that the seats speak for."""
        roster, gateway = self._seat(pair[0])
        signed = self.material.message("upload", pair[1])
        trusted = {gateway.thumbprint: gateway}
        upload = open_message(signed, expect=UploadManifest, trusted=trusted)
        check_upload(upload, transcript)
        return roster_data(roster, upload)

    def _seat(self, digest: str) -> tuple[RosterManifest, Sm2PublicKey]:
        if digest not in self._seated:  # the days of a load curve are of the same rosters
            envelope = self.material.message(RosterManifest.kind, digest)
            seats = fetch_object(self.material, self._roster(digest).seats)
            found = verify_seats(envelope, seats=seats, identity=self.identity)
            self._seated[digest] = found.roster, found.gateway
        return self._seated[digest]

    def _compare(
        self, found: Replayed, transcript: Transcript, datas: Sequence[RosterData]
    ) -> Replayed:
        if transcript.plan == LOAD_CURVE:
            self._check_curve(transcript, datas)
            self._outputs += [entry.digest for entry in transcript.outputs.values()]
            raise _blinded()
        (data,) = datas
        tariff = parse_tariff(fetch_tariff(self.material, data.roster.tariff))
        plan = compile_bill(data, tariff=tariff)
        steps: dict[str, str] = {}
        load = self.material.store.get
        inputs, made = execute_bill(data, plan=plan, load=load, keys=self.keys, steps=steps)
        outputs = {name: output.entry for name, output in made}
        check_executed(transcript, inputs=inputs, outputs=outputs, steps=steps)
        self._outputs += [entry.digest for entry in outputs.values()]
        return Replayed(
            *(found.transcript, found.release, found.rosters, found.columns), outputs=len(outputs)
        )

    def _check_curve(self, transcript: Transcript, datas: Sequence[RosterData]) -> None:
        """Execute a load curve's plan with a seed of our own: all but the bytes has to come out.

        The blinding is what the seed gives, added to the gateways' columns, and the bytes of the
        outputs are all that hangs on it. What does not: which columns go in, under which keys and
        labels; that all rosters divide a day alike and that no zone's and class's total can wrap;
        and of each output whose it is, of which time and unit, under which keys and with which
        bound. The cells are those of before merging, which the blinding alone would show.
        """
        names = sorted({text.partition("/")[2] for text in transcript.inputs})
        layout = lay_out_cells((data.roster for data in datas), minima=_OF_EACH)
        inputs, made = execute_load_curve(
            datas,
            quantities=names,
            layout=layout,
            seed=_OWN_SEED,
            load=self.material.store.get,
            keys=self.keys,
        )
        outputs = {name: _without_bytes(output.entry) for name, output in made}
        said = {name: _without_bytes(entry) for name, entry in transcript.outputs.items()}
        if inputs != transcript.inputs or outputs != said:
            raise ReleaseRefusedError(
                "A transcript read other columns than the gateways signed, or has other outputs"
                " than its plan gives of them.",
                reason="release.re-execution",
                remedy="Find out what the platform ran.",
            )


def _without_bytes(entry: ColumnEntry) -> ColumnEntry:
    """What is said of a column, but for what its blinding is part of."""
    return entry.model_copy(update={"digest": "", "size": 0})


def _as_missing(found: Replayed, missing: Mapping[str, str]) -> Replayed:
    error = NotFoundError(
        f"{len(missing)} of the objects that it takes are not there.",
        reason="replay.missing",
        remedy="Fetch these digests: run `gridsecure evidence export` again into the same place, "
        "or copy them from whoever holds them; a right digest is all that counts.",
    )
    return Replayed(
        *(found.transcript, found.release, found.rosters, found.columns),
        missing=missing,
        error=error,
    )


def _explained(error: GridSecureError, found: Replayed) -> GridSecureError:
    """Another outcome under another release of the software says little about the platform."""
    is_other = error.reason == "release.re-execution" and found.release not in {"", VERSION}
    return _other_release(found.release) if is_other else error


def _other_release(release: str) -> GridSecureError:
    return GridSecureError(
        f"The platform ran release {release}, and this is {VERSION}: digests may differ although "
        "the results agree.",
        reason="replay.release",
        remedy=f"Install GridSecure {release} with its own lock file, and replay with that.",
    )


def _sealed() -> ReleaseRefusedError:
    return ReleaseRefusedError(
        "The certificate answers a sealed question: it names no transcript, because what was "
        "computed would tell whom it is about.",
        reason="replay.question",
        remedy="`gridsecure verify` checks its signature, log entry and approvals; officers "
        "read the question, and the vault checked groups and times by itself.",
    )


def _blinded() -> GridSecureError:
    return GridSecureError(
        "A load curve is blinded by a seed that only platform and key authority have. Its plan was "
        "executed with another one: all is the same but the bytes of outputs, which were not "
        "compared.",
        reason=BLINDED,
        remedy="Nothing is wrong. The key authority executed it with its seed before the release.",
    )
