"""What tables of tariffs say in Chinese and English, beyond the words of statements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

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
)
from gridsecure.statements.wording import Language, Wording
from gridsecure.tariffs.consistency import YEAR
from gridsecure.tariffs.rows import PER_DAY, PER_KVA
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
