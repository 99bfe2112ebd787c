"""What anonymised identity costs the services that check it, per second of one core.

Credentials are computed by the backend the services would pick on this machine, signatures by the
SM2 engine they would pick; both are named. Databases and HTTP are left out.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

from apps.cli.bench.figures import Figure
from apps.cli.bench.identity_steps import Step, grant_steps, make_parties, registration_steps
from apps.cli.bench.signature_steps import seat_step, token_steps
from apps.cli.bench.sizes import BenchSizes
from apps.cli.bench.timing import best_of
from gridsecure.crypto.sm2 import generate_private_key, select_engine

GRANT_LIMIT: Final = 256
"""Grants of an analyst in an epoch: four times the services' default; more cost more."""

_TITLES: Final = {
    "presentation_2": ("presentations", "presentations verified"),
    f"grant_{GRANT_LIMIT}": ("grant_checks", "query grants checked"),
    "token_issue": ("token_issues", "access tokens issued"),
    "token_check": ("token_checks", "access tokens verified"),
    "upload_check": ("upload_checks", "upload signatures checked"),
    "seat_check": ("seat_checks", "seats of a roster checked"),
}
"""By step: a figure's name and title."""


def identity_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Figures of presentations, grants, tokens, uploads and seats.

    Raises:
        AssertionError: What was timed gave a wrong result.
    """
    parties, signer = make_parties(), generate_private_key()
    steps = chain(
        registration_steps(parties, count=sizes.credentials),
        grant_steps(parties, count=sizes.credentials, limit=GRANT_LIMIT),
        token_steps(signer, count=sizes.signatures),
        [seat_step(signer, slots=sizes.seats)],
    )
    rates = {step.name: _rate(step, sizes=sizes) for step in steps if step.name in _TITLES}
    notes = _notes(parties.backend, engine=select_engine("auto").name, sizes=sizes)
    return [_figure(name, rates[name], notes[name]) for name in _TITLES]


def _rate(step: Step, *, sizes: BenchSizes) -> float:
    seconds, result = best_of(step.run, sizes=sizes)
    if step.expected is not None and result != step.expected:
        raise AssertionError(f"timed, but with a wrong result: {step.title}")
    return step.units / seconds


def _notes(backend: str, *, engine: str, sizes: BenchSizes) -> dict[str, str]:
    credentials, signatures = f"one core, backend {backend}", f"one core, SM2 engine {engine}"
    return {
        "presentation_2": f"{credentials}; {sizes.credentials} meter points, each with one"
        " presentation for billing and settlement",
        f"grant_{GRANT_LIMIT}": f"{credentials}; {GRANT_LIMIT} grants an epoch",
        "token_issue": f"{signatures}; {sizes.signatures} different tokens",
        "token_check": f"{signatures}; form, signature and claims",
        "upload_check": f"{signatures}; each by another key, which is read with it",
        "seat_check": f"{signatures}; a roster of {sizes.seats:,} slots: registrations, gateway's"
        " signature and every delegation",
    }


def _figure(step: str, rate: float, note: str) -> Figure:
    name, title = _TITLES[step]
    held = name == "presentations"
    return Figure(
        name=name,
        title=title,
        unit="per second",
        value=rate,
        must=80 if held else None,
        try_for=250 if held else None,
        comparison=">=",
        note=note,
    )
