"""Phrases of the pages for both offices, in Chinese and English: openings and revocations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Terms follow docs/nomenclature.md and docs/identity.md.
OFFICE_PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    # both pages
    "keys_stay": (
        "私钥只保存在各方自己的计算机上。请在该计算机上运行本页给出的命令，切勿将任何密钥粘贴或上传到此处。",
        "Keys stay on your office's own machine: run the commands of this page there, and never "
        "paste or upload a key here.",
    ),
    "your_office": ("您代表", "You act for"),
    "office_utility": ("供电企业", "Utility"),
    "office_regulator": ("监管机构", "Regulator"),
    "offices_none": ("无", "Nobody"),
    "subject": ("假名", "Pseudonym"),
    "subject_help": ("64 位十六进制数字", "64 hexadecimal digits"),
    "reference": ("案号", "Reference"),
    "reference_help": (
        "该指令在双方档案中的编号，将记入存证日志。",
        "The order's number in both offices' files; it is entered in the evidence log.",
    ),
    "entry_hash": ("日志条目哈希 (SM3)", "Hash of log entry (SM3)"),
    "entry_index": ("日志序号", "Place in the log"),
    "found": ("命中数", "Found"),
    # the log
    "page_identity_log": ("身份操作记录", "Disclosures as logged"),
    "shows_identity_log": (
        "存证日志中的核实、查找与撤销记录；不含假名和姓名。",
        "Disclosures, searches and revocations in the evidence log; no pseudonym and no name.",
    ),
    "identity_log_none": (
        "日志中尚无核实、查找或撤销。",
        "The log has no disclosure, search or revocation yet.",
    ),
    "identity_log_more": (
        "这类记录很多，仅显示最早的 {count} 条；全部记录请用 `gridsecure log witness` 保存。",
        "There are many: what follows are the first {count}. `gridsecure log witness` keeps all "
        "of the log.",
    ),
    "identity_log_how": (
        "按身份服务日志原样列出，本页不作核对；各方的命令会将日志与此前所见比对。",
        "As the identity service's log has it. Nothing is verified here: each office's commands "
        "compare the log with what the office has seen.",
    ),
    "logged_action": ("事项", "What was done"),
    "logged_warrant": ("申请核实", "Disclosure requested"),
    "logged_share": ("提交份额", "Share given"),
    "logged_share-refused": ("份额被拒绝", "Share refused"),
    "logged_opened": ("身份已核实", "Disclosed"),
    "logged_revoked": ("假名已撤销", "Pseudonym revoked"),
    "logged_search": ("申请按人查找", "Search ordered"),
    "logged_searched": ("查找完成", "Search finished"),
    "logged_search-refused": ("查找被拒绝", "Search refused"),
    "logged_clone-alarm": ("重复登记告警", "Alarm: registered twice"),
    # openings
    "dual_control": (
        "双方授权：供电企业与监管机构各给出一份额，二者齐备才能核实一个假名的身份。每一步都记入存证日志。",
        "Dual control: an identity is disclosed only with two shares, one from the utility and one "
        "from the regulator. Every step is entered in the evidence log.",
    ),
    "order_warrant": ("申请身份核实（双方授权）", "Request disclosure"),
    "order_warrant_submit": ("提交申请", "Submit"),
    "warrant_ordered": (
        "申请已提交并记入日志。",
        "The request was issued and entered in the log.",
    ),
    "warrants": ("核实令", "Warrants"),
    "no_warrants": (
        "尚无核实令。请在上方填写假名和案号。",
        "No warrants yet. Enter a pseudonym and a reference above.",
    ),
    "choose_warrant": ("选择核实令", "Choose a warrant"),
    "warrant": ("核实令", "Warrant"),
    "ordered_at": ("下达时间", "Ordered at"),
    "ordered_by": ("下达人", "Ordered by"),
    "missing_share": ("尚缺份额", "Missing share from"),
    "opened_times": ("已核实次数", "Times disclosed"),
    "warrant_state_ordered": ("待双方份额", "Needs both shares"),
    "warrant_state_half": ("待另一份额", "Needs one share"),
    "warrant_state_open": ("已核实", "Disclosed"),
    "warrant_state_past": ("结果已清除", "Result deleted"),
    "your_share": ("您的份额", "Your share"),
    "share_how": (
        "第一步：在本方计算机上运行此命令。它先核对存证日志和核实令，再计算份额。"
        "请将大写名称换成您的文件。",
        "Step 1: run this command on your office's own machine. It checks the log and the warrant, "
        "then computes the share. Put your own files in place of the names in capitals.",
    ),
    "share_paste": (
        "第二步：将命令输出的份额粘贴到这里。",
        "Step 2: paste the share that the command printed.",
    ),
    "share": ("份额", "Share"),
    "share_help": (
        "194 位十六进制数字；份额只对这一核实令有效，不含密钥。",
        "194 hexadecimal digits. A share works for this warrant only and contains no key.",
    ),
    "give_share": ("提交份额", "Submit the share"),
    "share_missing": ("请粘贴份额。", "Paste a share."),
    "share_given": ("份额已通过验证。", "The share was verified and accepted."),
    "share_waiting": (
        "您的份额已收到。尚缺：{office}。份额只在内存中保留约一刻钟；本页会自动更新。",
        "Your share has arrived. Still missing: {office}. Shares stay in memory for about a "
        "quarter of an hour. This page updates itself.",
    ),
    "result": ("核实结果", "Result of the disclosure"),
    "show_result": ("查看结果", "Show the result"),
    "hide_result": ("隐藏", "Hide"),
    "result_ready": (
        "双方份额齐备，身份已核实。",
        "Both shares have arrived; the identity can be shown.",
    ),
    "result_gone": (
        "结果已清除。如仍需要，请双方重新提交份额。",
        "The result was deleted. If you still need it, both offices must submit their shares "
        "again.",
    ),
    "result_until": (
        "结果只在内存中保留，{until} 清除；不写入磁盘，离开本页即从屏幕移除。",
        "The result is kept in memory only and deleted at {until}. It is never written to disk, "
        "and it leaves the screen when you leave this page.",
    ),
    "not_in_books": (
        "供电企业的台账中没有此身份的用户信息。",
        "The utility's books have no entry for this identity.",
    ),
    "identity": ("身份标识", "Identity"),
    "meter_point_id": ("计量点编号", "Meter point"),
    "name": ("姓名", "Name"),
    "address": ("地址", "Address"),
    # revocations
    "revoke_subject": ("按假名撤销", "Revoke a pseudonym"),
    "revoke_help": (
        "立即生效：该假名及其同次登记的假名不再获得令牌，也不再列入登记清单。已提交的数据和账单不受影响。",
        "Takes effect at once: this pseudonym, and those registered together with it, can "
        "no longer obtain tokens or appear on registration lists. Earlier data and bills stay "
        "valid.",
    ),
    "revoke_next": ("下一步：核对", "Next: check"),
    "revoke_check": (
        "请核对。撤销不可恢复。",
        "Please check. A revocation cannot be undone.",
    ),
    "revoke_confirm": ("确认撤销", "Revoke for good"),
    "cancel": ("取消", "Cancel"),
    "revoked_some": ("已撤销假名数：{count}。", "Pseudonyms revoked: {count}."),
    "revoked_none": (
        "该假名此前已被撤销，未作更改。",
        "This pseudonym was already revoked; nothing changed.",
    ),
    "person_searches": ("按人查找并撤销", "Find and revoke by person"),
    "search_help": (
        "双方逐个检验托管密文是否属于同一人，命中的假名即被撤销，其余假名不被识别。身份只在命令中输入，"
        "不经过本页。",
        "Both offices test each escrow for one person. Matching pseudonyms are revoked; the "
        "others stay unknown. The identity is entered in the command only, never on this "
        "page.",
    ),
    "search_order": ("下达查找指令：", "Order a search:"),
    "searches_by_command": (
        "此服务不列出查找；请用命令行进行查找并查看进度。",
        "This service does not list searches. Use the command line to run them and to follow "
        "their progress.",
    ),
    "no_searches": ("尚无查找。", "No searches yet."),
    "search": ("查找", "Search"),
    "choose_search": ("选择查找", "Choose a search"),
    "turn_of": ("轮到", "Whose turn"),
    "search_your_turn": (
        "轮到您：在本方计算机上运行此命令。",
        "It is your turn: run this command on your office's own machine.",
    ),
    "search_others_turn": (
        "轮到对方（{office}）。对方完成后请刷新。",
        "It is the other office's turn ({office}). Refresh when they are done.",
    ),
    "search_finished": ("此查找没有待办步骤。", "This search has no steps left."),
}
