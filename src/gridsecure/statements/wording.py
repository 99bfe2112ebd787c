"""Every phrase of a statement in Chinese and English.

Terms follow docs/nomenclature.md. Words of the bill that have no phrase here (a charge or a period
of another region) are shown as the tariff spells them.

Length: one table of phrases, read as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from gridsecure.statements.figures import MINUS
from gridsecure.statements.plain_text import make_visible


class Language(StrEnum):
    """The languages a statement is written in."""

    CHINESE = "zh"
    ENGLISH = "en"

    @property
    def tag(self) -> str:
        """The language tag for documents (BCP 47)."""
        return "zh-CN" if self is Language.CHINESE else "en"


PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("电费账单", "Electricity statement"),
    "title_corrected": ("电费账单（更正）", "Corrected electricity statement"),
    "motto": (
        "账单由加密读数计算得出，精确到{unit}。",
        "Computed on encrypted meter readings, exact to the {unit}.",
    ),
    "motto_plain": (
        "逐行列出计算过程，精确到{unit}。",
        "Every line with its calculation, exact to the {unit}.",
    ),
    "issuer": ("出具方", "Issued by"),
    "issuer_utility": ("供电企业", "Electricity utility"),
    "meter_point": ("计量点", "Meter point"),
    "billing_period": ("计费周期", "Billing period"),
    "served_days": ("您的用电日期", "Your days in it"),
    "period_dates": ("{first}至{last}（含）", "{first} to {last} (inclusive)"),
    "tariff": ("电价表", "Tariff"),
    "tariff_version": ("电价表版本", "Tariff version"),
    "tariff_version_of": ("{version}（{tariff_id}）", "{version} ({tariff_id})"),
    "bill_version": ("账单版本", "Bill version"),
    "bill_version_of": ("第 {version} 版", "version {version}"),
    "replaces": (
        "第 {new} 版，替代已作废的第 {old} 版",
        "version {new}; replaces version {old}, which is cancelled",
    ),
    "note_receipt": (
        "随本账单附有凭证：可用电表读数离线核对本账单所依据的读数（gridsecure receipt verify）。",
        "A receipt comes with this statement. With the meter's readings it shows offline what the "
        "bill was made of (gridsecure receipt verify).",
    ),
    "note_served": (
        "您在该计费周期内只有部分日期持有此计量点，账单只计入这些日期的电量。",
        "You held this meter point for a part of the billing period. The bill counts the energy of "
        "your days alone.",
    ),
    "note_part_month": (
        "电价文件未载明不足整月时档位限额如何折算：本账单采用整月限额。",
        "The tariff's publisher does not say what limits are for a part of a month. This bill has "
        "those of a whole one.",
    ),
    "code": ("出具方签名", "Signed by the issuer"),
    "code_note": (
        "扫描二维码，可得到本账单的计量点、周期、版本、合计和出具方的 SM2 签名，"
        "用出具方的公钥即可离线核对（gridsecure my code）。",
        "The code holds meter point, period, version and total of this bill under the issuer's SM2 "
        "signature. The issuer's public key checks it offline (gridsecure my code).",
    ),
    "not_stated": ("账单数据未载明", "not stated in the bill"),
    # the total
    "total": ("电费合计", "Total"),
    "total_credit": ("合计（应退给您）", "Total (in your favour)"),
    "total_note": (
        "合计为各行金额之和；每行金额已四舍五入到{unit}。舍入前的合计为 {exact} {currency}。",
        "The total is the sum of the line amounts, each rounded half-up to the {unit}. Before "
        "rounding they add up to {currency} {exact}.",
    ),
    # lines
    "lines": ("电费明细", "How the total is made up"),
    "charge": ("电费项目", "Charge"),
    "tou_period": ("时段", "Period"),
    "tier": ("阶梯", "Tier"),
    "quantity": ("数量", "Quantity"),
    "rate": ("单价（{currency}）", "Rate ({currency})"),
    "amount": ("金额（{currency}）", "Amount ({currency})"),
    "tier_of": ("第{number}阶梯", "tier {number}"),
    "arithmetic": ("计算", "Calculation"),
    "source": ("价格依据", "Price document"),
    "computed": ("计算方式", "Computed"),
    "computed_ciphertext": ("在加密读数上计算", "on encrypted readings"),
    "computed_gateway": (
        "在密文上计算，该列由数据封装节点导出",
        "on ciphertext, from a column derived at the gateway",
    ),
    "computed_contract": (
        "按合同与日历计算，不涉及读数",
        "from contract and calendar, without readings",
    ),
    "computed_authority": (
        "由密钥管理方按解密后的账单行计算",
        "in the key authority, from the decrypted lines",
    ),
    # arithmetic
    "colon": ("：", ": "),
    "aside": ("（{text}）", " ({text})"),
    "rounded": ("四舍五入到{unit}", "half-up to the {unit}"),
    "shown_cut": (
        "电量按比例分摊，此处截至瓦时；金额按完整的分数计算",
        "energy shared out in proportion, cut to the Wh here; the amount is that of the full "
        "fraction",
    ),
    "per_interval": (
        "逐时段电价：各时段电量 × 该时段单价之和",
        "price of each interval: sum of every interval's energy × its price",
    ),
    "base": ("计费基数", "base"),
    "power_factor_of": ("功率因数 {value}", "power factor {value}"),
    "top_up": (
        "最低电费 {minimum} − 其余各行 {others}",
        "minimum {minimum} − all other lines {others}",
    ),
    "top_up_rounded": (
        "{exact}；按舍入后的各行：{rounded}",
        "{exact}; over the rounded lines: {rounded}",
    ),
    "top_up_rounding": (
        "舍入前其余各行已达到最低电费；舍入后合计 {others}，补足 {amount}",
        "before rounding the other lines reach the minimum; rounded they come to {others}, which "
        "{amount} makes up",
    ),
    "top_up_none": (
        "其余各行已达到最低电费，不补收",
        "the other lines reach the minimum; nothing is added",
    ),
    "fixed_amount": ("固定金额", "fixed amount"),
    # value-added tax
    "vat": ("增值税", "Value-added tax"),
    "vat_net": ("不含税金额", "Net amount"),
    "vat_tax": ("增值税额（{percent}%）", "Value-added tax ({percent}%)"),
    "vat_gross": ("价税合计", "Total with tax"),
    "vat_note": (
        "价格均含税。{total} ÷ {divisor}，四舍五入到{unit} = {net}；"
        "税额 {total} − {net_taken} = {tax}。",
        "Every price includes the tax. {total} ÷ {divisor}, half-up to the {unit} = {net}; tax "
        "{total} − {net_taken} = {tax}.",
    ),
    # price build-up
    "build_up": ("每千瓦时电价的构成", "What makes up the price of a kWh"),
    "build_up_component": ("价格组成（{unit}）", "Component ({unit})"),
    "build_up_sum": ("每千瓦时电价", "Price per kWh"),
    "build_up_note": (
        "同一千瓦时由多个价格组成部分计价；各部分单价相加即为该时段或阶梯的电价。",
        "Several components price the same kWh; their rates add up to its price in each period or "
        "tier.",
    ),
    "all_energy": ("全部电量", "all energy"),
    # corrections
    "correction": ("更正与退补", "Correction"),
    "correction_note": (
        "第 {old} 版账单已作废，由本账单（第 {new} 版）替代。差额如下，逐项退补。",
        "Version {old} is cancelled and replaced by this bill, version {new}. The differences are "
        "refunded or charged as follows.",
    ),
    "correction_only": ("本账单含退补。", "This bill contains refunds or supplements."),
    "old_amount": ("第 {version} 版（作废）", "Version {version} (cancelled)"),
    "new_amount": ("第 {version} 版（本账单）", "Version {version} (this bill)"),
    "this_bill": ("本账单", "This bill"),
    "difference": ("退补金额", "Difference"),
    "direction": ("退补方向", "Direction"),
    "to_pay": ("应补缴", "to pay"),
    "refunded": ("退还给您", "refunded to you"),
    "change_to_pay": ("应补缴", "To pay in addition"),
    "change_refunded": ("退还给您", "Refunded to you"),
    "change_unchanged": ("无变化", "Unchanged"),
    "unchanged": ("无变化", "unchanged"),
    "adjustment_total": ("退补合计", "Difference in all"),
    # sources
    "sources": ("价格依据", "Where the prices come from"),
    # how it was computed
    "notes": ("说明", "Notes"),
    "note_ciphertext": (
        "在加密读数上计算：电量加密后才离开数据封装节点，计算平台只见密文。",
        "On encrypted readings: energy left the gateway encrypted, and the compute platform saw "
        "ciphertext only.",
    ),
    "note_gateway": (
        "由数据封装节点导出：供电方一侧先从读数得出该量（如最大需量、功率因数），加密后再计费。",
        "Derived at the gateway: the quantity (such as the maximum demand or the power factor) was "
        "taken from the readings on the utility's side, then encrypted and billed.",
    ),
    "note_contract": (
        "按合同与日历计算：容量、月数和天数是公开的，不涉及读数。",
        "From contract and calendar: capacity, months and days are public, and no reading is used.",
    ),
    "note_authority": (
        "由密钥管理方计算：该行取决于其余各行的结果，故在解密后算出。",
        "In the key authority: the line depends on the result of the other lines, so it was "
        "computed once they were decrypted.",
    ),
    "note_base": (
        "计费基数：该项调整所涉各行舍入前金额之和。",
        "Base: the sum, before rounding, of the lines that the adjustment applies to.",
    ),
    "note_rounding": (
        "按四舍五入精确到{unit}；退费同理。",
        "Half-up: half a {unit} or more is rounded away from zero, for refunds as for charges.",
    ),
    "page_of": ("第 {page} 页，共 {pages} 页", "Page {page} of {pages}"),
    # what a bill says beside its figures
    "notice_readings-missing": (
        "本月 {intervals} 个 {minutes} 分钟时段中有 {missing} 个没有读数；"
        "按已有读数计费，未作估算。",
        "{missing} of {intervals} intervals of {minutes} minutes have no reading; billed as read, "
        "nothing estimated.",
    ),
    "notice_readings-estimated": (
        "其中 {estimated} 个时段按估算读数计费。",
        "{estimated} intervals are billed by estimated readings.",
    ),
    "notice_readings-superseded": (
        "有 {superseded} 个读数已由质量更好的读数替代。",
        "{superseded} readings were replaced by readings of better quality.",
    ),
    "notice_power-values": (
        "数值按各时段的平均功率计算电量。",
        "The values are taken as average powers of their intervals.",
    ),
    "notice_passed-over-reactive-fed-in": (
        "文件中有 {count} 个不用于计费的数值：反向无功电量。",
        "The file has {count} values that no bill counts: reactive energy fed in.",
    ),
    "notice_passed-over-reactive-part": (
        "文件中有 {count} 个不用于计费的数值：分象限、分时段或没有对应电量的无功电量。",
        "The file has {count} values that no bill counts: "
        "reactive energy of a quadrant, of hours, or without a total of energy.",
    ),
    "notice_passed-over-by-hours": (
        "文件中有 {count} 个不用于计费的数值：没有总电量的分时段电量，或分时段上网电量。",
        "The file has {count} values that no bill counts: "
        "energy by hours that no total stands beside, or fed in by hours.",
    ),
    "notice_passed-over-combined-energy": (
        "文件中有 {count} 个不用于计费的数值：组合有功电量。",
        "The file has {count} values that no bill counts: combined energy of both directions.",
    ),
    "notice_passed-over-demand": (
        "文件中有 {count} 个不用于计费的数值：需量。",
        "The file has {count} values that no bill counts: demand.",
    ),
    "notice_passed-over-register-faces": (
        "文件中有 {count} 个不用于计费的数值：时段电量之外的示值。",
        "The file has {count} values that no bill counts: faces of registers beside intervals.",
    ),
    "notice_passed-over-daily-values": (
        "文件中有 {count} 个不用于计费的数值：时段电量之外的日电量。",
        "The file has {count} values that no bill counts: energies of days beside intervals.",
    ),
    "notice_passed-over-other-quantity": (
        "文件中有 {count} 个不用于计费的数值：其他量，例如功率、电压、净电量或费用。",
        "The file has {count} values that no bill counts: "
        "other quantities, such as power, voltage, net energy or cost.",
    ),
    "notice_readings-future": (
        "有 {future} 个读数的时段尚未结束；本结果仅为试算。",
        "{future} readings end in the future; this is a what-if, not a bill.",
    ),
    "notice_days-charged": (
        "按日收取的费用按全月 {days} 天计算，读数覆盖 {days_read} 天：此项费用因供电而收取，"
        "缺少读数并不中断供电。",
        "All {days} days of the month are charged, though readings are of {days_read}: a charge "
        "per day is owed for supply, which missing readings do not interrupt.",
    ),
    "notice_clock-as-written": (
        "电价表未载明时区：时段按读数自身的钟点计算，并假定钟点不调整。",
        "The tariff names no time zone: its hours are those of the readings' own clock, which is "
        "taken never to change.",
    ),
    "notice_clock-of-offset": (
        "电价表未载明时区：时段按读数所载的时差计算（{timezone}）。",
        "The tariff names no time zone: its hours are those of the offset that the readings state "
        "({timezone}).",
    ),
    "notice_large-assumed": (
        "某月用电超过 {kwh} 千瓦时，按大用户计费。",
        "Billed as a large customer, since a month took more than {kwh} kWh.",
    ),
    "notice_stamps-at-end": (
        "读数的时间视为各时段的结束时间。",
        "The times of the readings are taken as the ends of their intervals.",
    ),
    "notice_register-values": (
        "数值视为累计示值，按相邻示值之差计费。",
        "The values are taken as faces of a cumulative register, and billed as the differences "
        "between them.",
    ),
    "notice_year-to-date-given": (
        "年阶梯自 1 月 1 日起已用 {kwh} 千瓦时起算（由计费人员给定）。",
        "Tiers of the year begin with {kwh} kWh used since 1 January, as given.",
    ),
    "notice_what-if": (
        "试算，不是账单：按电价表 {tariff} 计算，合同约定为 {contract}。",
        "A what-if by tariff {tariff}; the contract names {contract}. This is no bill.",
    ),
}

_CHARGES: Final[Mapping[str, tuple[str, str]]] = {
    "energy": ("电度电费", "Energy"),
    "tier-adder": ("阶梯加价", "Tier surcharge"),
    "capacity": ("容量电费", "Capacity"),
    "demand": ("需量电费", "Maximum demand"),
    "demand-ratchet": ("需量电费（按前期最大需量）", "Maximum demand of earlier months"),
    "demand-discount": ("需量电费折扣", "Demand discount"),
    "standing": ("基本电费", "Standing charge"),
    "minimum": ("最低电费补足", "Top-up to the minimum"),
    "feed-in": ("上网电费", "Feed-in credit"),
    "free-quota": ("免费电量", "Free quota"),
    "government-funds": ("政府性基金及附加", "Government funds"),
    "agency-purchase": ("代理购电", "Agency purchase"),
    "market-purchase": ("市场化购电", "Market purchase"),
    "line-loss": ("上网环节线损", "Line loss"),
    "transmission-distribution": ("输配电费", "Transmission and distribution"),
    "system-operation": ("系统运行费", "System operation"),
    "tou-difference": ("峰谷浮动差价", "Time-of-use difference"),
    "agency-fee": ("代理服务费", "Agency fee"),
    "power-factor": ("功率因数调整电费", "Power-factor adjustment"),
}

_TOU_PERIODS: Final[Mapping[str, tuple[str, str]]] = {
    "sharp": ("尖", "sharp"),
    "peak": ("峰", "peak"),
    "flat": ("平", "flat"),
    "valley": ("谷", "valley"),
    "deep valley": ("深谷", "deep valley"),
}

# A unit after a number, in Chinese and English (one, many), and after "per".
_UNITS: Final[Mapping[str, tuple[str, str, str]]] = {
    "kWh": ("千瓦时", "kWh", "kWh"),
    "kVA": ("千伏安", "kVA", "kVA"),
    "kW": ("千瓦", "kW", "kW"),
    "month": ("个月", "month", "months"),
    "day": ("天", "day", "days"),
    "%": ("%", "%", "%"),
}
_PER_UNITS: Final[Mapping[str, tuple[str, str]]] = {
    "month": ("月", "month"),
}

# How a currency is called beside an amount, and its hundredth.
_CURRENCIES: Final[Mapping[str, tuple[tuple[str, str], tuple[str, str]]]] = {
    "CNY": (("元", "CNY"), ("分", "fen")),
    "USD": (("美元", "USD"), ("美分", "cent")),
    "EUR": (("欧元", "EUR"), ("欧分", "cent")),
    "GBP": (("英镑", "GBP"), ("便士", "penny")),
}

_CHINESE_NUMBERS: Final = "零一二三四五六七八九十"
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Wording:
    """What a statement says in one language and one currency."""

    language: Language
    currency_code: str = "CNY"

    def say(self, key: str, **values: str) -> str:
        """Return a phrase with its values filled in."""
        return self._choose(PHRASES[key]).format(**values)

    def notice(self, code: str, values: Mapping[str, str]) -> str:
        """Say a notice of the bill; empty where its code or one of its values is not known here."""
        phrase = PHRASES.get(f"notice_{code}")
        if phrase is None:
            return ""
        try:
            return self._choose(phrase).format_map(values)
        except (KeyError, ValueError):
            return ""

    @property
    def currency(self) -> str:
        """How the currency is called."""
        return self._choose(_CURRENCIES[self.currency_code][0])

    @property
    def hundredth(self) -> str:
        """How the currency's hundredth is called, to which lines are rounded."""
        return self._choose(_CURRENCIES[self.currency_code][1])

    def charge(self, charge: str) -> str:
        """Name a charge; one that has no phrase is shown as it is."""
        return self._word(_CHARGES, charge)

    def tou_period(self, label: str | None) -> str:
        """Name a period of a time of use; labels of other regions are shown as they are."""
        if label is None:
            return ""
        plain = label.replace("-", " ").replace("_", " ").strip().lower()
        return self._word(_TOU_PERIODS, plain if plain in _TOU_PERIODS else label)

    def tier(self, tier: int | None) -> str:
        """Name a tier."""
        if tier is None:
            return ""
        number = str(tier)
        if self.language is Language.CHINESE and 0 < tier < len(_CHINESE_NUMBERS):
            number = _CHINESE_NUMBERS[tier]
        return self.say("tier_of", number=number)

    def counted(self, figure: str, unit: str) -> str:
        """Write a quantity with its unit; a unit that has no word is shown as it is."""
        chinese, one, many = _UNITS.get(unit, (make_visible(unit),) * 3)
        word = self._choose((chinese, one if figure in {"1", f"{MINUS}1"} else many))
        return f"{figure}%" if unit == "%" else f"{figure} {word}".rstrip()

    def per(self, unit: str) -> str:
        """Write the unit of a rate, such as CNY/kWh."""
        chinese, one, _ = _UNITS.get(unit, (make_visible(unit),) * 3)
        word = self._choose(_PER_UNITS.get(unit, (chinese, one)))
        return f"{self.currency}/{word}" if word else self.currency

    def amount(self, figure: str) -> str:
        """Put the currency beside a figure, on the side where the language has it."""
        if self.language is Language.CHINESE:
            return f"{figure} {self.currency}"
        return f"{self.currency} {figure}"

    def date(self, moment: datetime) -> str:
        """Write a local date, digits by hand so that no locale of the machine matters."""
        if self.language is Language.CHINESE:
            return f"{moment.year}年{moment.month}月{moment.day}日"
        return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"

    def _choose(self, pair: tuple[str, str]) -> str:
        return pair[0] if self.language is Language.CHINESE else pair[1]

    def _word(self, table: Mapping[str, tuple[str, str]], word: str) -> str:
        return self._choose(table[word]) if word in table else make_visible(word)
