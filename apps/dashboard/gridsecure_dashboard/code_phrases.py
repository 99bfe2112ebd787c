"""Words for the services' codes in Chinese and English: reasons, rules, stages, roles, errors.

A code that has no words here is shown as it is. Codes of errors are those that the dashboard's own
process raises; a service's refusal brings its own sentence.

Length: one table of phrases, read as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Terms follow docs/nomenclature.md.
CODE_PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    # roles
    "role_billing": ("电费员", "billing"),
    "role_operator": ("运营员", "operator"),
    "role_analyst": ("分析员", "analyst"),
    "role_regulator": ("监管员", "regulator"),
    "role_custodian": ("保管员", "custodian"),
    "role_data-owner": ("数据所有者", "data owner"),
    "role_privacy-officer": ("隐私官", "privacy officer"),
    # what is released for
    "purpose_billing": ("电费结算", "Billing"),
    "purpose_operations": ("电网运行", "Operations"),
    "purpose_tariff-design": ("电价设计", "Tariff design"),
    "purpose_research": ("研究查询", "Research"),
    # stages of a month at the gateway
    "stage_read": ("读取", "Read"),
    "stage_validate": ("校验", "Validate"),
    "stage_admit": ("核对合同", "Admit"),
    "stage_enrol": ("登记", "Enrol"),
    "stage_rosters": ("编排名册", "Make rosters"),
    "stage_encrypt": ("加密", "Encrypt"),
    "stage_upload": ("上传", "Upload"),
    "stage_compare": ("比对更正", "Compare"),
    "stage_done": ("完成", "Done"),
    # why a meter point is not billed
    "excluded_no-contract": ("有读数，无合同", "Readings, but no contract"),
    "excluded_no-readings": ("有合同，无读数", "A contract, but no readings"),
    "excluded_two-intervals": ("同一时间有两种时段长度", "Two interval lengths for one time"),
    "excluded_net-metered": (
        "读数为负（上网电量应另列）",
        "Readings below zero; feed-in goes to export_kwh",
    ),
    "excluded_quarantined": ("通过校验的读数过少", "Too few readings passed validation"),
    "excluded_tariff-unknown": ("没有合同所列的电价表", "No tariff file for its contract"),
    "excluded_tariff-not-valid": ("电价表在该月无效", "Its tariff does not cover the month"),
    "excluded_cycle-month": (
        "计费周期跨两个月，而电价表未说明按哪个月计价",
        "Its period lies in two months that its tariff prices apart",
    ),
    "excluded_register-missing": (
        "缺少电价表所需的无功或上网电量",
        "Reactive energy or feed-in is missing",
    ),
    "excluded_register-hours": (
        "电价表对同一费率时段内的时间分别计价，或需要分时段电量",
        "Its registers count hours together that its tariff prices apart",
    ),
    "excluded_books.tariff": (
        "更正后的台账另列电价表",
        "Corrected books name another tariff than it was billed by",
    ),
    "excluded_books.large": (
        "更正后的台账另列阶梯计法",
        "Corrected books count its tiers in another way",
    ),
    "excluded_books.changed": (
        "合同在该月内有变更",
        "Its contract changes within the month",
    ),
    "excluded_books.twice": (
        "同一户在该月内迁出后又迁入",
        "Its account moved out and in again within the month",
    ),
    "excluded_held": (
        "校验规则暂缓出账，待人工核实",
        "A validation rule holds its bill until somebody looked at it",
    ),
    "excluded_part-month": (
        "只用电部分月份，而电价中有不可按日分摊的费用",
        "Held for part of the month, and a charge has no rule for that",
    ),
    "excluded_interval-length": (
        "读数时段（或仅有日电量的一天）跨越两种电价，或长于需量周期",
        "An interval or a day spans two prices, or is too long for demand",
    ),
    "excluded_year-to-date": (
        "按年计算阶梯，但此前月份未在本节点处理",
        "Yearly tiers, but an earlier month is missing",
    ),
    "excluded_tier-limit": ("阶梯限额无法计算", "A tier limit cannot be computed"),
    "excluded_tier-energy": ("电量超出阶梯计费的上限", "More energy than a tiered bill allows"),
    "excluded_register-energy": ("单项电量超出上限", "More energy than a register allows"),
    "excluded_interval-energy": (
        "时段电量超出该类用户上限",
        "An interval exceeds the bound of its class",
    ),
    "excluded_books.zone": (
        "供电区域与台账不符",
        "The utility's books name another zone",
    ),
    "excluded_books.class": (
        "用户类别与台账不符",
        "The utility's books name another customer class",
    ),
    "excluded_identity.unknown-account": (
        "台账中此数据封装节点下没有该计量点",
        "Not in the utility's books under this gateway",
    ),
    "excluded_identity.revoked": ("假名已撤销", "Its pseudonym was revoked"),
    "excluded_identity.cloned": (
        "假名被另一终端登记，已报警",
        "Registered by another agent; alarm raised",
    ),
    "excluded_identity.other-key": ("登记所用密钥不同", "Registered under another secret"),
    "excluded_identity.other-days": (
        "台账中该计量点有几日归其他数据封装节点",
        "Another gateway's on some of its days, by the utility's books",
    ),
    "excluded_identity.refused": ("身份机构拒绝登记", "Refused by the identity authority"),
    # findings of validation
    "rule_unknown-meter-point": ("未知计量点", "Unknown meter point"),
    "rule_quality-flag": ("未知质量标志", "Unknown quality flag"),
    "rule_missing": ("缺失读数", "No reading in the row"),
    "rule_future": ("时段尚未结束", "Ends in the future"),
    "rule_outside-period": ("不在计费周期内", "Outside the billing period"),
    "rule_misaligned": ("起始时间不在时段网格上", "Start off the interval grid"),
    "rule_negative": ("电量为负", "Negative energy"),
    "rule_net-metered": ("同一计量点有负读数", "Other readings are negative"),
    "rule_interval-size": ("时段长度无法确定", "Interval length not known"),
    "rule_interval-change": ("时段长度改变", "Interval length changes"),
    "rule_late-interval": ("迟到读数与原时段长度不符", "Late readings in other intervals"),
    "rule_two-intervals": ("同一时间有两种时段长度", "Two interval lengths"),
    "rule_compared": ("日电量，仅用于核对", "A day's value beside intervals, compared with them"),
    "rule_superseded": ("已由质量更好的读数替代", "Replaced by a better reading"),
    "rule_duplicate": ("重复读数", "Repeated reading"),
    "rule_duplicate-conflict": ("同一时段读数不一致", "Readings disagree"),
    "rule_export-missing": ("缺少上网电量", "Energy fed in that was not read"),
    "rule_reactive-missing": ("缺少无功电量", "Reactive energy that was not read"),
    "rule_register": ("与表码示值不符", "Other than the register counted"),
    "rule_daily-total": ("与日电量不符", "Other than the day's total"),
    "rule_sum-check": ("与下级计量点之和不符", "Other than the meter points behind it"),
    "rule_not-compared": ("总量未核对", "A total that was not compared"),
    "rule_spike": ("远高于自身平均值", "Far above its own mean"),
    "rule_zero-consumption": ("全月无用电", "No energy at all"),
    "rule_no-readings": ("没有可用读数", "No reading accepted"),
    "rule_gap": ("读数缺口", "Gap"),
    "rule_face-conflict": ("同一时间的示数不一致", "Register faces disagree"),
    "rule_face-off-grid": ("示数时间不在常规时刻", "Register face at an odd time"),
    "rule_face-out-of-line": ("示数与前后不符", "Register face out of line"),
    "rule_zero-face": ("示数为零", "Register face of zero"),
    "rule_register-exchange": ("换表或示数归零", "Register exchanged or rolled over"),
    "rule_undeclared-exchange": ("电表已更换但未登记", "Meter exchanged, not in the books"),
    "rule_register-gap": ("示数缺口", "Gap between register faces"),
    "rule_cumulative": ("数值只增不减", "Values only rise"),
    "rule_malformed": ("行格式错误", "Malformed line"),
    "rule_unit-mismatch": ("单位不是千瓦时", "Unit is not kWh"),
    "rule_clock-change": ("夏令时切换日", "Day of a clock change"),
    "rule_timestamp-nonexistent": ("当地时钟无此时刻", "Time that the clock skips"),
    "rule_timestamp-ambiguous": ("当地时钟重复的时刻", "Time that the clock shows twice"),
    "rule_kwh-not-a-number": ("电量不是数字", "Energy is not a number"),
    "rule_kwh-decimals": ("电量小数超过三位", "More than three decimals"),
    "rule_kwh-too-large": ("电量数值过大", "Energy too large"),
    "rule_kwh-decimal-comma": ("电量中的逗号含义不明", "A comma of two meanings"),
    "rule_kwh-thousands": ("电量中的小数点含义不明", "A point of two meanings"),
    "rule_kwh-scientific": ("电量为科学计数法", "Scientific notation"),
    "rule_passed-over-reactive-fed-in": (
        "不计费：反向无功电量",
        "Not billed: reactive energy fed in",
    ),
    "rule_passed-over-reactive-part": ("不计费：其他无功电量", "Not billed: other reactive energy"),
    "rule_passed-over-by-hours": ("不计费：分时段电量", "Not billed: energy by hours"),
    "rule_passed-over-combined-energy": ("不计费：组合有功电量", "Not billed: combined energy"),
    "rule_passed-over-demand": ("不计费：需量", "Not billed: demand"),
    "rule_passed-over-register-faces": (
        "不计费：时段之外的示值",
        "Not billed: faces beside intervals",
    ),
    "rule_passed-over-daily-values": (
        "不计费：时段之外的日电量",
        "Not billed: days beside intervals",
    ),
    "rule_passed-over-other-quantity": ("不计费：其他量", "Not billed: other quantities"),
    "rule_power-part": ("功率折算的电量不是整瓦时", "A power that gives no whole Wh"),
    "rule_kwh-unit": ("电量单元格内带单位", "Unit in the cell"),
    # what goes wrong in this process
    "error_page.denied": (
        "您的角色不能打开此页，请从菜单选择。",
        "Your role may not open this page. Choose one from the menu.",
    ),
    "error_session.code": (
        "身份服务不接受此登录码。登录码只能由已登记的私钥生成，一分钟内有效且只能使用一次，请重新生成并立即粘贴。",
        "The identity service does not accept this sign-in code. A code works once, for one "
        "minute, and only with a registered key. Make a new one and paste it at once.",
    ),
    "error_session.code-shape": (
        "这不是登录码。请粘贴命令的全部输出，且不含其他内容。",
        "This is not a sign-in code. Paste everything that the command printed, and nothing else.",
    ),
    "error_session.sign-in": (
        "用户名或密码不正确。多次尝试后登录会变慢。",
        "Wrong user name or password. Sign-in is slowed down after several attempts.",
    ),
    "error_session.service": (
        "您的角色不使用此服务，请以其他角色登录。",
        "Your role does not work with this service. Sign in with a role that does.",
    ),
    "error_session.offices": (
        "代表一方的人只能有该方的角色，请以仅有该角色的用户登录。",
        "A person who acts for an office may have no other role. Sign in as a custodian or as the "
        "regulator, with no second role.",
    ),
    "error_service.unreachable": (
        "无法连接服务。请确认服务已启动、地址设置正确。",
        "A service cannot be reached. Check that it is running and that its address is set "
        "correctly.",
    ),
    "error_message.answer": (
        "服务的答复格式不符。请让所有服务运行同一版本。",
        "A service answered in another shape. Run the same release of every service.",
    ),
    "error_release.signature": (
        "发布证书不是由已固定的密钥管理方签名，其内容一律不显示。请核对公钥；若一致，请报告安全负责人。",
        "The release certificate is not signed by the pinned key authority. Nothing of it is "
        "shown. Compare the pinned key with the authority's; if they agree, tell the security "
        "officer.",
    ),
    "error_release.swapped": (
        "密钥管理方给出了另一份结果发布，其内容一律不显示。请报告安全负责人。",
        "The key authority sent another release than the one asked for. Nothing of it is shown. "
        "Tell the security officer.",
    ),
    "error_release.unsuppressed": (
        "发布中有低于最少户数的数值，其内容一律不显示。请报告安全负责人。",
        "The release gives a value to a cell below its own minimum. Nothing of it is shown. Tell "
        "the security officer.",
    ),
    "error_release.dominance": (
        "发布中有因单户占比上限而应不公布的数值，或其策略并无此上限，其内容一律不显示。请报告安全负责人。",
        "The release gives a value that it says is withheld for the limit of dominance, or its "
        "policy has no such limit. Nothing of it is shown. Tell the security officer.",
    ),
    "error_release.merged": (
        "发布中的分组与其策略的合并规则不符，其内容一律不显示。请报告安全负责人。",
        "The cells of the release are not those that its policy makes. Nothing of it is shown. "
        "Tell the security officer.",
    ),
    "error_release.malformed": (
        "发布证书的格式不符。请让所有服务运行同一版本。",
        "A release certificate has another form. Run the same release of every service.",
    ),
    "error_month.malformed": (
        "这不是月份。请按 2026-07 的格式输入年和月。",
        "This is not a month. Write year and month as in 2026-07.",
    ),
    "error_losses.table": (
        "供电量表须含 zone 和 energy_kwh 两列。",
        "The table of supply needs the columns zone and energy_kwh.",
    ),
    "error_losses.zone": (
        "供电量表中有该发布没有的供电区域。",
        "The table of supply names a zone that the release does not have.",
    ),
    "error_losses.energy": (
        "供电量表中有一行的电量不是千瓦时数。",
        "A line of the table of supply has no energy in kWh.",
    ),
    "error_losses.period": (
        "供电量表中有一行不在该发布的周期内。",
        "A line of the table of supply does not lie in the period of the release.",
    ),
    "error_warrant.subject": (
        "这不是假名。假名为 64 位十六进制数字，请完整复制。",
        "This is not a pseudonym. A pseudonym has 64 hexadecimal digits; copy it whole.",
    ),
    "error_warrant.reference": (
        "请输入案号，最多 256 个字符。",
        "An order needs a reference: its number in your office's files, 256 characters at most.",
    ),
    "error_warrant.hash": (
        "这不是核实令的哈希，请从列表中选择。",
        "This is not the hash of a warrant. Choose a warrant from the list.",
    ),
    "error_share.refused": (
        "此份额与该核实令不符。请用本方的核实私钥为此核实令重新计算并粘贴。",
        "This share does not fit the warrant. Compute it for this warrant, with your own office's "
        "half of the opening key, and paste it again.",
    ),
    "error_share.shape": (
        "这不是份额。请粘贴命令的全部输出：194 位十六进制数字。",
        "This is not a share. Paste everything that the command printed: 194 hexadecimal digits.",
    ),
}
