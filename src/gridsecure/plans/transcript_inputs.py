"""What a transcript names, read by digest and checked as it comes; and what it has to agree with.

The checker reads so of the platform, and whoever replays a certificate of what was kept of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import EnvelopeError, InvalidMessageError, ReleaseRefusedError
from gridsecure.messages import ColumnEntry, Signed, Transcript, UploadManifest
from gridsecure.plans.correction_rules import is_correction
from gridsecure.plans.sealed_days import check_sealed_day, is_sealed_day

_OF_MANY: Final = frozenset({"load-curve", "query"})
"""Plans over many rosters at once, and over days as well as months."""
_LONGEST_STEP: Final = 64
"""Letters of a step's name in an error: a platform names steps as it likes."""
DAY_BILLED: Final = "release.day"
"""Why a transcript of bills over a day is refused."""


class PlatformView(Protocol):
    """Read access to the platform's signed messages and objects, by digest."""

    def message(self, kind: str, digest: str) -> Signed:
        """A roster's or upload's signed message."""
        ...

    def objects(self, digests: Sequence[str]) -> Iterable[bytes]:
        """Objects in their order, as the platform says; checked against the digests here."""
        ...


def fetch_object(view: PlatformView, digest: str) -> bytes:
    """An object of the platform whose digest is right.

    Raises:
        EnvelopeError: The platform sent other bytes.
    """
    (data,) = view.objects([digest])
    if sm3_hex(data) != digest:
        raise EnvelopeError("The platform sent the wrong object.")
    return data


def fetch_tariff(view: PlatformView, digest: str) -> str:
    """A tariff of the platform whose digest is right.

    Raises:
        EnvelopeError: The platform sent other bytes.
        InvalidMessageError: The object is no text, whatever a roster says.
    """
    try:
        return fetch_object(view, digest).decode()
    except UnicodeDecodeError as error:
        raise InvalidMessageError(
            "A roster names an object that is not a tariff.", reason="release.tariff"
        ) from error


def fetch_message(view: PlatformView, kind: str, digest: str) -> Signed:
    """A signed message of the platform whose digest is right.

    Raises:
        EnvelopeError: The platform sent another message.
    """
    envelope = view.message(kind, digest)
    if envelope.digest != digest:
        raise EnvelopeError("The platform sent the wrong message.")
    return envelope


def pair_inputs(transcript: Transcript) -> list[tuple[str, str]]:
    """The rosters of a transcript with their uploads, by digest.

    Raises:
        InvalidMessageError: They do not match, or one is named twice (`release.twice`).
    """
    many = len(transcript.rosters)
    if (
        many != len(transcript.uploads)
        or not many
        or (transcript.plan not in _OF_MANY and many != 1)
    ):
        raise InvalidMessageError("A transcript's rosters and uploads do not match.")
    if len(set(transcript.rosters)) != many or len(set(transcript.uploads)) != many:
        # Twice the same roster would count its members twice, and small cells would look large.
        raise InvalidMessageError("A transcript names a roster twice.", reason="release.twice")
    return list(zip(transcript.rosters, transcript.uploads, strict=True))


def check_upload(uploaded: UploadManifest, transcript: Transcript) -> None:
    """Refuse an upload that a transcript's plan is not about.

    Raises:
        ReleaseRefusedError: `release.period`, `release.day` or `correction.plan`.
        InvalidMessageError: A sealed day that is none.
    """
    if (uploaded.start, uploaded.end) != (transcript.start, transcript.end):
        raise ReleaseRefusedError(
            "A transcript uses an upload of another period.", reason="release.period"
        )
    if is_sealed_day(uploaded):
        if transcript.plan not in _OF_MANY:
            raise ReleaseRefusedError("A day has load curves, and no bills.", reason=DAY_BILLED)
        check_sealed_day(uploaded)
    if is_correction(uploaded) != (transcript.plan == "rebill"):
        # A full new total, or a load curve of corrected readings, beside the old one would
        # show what was corrected.
        raise ReleaseRefusedError(
            "The request mixes corrections with first uploads.",
            reason="correction.plan",
            remedy="Run bills and load curves over first uploads, and rebill corrections.",
        )


def check_executed(
    transcript: Transcript,
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, ColumnEntry],
    steps: Mapping[str, str],
) -> None:
    """Hold what a plan gave when it was executed again to what a transcript says.

    Args:
        steps: As `execute_bill` has them, in their order. A transcript of before there were any
            names none, and what a transcript says of its release is what the platform says: so a
            platform may leave them out, and what differs is then found at the outputs.

    Raises:
        ReleaseRefusedError: It gave something else (`release.re-execution`); the message names the
            first step that differs.
    """
    told = steps if transcript.steps else {}
    if (inputs, told, outputs) != (transcript.inputs, transcript.steps, transcript.outputs):
        pairs = zip((inputs, told, outputs), _parts(transcript), strict=True)
        step = next(name for own, said in pairs for name in _differing(own, said))
        raise ReleaseRefusedError(
            "Executing the plan again does not give the transcript's outputs: the first step that"
            f" differs is {step[:_LONGEST_STEP]!r}.",
            reason="release.re-execution",
            remedy="Find out what the platform ran; do not repeat the request unchanged.",
        )


def _parts(transcript: Transcript) -> tuple[Mapping[str, object], ...]:
    return transcript.inputs, transcript.steps, transcript.outputs


def _differing(own: Mapping[str, object], said: Mapping[str, object]) -> Iterator[str]:
    """Names of what is another, or is not there on one side; those that come first, first."""
    return (name for name in dict.fromkeys([*own, *said]) if own.get(name) != said.get(name))
