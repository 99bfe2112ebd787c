"""Phrases of start page, cycle board, months side by side and exports, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Terms follow docs/nomenclature.md.
PAGE_PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    # who sees a page, and what is on it
    "who_sees": ("可见角色：{roles}。", "Seen by: {roles}."),
    "shows_home": (
        "只显示已发布的分组合计、数量与状态，没有单个用户的数据。",
        "Released totals of groups, counts and states; nothing about a single customer.",
    ),
    "shows_cycle": (
        "只显示数量与状态，没有电量、金额或负荷数据。",
        "Counts and states only: no energy, money or load.",
    ),
    "shows_bill_runs": (
        "只显示数量与状态，没有电量、金额或负荷数据。",
        "Counts and states only: no energy, money or load.",
    ),
    "shows_exceptions": (
        "只列出计量点和原因，没有任何读数或金额。",
        "Meter points and reasons; no reading or amount.",
    ),
    "shows_revenue": (
        "只显示已发布的分组合计，没有单个用户的数据。",
        "Released totals of groups; nothing about a single customer.",
    ),
    "shows_load_curve": (
        "只显示已发布的分组负荷，没有单个用户的数据。",
        "Released load of groups; nothing about a single customer.",
    ),
    "shows_approvals": (
        "显示申请发布的内容，不显示任何数值。",
        "What is asked to be released, and no value of it.",
    ),
    "shows_releases": (
        "所列角色均可查看证据；只有电费员和分析员可查看数值。",
        "All of them see the evidence. Values are for billing staff and analysts.",
    ),
    "shows_openings": (
        "双方授权后，身份只显示数分钟，每一步都记入存证日志。",
        "Once both offices agreed, an identity is shown for minutes. Every step is logged.",
    ),
    "shows_revocations": (
        "显示假名与查找进度，不显示姓名。",
        "Pseudonyms and how far searches are; no names.",
    ),
    # start page
    "page_home": ("首页", "Start"),
    "page_cycle": ("计费进度", "Cycle board"),
    "start_none": (
        "尚无已发布的电费。完成月度计算并通过审批后，这里显示当月电费。",
        "No bills have been released yet. This page shows a month once it is computed and "
        "approved.",
    ),
    "start_steps": ("{month} 计费进度", "{month}: where the cycle stands"),
    "start_todo": ("待办", "To do"),
    "start_nothing": ("没有待办事项。", "Nothing waits for you."),
    "start_waiting": ("待审批的发布：{count}", "Releases waiting for approval: {count}"),
    "start_missing": ("尚缺：{roles}", "still missing: {roles}"),
    "start_exceptions": ("未关闭的异常：{count}", "Exceptions to deal with: {count}"),
    "start_overdue": ("其中已逾期：{count}", "overdue: {count}"),
    "start_held": ("暂缓出账的异常：{count}", "Exceptions that hold a bill: {count}"),
    "start_failed": ("失败的步骤：{count}", "Steps that failed: {count}"),
    "latest_releases": ("最近发布", "Latest releases"),
    "start_alarms": ("告警与拒绝", "Alarms and refusals"),
    "alarm_refused": ("策略拒绝的发布请求", "Requests refused by policy"),
    "alarm_rejected": ("审批人拒绝的发布请求", "Requests rejected by officers"),
    "alarm_forged": ("未通过验证的发布", "Releases that do not verify"),
    "start_warrants": ("待本方份额的核实令", "Disclosures waiting for your share"),
    "start_witness": (
        "日志的篡改告警由见证方发出，保存在见证方自己的计算机上：",
        "Witnesses of the logs raise the alarm when one was rewritten. It is on the witness's own "
        "machine:",
    ),
    "start_queries": ("已答复的查询", "Answered queries"),
    "start_grants": ("每位分析员的查询额度（{epoch}）", "Questions for each analyst ({epoch})"),
    "start_budget": (
        "剩余额度只有您自己计算机上的钱包知道；`gridsecure analyst ask` 每次提问后会显示。",
        "How many are left is known to the wallet on your own machine alone; `gridsecure analyst "
        "ask` tells after each question.",
    ),
    "start_unread": (
        "较大的发布未在此打开；请在“发布与证据”页查看。",
        "Larger releases are not opened here. See the page “Releases and evidence”.",
    ),
    # steps of a cycle
    "step": ("步骤", "Step"),
    "step_read": ("校验与加密", "Validate and encrypt"),
    "step_close": ("关账", "Close"),
    "step_compute": ("密文计算", "Compute"),
    "step_release": ("核验与发布", "Release"),
    "step_state_done": ("完成", "Done"),
    "step_state_running": ("进行中", "Running"),
    "step_state_next": ("待办", "To do"),
    "step_state_later": ("未到", "Not yet"),
    "step_state_failed": ("失败", "Failed"),
    "detail": ("说明", "Detail"),
    "detail_open": ("未关账的上传：{count}", "uploads not closed: {count}"),
    "detail_not_billed": ("未计费：{count}", "not billed: {count}"),
    # cycle board
    "board_months": ("各月", "Months"),
    "board_none": (
        "数据封装节点尚无任何月份的数据。",
        "The gateway has no data of any month yet.",
    ),
    "due_points": ("应计费", "Due"),
    "read_points": ("已读", "Read"),
    "billed_points": ("可计费", "Validated"),
    "held_points": ("未计费", "Held"),
    "released_points": ("已发布账单", "Bills released"),
    "board_due_at": ("自动处理时间", "Runs by itself at"),
    "board_late": ("迟到读数", "Late readings"),
    "board_late_yes": ("有", "Yes"),
    "board_jobs": ("正在进行", "Running now"),
    "board_no_jobs": ("没有正在进行的任务。", "Nothing is running."),
    "board_by_zone": ("{month} 按供电区域的发布", "{month}: releases by zone"),
    "groups_shown": ("已公布分组", "Groups shown"),
    "groups_withheld": ("未公布分组", "Groups withheld"),
    "board_zones_later": (
        "发布之前，各服务只按数据封装节点计数，不按供电区域计数。",
        "Before a release, services count by gateway and not by zone.",
    ),
    # months side by side
    "compare_with": ("对比月份", "Compare with"),
    "month_before": ("上月", "Last month"),
    "year_before": ("去年同月", "Same month last year"),
    "change": ("变化", "Change"),
    "average_then": ("对比月均价", "Yuan/kWh then"),
    "against": ("比 {month}", "from {month}"),
    "like_for_like": (
        "变化只比较两个月都完整公布的分组：{groups} 组；其余 {others} 组不参与比较。",
        "Changes compare groups that both months show in full: {groups}. Groups left out of the "
        "comparison: {others}.",
    ),
    "no_comparison": (
        "没有 {month} 的已发布电费，无法对比。",
        "No bills of {month} were released, so there is nothing to compare with.",
    ),
    "bridge": ("{then} 至 {now} 的电费变化", "From {then} to {now}"),
    "bridge_then": ("电费：{month}", "Billed in {month}"),
    "bridge_gone": ("仅对比月公布的分组", "Groups not comparable, then"),
    "bridge_volume": ("电量影响", "Volume"),
    "bridge_price": ("价格影响", "Price"),
    "bridge_new": ("仅本月公布的分组", "Groups not comparable, now"),
    "bridge_now": ("电费：{month}", "Billed in {month}"),
    "bridge_how": (
        "电量影响 = 电量变化 × 各分组对比月均价；价格影响 = 其余变化（含结构变化）。",
        "Volume is the change of energy at each group's earlier average price; price is the rest, "
        "with changes of mix inside a group.",
    ),
    "yuan_step": ("金额 (元)", "Amount (yuan)"),
    "by_month": ("按月", "By month"),
    "corrections_note": (
        "{month} 已发布的退补：{bills} 张账单，{amount} 元，{kwh} kWh；未公布的分组：{withheld}。"
        "上列数字不含退补。",
        "Corrections released for {month}: bills {bills}, {amount} yuan, {kwh} kWh; groups "
        "withheld: {withheld}. The figures above are without them.",
    ),
    "full_value": ("完整数值：{value}", "Full value: {value}"),
    "release_ids": ("编号与摘要", "Ids and digests"),
    "certificate_digest": ("证书摘要 (SM3)", "Digest of certificate (SM3)"),
    "machinery": ("加密与上传", "Encryption and upload"),
    # exports
    "download_xlsx": ("导出 XLSX", "Export XLSX"),
    "download_pdf": ("导出 PDF", "Export PDF"),
    "export_note": (
        "文件注明证书摘要、导出人、时间和发布规则。",
        "Files name the certificate's digest, who exported them, when, and the release rule.",
    ),
    "export_note_plain": (
        "文件注明来源、导出人和时间。",
        "Files name their source, who exported them and when.",
    ),
    "export_source": ("来源", "Source"),
    "export_rule_name": ("发布规则", "Release rule"),
    "export_rule": (
        "策略 {policy}：少于 {minimum} 户的分组不公布。",
        "Policy {policy}: figures of groups with fewer than {minimum} customers are withheld.",
    ),
    "exported_by": ("导出人", "Exported by"),
    "exported_at": ("导出时间", "Exported at"),
}
