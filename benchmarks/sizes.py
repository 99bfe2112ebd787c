"""How much a benchmark run measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class BenchSizes:
    """Sizes of one run.

    Args:
        name: Named in the report, because figures of another size are other figures.
        exact_meters: Random meters billed with each catalogue tariff and compared.
        roster_slots: Slots of the rosters that the platform's work is timed on.
        gateway_meters: Households packed by the gateway.
        gateway_days: Days of half-hourly readings of each of them.
        vector_meters: Meters billed with a library vector each.
        identity_messages: Presentations, grants, tokens and uploads, each kind checked one by one.
        seats: Slots of the roster whose seats are checked.
        run_meters: Simulated meter points of the whole run; none in a run that is to be short.
        enrolled: Meter points that enrol with two pseudonyms.
        released: Meter points whose bills are released together.
        query_meters: Meter points that a question is asked about.
        readers: Connections that read lists at once; none in a run that is to be short.
        jobs: Independent roster jobs for the worker processes.
        large_body: Readings of one body that a gateway takes in.
        sources: That send batches of a day at once.
        source_batches: Batches of each of them.
        log_entries: Of the log that an inclusion proof is read from.
        repeats: A timing is the best of at most this many repetitions.
        seconds: No repetition of one timing begins after this time [s].
    """

    name: str
    exact_meters: int
    roster_slots: int
    gateway_meters: int
    gateway_days: int
    vector_meters: int
    identity_messages: int
    seats: int
    run_meters: int
    enrolled: int
    released: int
    query_meters: int
    readers: int
    jobs: int
    large_body: int
    sources: int
    source_batches: int
    log_entries: int
    repeats: int
    seconds: float

    @classmethod
    def full(cls) -> Self:
        """The sizes the published figures are for; seven to twelve minutes on two cores."""
        return cls(
            name="full",
            exact_meters=20_000,
            roster_slots=16_384,
            gateway_meters=4_096,
            gateway_days=31,
            vector_meters=64,
            identity_messages=64,
            seats=256,
            run_meters=4_096,
            enrolled=512,
            released=4_000,
            query_meters=1_000_000,
            readers=200,
            jobs=32,
            large_body=10_000_000,
            sources=100,
            source_batches=20,
            log_entries=10_000_000,
            repeats=9,
            seconds=6.0,
        )

    @classmethod
    def quick(cls) -> Self:
        """A few seconds long. Shows that everything runs; its figures are not the product's."""
        return cls(
            name="quick",
            exact_meters=300,
            roster_slots=1_024,
            gateway_meters=16,
            gateway_days=31,  # a settlement is that of a whole month
            vector_meters=4,
            identity_messages=2,
            seats=8,
            run_meters=0,
            enrolled=6,
            released=24,
            query_meters=2_048,
            readers=0,
            jobs=2,
            large_body=4_000,
            sources=2,
            source_batches=2,
            log_entries=2_000,
            repeats=1,
            seconds=0.5,
        )
