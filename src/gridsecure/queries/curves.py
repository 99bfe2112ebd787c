"""Statistics of load curves: load factor, coincident peak, index, demand response, losses.

Power is the mean over a step, P = E / t, with the time t of the step that is asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Final

from gridsecure.queries.forms import CoincidentPeak, LoadFactor, Loss, Saving, Shift
from gridsecure.queries.lines import (
    KW,
    KWH,
    PERCENT,
    TOLD,
    UNDEFINED,
    WH_PER_KWH,
    WITHHELD,
    Asked,
    Line,
    check_series,
    exact_line,
    quotient_line,
    times,
)
from gridsecure.queries.numbers import round_half_up, round_log_ratio
from gridsecure.queries.spans import clock_minutes
from gridsecure.queries.totals import Told, add_told

_HOUR: Final = 60


def load_factor_lines(asked: Asked, _statistic: LoadFactor) -> Iterator[Line]:
    """Mean and peak power, the load factor E / (T · max P), and its inverse."""
    energy = add_told(asked.numbers)
    peak = _find_peak(asked, asked.numbers)
    mean = None if energy is None else _power(energy, minutes=sum(asked.minutes))
    at = None if peak is None else asked.numbers[peak]
    top = None if peak is None or at is None else _power(at, minutes=asked.minutes[peak])
    peak_span = asked.whole if peak is None else asked.spans[peak]
    yield quotient_line(asked.whole, "mean power", (mean, 1), KW)
    yield quotient_line(peak_span, "peak power", (top, 1), KW)
    yield quotient_line(asked.whole, "load factor", (mean, top), "")
    yield quotient_line(asked.whole, "peak to average", (top, mean), "")


def coincident_peak_lines(asked: Asked, _statistic: CoincidentPeak) -> Iterator[Line]:
    """The own cohort's share of the second one's energy, in the step of that one's peak."""
    second = asked.numbers_of(asked.second)
    peak = _find_peak(asked, second)
    span = asked.whole if peak is None else asked.spans[peak]
    own = None if peak is None else asked.numbers[peak]
    whole = None if peak is None else second[peak]
    yield quotient_line(span, "share of the peak", (times(own, 100), whole), PERCENT)


def index_lines(asked: Asked, *, base: Sequence[Told], minutes: Sequence[int]) -> Iterator[Line]:
    """Each step's mean power, or money in the same time, where the base period's is 100.

    Args:
        base: Totals of the base period's steps.
        minutes: How much time of each of them is asked about [min].
    """
    energy = add_told(base)
    mean = None if energy is None else _power(energy, minutes=sum(minutes))
    pairs = zip(asked.numbers, asked.minutes, strict=True)
    for span, (number, long) in zip(asked.spans, pairs, strict=True):
        power = None if number is None else _power(100 * number, minutes=long)
        yield quotient_line(span, "index", (power, mean), "base = 100")


def saving_lines(asked: Asked, saving: Saving) -> Iterator[Line]:
    """What event days would have used by the baseline, what they used, and the difference.

    A step's baseline is the mean of the steps at the same clock time on all baseline days.
    """
    by_start = dict(zip((start for start, _ in asked.spans), asked.numbers, strict=True))
    at: dict[tuple[str, str], list[Told]] = {}
    for start, number in by_start.items():
        at.setdefault((start[:10], start[10:16]), []).append(number)
    saved: list[Fraction | None] = []
    for span in asked.spans:
        day, clock = span[0][:10], span[0][10:16]
        if day not in saving.event:
            continue
        before = [at.get((day, clock), []) for day in saving.baseline]
        if any(len(found) != 1 for found in [at[day, clock], *before]):
            # The clock was set on one of the days: there is no such time, or two.
            yield Line(span, "saving", None, KWH, UNDEFINED)
            continue
        total, used = add_told(found[0] for found in before), by_start[span[0]]
        mean = times(total, Fraction(1, WH_PER_KWH * len(before)))
        spent = times(used, Fraction(1, WH_PER_KWH))
        saved.append(None if mean is None or spent is None else mean - spent)
        yield quotient_line(span, "baseline", (mean, 1), KWH)
        yield exact_line(span, "used", spent, KWH)
        yield quotient_line(span, "saving", (saved[-1], 1), KWH)
    told = [each for each in saved if each is not None]
    whole = sum(told, Fraction(0)) if len(told) == len(saved) else None
    yield quotient_line(asked.whole, "saving in all", (whole, 1), KWH)


def loss_lines(asked: Asked, loss: Loss) -> Iterator[Line]:
    """What was fed in less what was used, and its share of what was fed in."""
    given = check_series(asked, loss.fed_in_kwh, field="fed_in_kwh")
    for span, text, number in zip(asked.spans, given, asked.numbers, strict=True):
        fed, used = Fraction(text), times(number, Fraction(1, WH_PER_KWH))
        lost = None if used is None else fed - used
        yield exact_line(span, "loss", lost, KWH)
        yield quotient_line(
            span, "share lost", (None if lost is None else 100 * lost, fed), PERCENT
        )


def shift_lines(asked: Asked, shift: Shift, *, base: Asked | None) -> Iterator[Line]:
    """Peak over valley energy in both periods, the change, and the elasticity of substitution.

    σ = -ln(r / r₀) / ln(p / p₀), with the ratios r of energies and p of prices, of peak to valley.
    """
    now, before = (_peak_to_valley(one, shift) if one else None for one in (asked, base))
    change = 100 * (now / before - 1) if now is not None and before else None
    state = UNDEFINED if _is_told(asked) and base is not None and _is_told(base) else WITHHELD
    for quantity, number, unit in (
        ("peak to valley", now, ""),
        ("peak to valley of the base", before, ""),
        ("change", change, PERCENT),
    ):
        value = None if number is None else round_half_up(number)
        yield Line(asked.whole, quantity, value, unit, state if value is None else TOLD)
    if shift.price_ratio is not None:
        prices = Fraction(shift.price_ratio.now) / Fraction(shift.price_ratio.base)
        value = -round_log_ratio(now / before, prices) if now and before else None
        yield Line(
            asked.whole, "elasticity of substitution", value, "", state if value is None else TOLD
        )


def _is_told(asked: Asked) -> bool:
    return None not in asked.numbers


def _peak_to_valley(asked: Asked, shift: Shift) -> Fraction | None:
    """Energy of the peak's steps over that of the valley's; None if any is withheld, or none."""
    sums = []
    for windows in (shift.peak, shift.valley):
        ends = [window.minutes for window in windows]
        sums.append(
            add_told(
                number
                for (start, _), number in zip(asked.spans, asked.numbers, strict=True)
                if any(a <= clock_minutes(datetime.fromisoformat(start)) < b for a, b in ends)
            )
        )
    peak, valley = sums
    return Fraction(peak, valley) if peak is not None and valley else None


def _power(energy_wh: int, *, minutes: int) -> Fraction:
    """Mean power [kW]."""
    return Fraction(energy_wh * _HOUR, minutes * WH_PER_KWH)


def _find_peak(asked: Asked, numbers: Sequence[Told]) -> int | None:
    """The first step of the largest power; None unless all of them are told."""
    powers = [
        _power(number, minutes=minutes)
        for number, minutes in zip(numbers, asked.minutes, strict=True)
        if number is not None
    ]
    return powers.index(max(powers)) if len(powers) == len(numbers) else None
