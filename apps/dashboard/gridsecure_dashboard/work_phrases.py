"""Phrases of the work lists, in Chinese and English: exceptions of readings, and approvals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Terms follow docs/nomenclature.md and docs/validation.md.
WORK_PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    # exceptions
    "exceptions_none": ("没有这一状态的异常。", "No exception is in this state."),
    "exception": ("异常", "Exception"),
    "choose_exception": ("选择异常", "Choose an exception"),
    "intervals": ("时段数", "Intervals"),
    "first": ("起始", "From"),
    "unbilled": ("暂缓出账", "Bill held"),
    "unbilled_yes": ("是", "Yes"),
    "owner": ("负责人", "Owner"),
    "due": ("截止日期", "Due"),
    "exception_open": ("待分派", "Open"),
    "exception_assigned": ("处理中", "Assigned"),
    "exception_resolved": ("已更正", "Resolved"),
    "exception_waived": ("核实无误", "Waived"),
    "history": ("处理记录", "History"),
    "at": ("时间", "At"),
    "person": ("人员", "Person"),
    "said": ("内容", "What"),
    "act": ("操作", "Action"),
    "act_assign": ("分派", "Assign"),
    "act_note": ("备注", "Add a note"),
    "act_confirm": ("读数无误，确认计入", "Readings are right: let them count"),
    "act_estimate": ("采用估算值，关闭", "Close: the estimate may stand"),
    "act_release": ("解除暂缓出账，关闭", "Close: release the hold on the bill"),
    "act_order": ("读数有误，改用估算值", "Order an estimate: readings are wrong"),
    "confirm_last": (
        "至（最后一个时段的起始，仅用于“确认计入”和“改用估算值”）",
        "Until (start of the last interval, to let readings count or order an estimate)",
    ),
    "edited_in_force": (
        "已登记，下次校验时生效。",
        "Entered; it counts at the next validation.",
    ),
    "edited_pending": (
        "已提交，须由另一名运营员批准（`gridsecure edits approve`）。",
        "Handed in. Another operator has to approve it (`gridsecure edits approve`).",
    ),
    "edited_late": (
        "该月已固定，不再计入；请提交更正申请。",
        "The month is being fixed, so it does not count. Order a correction.",
    ),
    "edited_rejected": ("已被驳回。", "It was rejected."),
    "filter_month": ("月份", "Month"),
    "filter_rule": ("规则", "Rule"),
    "filter_owner": ("处理人员", "Who works on it"),
    "exceptions_filtered": ("没有符合筛选条件的异常。", "No exception is as chosen."),
    "export": ("导出", "Export"),
    "act_resolve": ("已更正，关闭", "Close: readings were put right"),
    "act_waive": ("核实无误，关闭", "Close: readings are right as they are"),
    "act_reopen": ("重新打开", "Open again"),
    "act_help": (
        "关闭须填写备注。读数被隔离时系统已自动估算：估算值可用则关闭，读数无误则确认计入。"
        "读数已计入但有误，可改用估算值；用正确读数替换，用命令 `gridsecure edits`。",
        "Closing needs a note. Readings that were set aside are estimated already: close it if the "
        "estimate may stand, or let the readings count if they are right. If readings that count "
        "are wrong, order an estimate, or put better ones in their place with `gridsecure edits`.",
    ),
    "note": ("备注", "Note"),
    "due_day": ("截止日期（如 2026-08-05）", "Due day, as 2026-08-05"),
    "save": ("保存", "Save"),
    "saved": ("已保存。", "Saved."),
    "needs_owner": ("请填写负责人。", "Name an owner."),
    "needs_note": ("请填写备注。", "Write a note."),
    # approvals
    "approvals_note": (
        "每位审批人用自己的私钥签署，私钥只在其自己的计算机上，因此本页不能代为签署。",
        "Officers sign with keys that exist on their own machines alone. This page signs nothing.",
    ),
    "approvals_none": ("没有等待审批的发布。", "Nothing waits for approval."),
    "approvals_yours": ("等待您审批：{count}", "Waiting for you: {count}"),
    "choose_asked": ("选择发布请求", "Choose a request"),
    "missing": ("尚缺审批", "Still missing"),
    "nobody": ("无", "Nobody"),
    "asked_resolutions": ("粒度", "Resolution"),
    "asked_measures": ("量", "Measures"),
    "asked_groups": ("分组数", "Groups"),
    "asked_points": ("最小分组的计量点数", "Meter points of the smallest group"),
    "asked_policy": ("发布策略", "Release policy"),
    "asked_subject": ("审批摘要 (SM3)", "Digest to sign (SM3)"),
    "asked_question": (
        "这是加密问题：内容只有审批人用下面的命令才能看到。",
        "This is a sealed question. Officers alone read it, with the command below.",
    ),
    "plan_query": ("加密问题", "Sealed question"),
    "resolution_interval": ("时段", "Interval"),
    "resolution_daily": ("日", "Daily"),
    "resolution_monthly": ("月", "Monthly"),
    "measure_bill": ("电费", "Bills"),
    "approvals_how": (
        "在您自己的计算机上先查看，再签署或拒绝：",
        "Look at it on your own machine, then sign or reject:",
    ),
    "decided": ("已作决定", "Decided so far"),
}
