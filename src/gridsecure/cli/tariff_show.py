"""`gridsecure tariff show`: a tariff as people read it, with how sure each figure is.

Header, hours of a month as a strip for each type of day, tiers, and the bill's lines: each with its
rate, what it is computed from, its source and, in the same row, whether that is confirmed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridsecure.billing.bill_documents import computed_where
from gridsecure.billing.rules import (
    CONTRACT,
    DEMAND,
    DISCOUNT,
    DYNAMIC,
    EXPORT,
    MINIMUM,
    OWN_DEMAND,
    POWER_FACTOR,
    QUOTA,
    RATCHET,
    REGISTER,
    SHARE,
    SPLIT,
    TIER_PART,
    TOTAL,
    LineRule,
    line_rules,
)
from gridsecure.periods import BillingPeriod
from gridsecure.statements.wording import Language, Wording
from gridsecure.tariffs.calendar import Segment, clock, day_segments, months_text
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.rows import PER_DAY, PER_KVA, RATE_DECIMALS, WindowRow
from gridsecure.tariffs.sources import UNCONFIRMED
from gridsecure.tariffs.tariff import Tariff
from gridsecure.tariffs.urdb.rows import plain

_PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    "header": ("电价表", "Tariff"),
    "id": ("编号", "id"),
    "version": ("版本", "version"),
    "edition": ("文件", "file"),
    "name": ("名称", "name"),
    "city": ("地区", "place"),
    "currency": ("货币", "currency"),
    "timezone": ("时区", "time zone"),
    "validity": ("有效期", "valid"),
    "valid_from_to": ("{first} 起，{end} 前", "from {first} to before {end}"),
    "valid_from": ("{first} 起", "from {first}"),
    "tier_convention": ("阶梯与分时的结合方式", "tiers and time of use"),
    "tier_reset": ("阶梯计算周期", "tiers count"),
    "month_reset": ("自然月", "a month"),
    "year_reset": ("自然年（自1月1日累计）", "a year, from 1 January"),
    "cycle_month": ("跨月计费周期的电价", "prices of a period in two months"),
    "last-day_month": ("按抄表月（周期末日所在月）", "those of its last day's month"),
    "part_month": ("不足整月的费用与档限", "charges and limits of a part of a month"),
    "thirtieths_part": ("每日三十分之一", "a thirtieth of the month a day"),
    "days_part": ("按天数折算", "by days"),
    "whole_part": ("按整月", "those of a month"),
    "_part": ("无规则", "no rule"),
    "vat_rate": ("价内增值税率", "tax inside prices"),
    "windows": ("分时时段 {month}", "Hours of {month}"),
    "demand_windows": ("需量时段 {month}", "Hours of demand, {month}"),
    "day_type": ("日类型", "day"),
    "hours": ("时段", "hours"),
    "tiers": ("阶梯 {month}", "Tiers of {month}"),
    "tier": ("阶梯", "tier"),
    "limit": ("上限（含）", "upper limit, inclusive"),
    "open": ("无上限", "open"),
    "rates": ("电价 {month}", "Rates of {month}"),
    "line": ("账单行", "bill line"),
    "rate": ("单价", "rate"),
    "from": ("计算依据", "computed from"),
    "source": ("来源", "source"),
    "sources": ("来源", "Sources"),
    "title": ("标题", "title"),
    "document": ("账单所列价格依据", "on bills"),
    "confidence": ("可信度", "confidence"),
    "confirmed": ("已确认", "confirmed"),
    "secondary": ("二手来源", "secondary"),
    "unconfirmed": ("未确认 UNCONFIRMED", "UNCONFIRMED"),
    "no_source": ("未注明来源", "no source given"),
    "prices": ("{count} 个时段价，{low} 至 {high}", "{count} prices from {low} to {high}"),
    "table_of": ("力调表 {standard}", "table of {standard}"),
    "at_least": ("至少 {rate}", "at least {rate}"),
    "doubts": (
        "本电价表有 {count} 处数字未确认，正式计费前必须先行确认。",
        "{count} figures of this tariff are not confirmed; confirm them before billing.",
    ),
    "listed_days": ("本月特殊日：{days}", "Special days of the month: {days}"),
}

_BASES: Final[Mapping[str, tuple[str, str]]] = {
    REGISTER: ("该时段电量", "energy of the period"),
    TOTAL: ("总电量", "all energy"),
    TIER_PART: ("{limits} 的电量", "energy {limits}"),
    SHARE: ("{limits} 的电量按时段比例分摊", "share of the period in the energy {limits}"),
    SPLIT: ("按时间先后落入 {limits} 的电量", "energy {limits}, in the order of time"),
    DEMAND: ("最大需量", "highest demand"),
    OWN_DEMAND: ("本月最大需量", "demand of the month, unless an earlier one is billed"),
    RATCHET: ("此前月份最大需量的比例", "share of an earlier month's demand"),
    DISCOUNT: (
        "每千伏安用电不少于 {hours} 千瓦时者的最大需量",
        "highest demand, from {hours} kWh/kVA",
    ),
    EXPORT: ("上网电量", "energy fed in"),
    QUOTA: ("免费额度内电量", "energy within the contract's free quota"),
    DYNAMIC: ("各时段电量", "energy of each interval"),
    POWER_FACTOR: ("功率因数与其余各行之和", "power factor, of the sum of {count} lines"),
    MINIMUM: ("其余各行之和", "what the other lines lack"),
}
_CONTRACTS: Final[Mapping[str, tuple[str, str]]] = {
    PER_KVA: ("合同容量", "contracted kVA"),
    PER_DAY: ("天数", "days of the month"),
}
_PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "ciphertext": ("密文计算", "on ciphertext"),
    "gateway": ("密文计算，该列由数据封装节点导出", "on ciphertext, column of the gateway"),
    "authority": ("密钥管理方计算", "in the key authority"),
}


@dataclass(frozen=True, slots=True)
class TariffWords:
    """The words of one language.

    Args:
        wording: The words of statements in that language, for charges, periods and units.
    """

    wording: Wording

    def say(self, key: str, **values: object) -> str:
        """Return a phrase with its values filled in."""
        return self._choose(_PHRASES[key]).format(**values)

    def place(self, computed: str) -> str:
        """Say where a line is computed."""
        return self._choose(_PLACES[computed])

    def computed_from(self, rule: LineRule) -> str:
        """Say what a line multiplies."""
        if rule.basis == CONTRACT:
            per = rule.unit.partition("/")[2]
            return self._choose(_CONTRACTS.get(per, ("按月", "each month")))
        return self._choose(_BASES[rule.basis]).format(
            limits=self._limits(rule), hours=rule.min_use_hours, count=len(rule.base)
        )

    def _limits(self, rule: LineRule) -> str:
        unit = rule.limit_unit
        low, high = plain(rule.lower), "" if rule.upper is None else plain(rule.upper)
        chinese = f"超过 {low} {unit}" if not high else f"{low} 至 {high} {unit}"
        english = f"above {low} {unit}" if not high else f"from {low} to {high} {unit}"
        if rule.reset == YEAR:
            chinese, english = f"年累计{chinese}", f"{english} of the year"
        return self._choose((chinese, english))

    def _choose(self, pair: tuple[str, str]) -> str:
        return pair[0] if self.wording.language is Language.CHINESE else pair[1]


_HALF_HOURS: Final = range(0, 1440, 30)
_SYMBOLS: Final = {
    "sharp": ("尖", "S"),
    "peak": ("峰", "P"),
    "flat": ("平", "F"),
    "valley": ("谷", "V"),
    "deep-valley": ("深", "D"),
}
_SPARE: Final = ("ＡＢＣＥＧＨＩＪＫＬＭＮ", "ABCEGHIJKLMN")
_STYLES: Final = ("bold red", "yellow", "green", "cyan", "blue", "magenta")
_MIXED: Final = ("※", "*")


@dataclass(frozen=True, slots=True)
class TariffPage:
    """A tariff, the month of it that is shown, and the words."""

    tariff: Tariff
    period: BillingPeriod
    words: TariffWords

    def mark(self, source_id: str | None) -> Text:
        """A source with how sure it is; what is not confirmed stands out."""
        if source_id is None:
            return Text(self.words.say("no_source"), style="dim")
        source = next(s for s in self.tariff.sources if s.source_id == source_id)
        doubted = source.confidence == UNCONFIRMED
        words = self.words.say(source.confidence)
        return Text(f"{words}  {source_id}", style="bold red" if doubted else "")

    def figure(self, name: str) -> str | None:
        """The source of a figure that is no rate."""
        found = (f.source for f in self.tariff.figure_sources if f.figure == name)
        return next(found, None)


def show_tariff(
    tariff: Tariff, *, period: BillingPeriod, language: Language, console: Console
) -> None:
    """Print a tariff.

    Args:
        period: The month whose hours, tiers and lines are shown.
        language: Chinese or English.
        console: Where to.

    Raises:
        InputError: The tariff does not hold in the month, as `line_rules`.
    """
    words = TariffWords(Wording(language, tariff.currency))
    shown = TariffPage(tariff, period, words)
    rules = line_rules(tariff, period)
    parts: list[RenderableType] = [_header(shown)]
    for name, windows in (("windows", tariff.windows), ("demand_windows", tariff.demand_windows)):
        if windows:
            parts.append(_hours(shown, name, windows))
    if tariff.tiers:
        parts.append(_tiers(shown))
    parts += [_rates(shown, rules), _sources(shown)]
    doubts = {s.source_id for s in tariff.sources if s.confidence == UNCONFIRMED}
    count = sum(source in doubts for _, source in tariff.named_sources)
    if count:
        parts.append(Text(words.say("doubts", count=count), style="bold red"))
    console.print(Group(*parts))


def _header(shown: TariffPage) -> Table:
    tariff, say = shown.tariff, shown.words.say
    table = Table(title=say("header"), title_justify="left", show_header=False)
    for _ in range(3):
        table.add_column()
    key = "valid_from" if tariff.valid_to is None else "valid_from_to"
    rows = {
        "id": tariff.tariff_id,
        "version": tariff.version,
        "name": f"{tariff.name_zh}\n{tariff.name_en}",
        "city": tariff.city,
        "validity": say(key, first=tariff.valid_from, end=tariff.valid_to),
        "timezone": tariff.timezone,
        "currency": tariff.currency,
    }
    for name, value in rows.items():
        table.add_row(say(name), Text(value), "")
    sourced = {
        "tier_convention": tariff.tier_convention,
        "tier_reset": say(f"{tariff.tier_reset}_reset") if tariff.tiers else None,
        "cycle_month": say(f"{tariff.cycle_month}_month") if tariff.cycle_month else None,
        "vat_rate": None if tariff.vat_rate is None else plain(tariff.vat_rate),
    }
    if tariff.part_month is not None:
        said = (tariff.part_month.charges, tariff.part_month.limits)
        text = " / ".join(say(f"{one}_part") for one in said)
        table.add_row(say("part_month"), Text(text), shown.mark(tariff.part_month.source))
    for name, given in sourced.items():
        if given is not None:
            by_default = name == "tier_reset" and tariff.tier_reset == "month"
            mark = Text() if by_default else shown.mark(shown.figure(name))
            table.add_row(say(name), Text(given), mark)
    return table


def _hours(shown: TariffPage, name: str, windows: Sequence[WindowRow]) -> Table:
    """The 24 hours of each type of day, as a strip and in words."""
    say, month = shown.words.say, shown.period.start.month
    heading = Text(say(name, month=f"{shown.period.start:%Y-%m}") + "   ")
    heading.append_text(shown.mark(shown.figure(name)))
    table = Table(title=heading, title_justify="left", show_lines=True)
    table.add_column(say("day_type"), no_wrap=True)
    table.add_column("".join(f"{hour:<4}" for hour in range(0, 24, 2)), no_wrap=True, min_width=48)
    table.add_column(say("hours"))
    days: dict[tuple[Segment, ...], list[str]] = {}
    for day_type in shown.tariff.day_types:
        segments = day_segments(windows, month=month, day_type=day_type)
        days.setdefault(segments, []).append(day_type)
    labels = tuple(dict.fromkeys(row.tou_period for row in windows))
    for segments, types in days.items():
        strip = _strip(segments, labels, chinese=_is_chinese(shown))
        listed = (_listed(shown, segments, label) for label in labels)
        hours = "\n".join(text for text in listed if text)
        table.add_row(Text(", ".join(types)), strip, Text(hours))
    special = [
        f"{row.day} {row.day_type}"
        for row in shown.tariff.days
        if (row.day.year, row.day.month) == (shown.period.start.year, month)
    ]
    if special:
        table.caption = say("listed_days", days=", ".join(special))
    return table


def _listed(shown: TariffPage, segments: Sequence[Segment], label: str) -> str:
    """The hours of one period in a day; empty where the day has none."""
    hours = [f"{clock(a)}-{clock(b)}" for a, b, name in segments if name == label]
    return f"{_named(shown, label)} {', '.join(hours)}" if hours else ""


def _strip(segments: Sequence[Segment], labels: Sequence[str], *, chinese: bool) -> Text:
    """Two columns an hour: a letter each half, or one Chinese character."""
    spare = iter(zip(*_SPARE, strict=True))
    symbols = {label: _SYMBOLS.get(label) or next(spare, _MIXED) for label in labels}
    styles = {label: _STYLES[number % len(_STYLES)] for number, label in enumerate(labels)}
    strip = Text()
    step = 60 if chinese else 30
    for begin in _HALF_HOURS[:: step // 30]:
        inside = {label for a, b, label in segments if a < begin + step and b > begin}
        label = next(iter(inside))
        pair = symbols[label] if len(inside) == 1 else _MIXED
        strip.append(pair[0] if chinese else pair[1], styles[label] if len(inside) == 1 else "")
    return strip


def _is_chinese(shown: TariffPage) -> bool:
    return shown.words.wording.language is Language.CHINESE


def _named(shown: TariffPage, label: str) -> str:
    """A period in words, and its letter where the strip shows one."""
    name = shown.words.wording.tou_period(label)
    symbol = _SYMBOLS.get(label)
    return name if _is_chinese(shown) or symbol is None else f"{name} ({symbol[1]})"


def _tiers(shown: TariffPage) -> Table:
    say, month = shown.words.say, shown.period.start.month
    heading = Text(say("tiers", month=f"{shown.period.start:%Y-%m}") + "   ")
    heading.append_text(shown.mark(shown.figure("tiers")))
    table = Table(title=heading, title_justify="left", min_width=heading.cell_len)
    table.add_column(say("tier"), justify="right")
    table.add_column(say("limit"), justify="right")
    own = [tier for tier in shown.tariff.tiers if month in tier.months]
    for tier in sorted(own, key=lambda tier: (tier.tou_period or "", tier.tier)):
        period = shown.words.wording.tou_period(tier.tou_period)
        limit = say("open")
        if tier.upper_limit is not None:
            limit = f"{plain(tier.upper_limit)} {tier.unit}"
        table.add_row(Text(f"{period} {tier.tier}".strip()), Text(limit))
    return table


def _rates(shown: TariffPage, rules: Sequence[LineRule]) -> Table:
    say, wording = shown.words.say, shown.words.wording
    title = say("rates", month=f"{shown.period.start:%Y-%m}")
    table = Table(title=title, title_justify="left")
    table.add_column(say("line"))
    table.add_column(say("rate"), justify="right")
    table.add_column(say("from"))
    table.add_column(f"{say('confidence')}, {say('source')}")
    for rule in rules:
        names = (wording.charge(rule.charge), wording.tou_period(rule.tou_period))
        line = " ".join(part for part in (*names, wording.tier(rule.tier)) if part)
        computed = shown.words.computed_from(rule)
        if rule.basis != CONTRACT:  # a contract is public, and nothing is computed on it
            computed += f"; {shown.words.place(computed_where(rule))}"
        table.add_row(
            Text(line + _season(shown, rule)),
            Text(_rate(shown, rule)),
            Text(computed),
            shown.mark(rule.source),
        )
    return table


def _rate(shown: TariffPage, rule: LineRule) -> str:
    say = shown.words.say
    if rule.basis == DYNAMIC:
        low, high = (_price(found(rule.prices)) for found in (min, max))
        return say("prices", count=len(rule.prices), low=low, high=high) + f"\n{rule.unit}"
    if rule.basis == POWER_FACTOR:
        return say("table_of", standard=rule.standard)
    text = f"{plain(rule.rate)} {rule.unit}"
    return say("at_least", rate=text) if rule.basis == MINIMUM else text


def _price(units: int) -> str:
    whole, part = divmod(abs(units), 10**RATE_DECIMALS)
    digits = f"{whole}.{part:0{RATE_DECIMALS}d}".rstrip("0").rstrip(".")
    return f"-{digits}" if units < 0 else digits


def _season(shown: TariffPage, rule: LineRule) -> str:
    """The months of a rate that does not hold all year."""
    for rate in shown.tariff.rates:
        same = (rate.charge, rate.tou_period, rate.tier) == (
            rule.charge, rule.tou_period, rule.tier,
        )  # fmt: skip
        if same and shown.period.start.month in rate.months:
            months = months_text(rate.months)
            return f" ({months})" if months else ""
    return ""


def _sources(shown: TariffPage) -> Table:
    say = shown.words.say
    table = Table(title=say("sources"), title_justify="left", show_lines=True)
    table.add_column(say("id"), no_wrap=True)
    table.add_column(say("confidence"))
    table.add_column(say("title"))
    for source in shown.tariff.sources:
        style = "bold red" if source.confidence == UNCONFIRMED else ""
        confidence = Text(say(source.confidence), style=style)
        document = f"\n{say('document')}: {source.document}" if source.document else ""
        table.add_row(Text(source.source_id), confidence, Text(source.title + document))
    return table
