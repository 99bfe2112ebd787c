"""Every phrase of the dashboard in Chinese and English.

Length: one table of phrases, read as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gridsecure.analyst.reconciled_words import RECONCILED_PHRASES
from gridsecure_dashboard.code_phrases import CODE_PHRASES
from gridsecure_dashboard.grid_phrases import GRID_PHRASES
from gridsecure_dashboard.market_phrases import MARKET_PHRASES
from gridsecure_dashboard.office_phrases import OFFICE_PHRASES
from gridsecure_dashboard.page_phrases import PAGE_PHRASES
from gridsecure_dashboard.protection_phrases import PROTECTION_PHRASES
from gridsecure_dashboard.tariff_phrases import TARIFF_PHRASES
from gridsecure_dashboard.work_phrases import WORK_PHRASES

# Terms follow docs/nomenclature.md.
PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    # shared
    "motto": ("可用不可见", "Usable, not visible"),
    "language": ("语言", "Language"),
    "signed_in_as": ("当前用户", "Signed in as"),
    "session_until": ("有效期至", "Valid until"),
    "sign_out": ("退出", "Sign out"),
    "working": ("处理中…", "Working…"),
    "error": ("未能完成", "We could not complete this"),
    "reason_code": ("原因代码", "Reason code"),
    "only_released": (
        "本页数据仅来自密钥管理方签名的结果发布。",
        "Data on this page come only from signed releases of the key authority.",
    ),
    "release_shown": ("结果发布编号", "Release"),
    "choose_release": ("选择结果发布", "Choose a release"),
    "zone": ("供电区域", "Zone"),
    "customer_class": ("用户类别", "Customer class"),
    "period": ("计费周期", "Billing period"),
    "plan": ("计算方案", "Plan"),
    "plan_bill": ("电费", "Bills"),
    "plan_load-curve": ("负荷曲线", "Load curve"),
    "plan_rebill": ("电费退补", "Bill corrections"),
    "purpose": ("用途", "Purpose"),
    "state": ("状态", "State"),
    "state_running": ("进行中", "Running"),
    "state_waiting": ("等待", "Waiting"),
    "state_interrupted": ("中断", "Interrupted"),
    "state_done": ("完成", "Done"),
    "state_failed": ("失败", "Failed"),
    "state_released": ("已发布", "Released"),
    "state_previewed": ("已预览", "Previewed"),
    "state_refused": ("已拒绝", "Refused"),
    "state_suppressed": ("户数不足", "Too few customers"),
    "state_protected": ("可能暴露少数用户", "Too revealing"),
    "state_dominated": ("单户占比过高", "One customer too large"),
    "above_share": ("单户可能超过 {limit}%", "one customer may exceed {limit}%"),
    "state_withheld": ("不可见", "Withheld"),
    "progress": ("进度", "Progress"),
    "count": ("数量", "Count"),
    "seconds": ("用时 (s)", "Time (s)"),
    "fewer_than": ("少于 {minimum}", "fewer than {minimum}"),
    "withheld": ("不可见", "withheld"),
    "no_role_values": (
        "您的角色可查看证据，但不可查看数值。",
        "Your role sees the evidence, but no values.",
    ),
    "suppressed_note": (
        "有 {count} 个分组合并后仍少于 {minimum} 户（策略 {policy}），故未公布，也不计入合计。",
        "Groups with fewer than {minimum} customers, even merged (policy {policy}): {count}. "
        "Their figures are withheld and excluded from all totals.",
    ),
    "merged_note": (
        "有 {count} 个分组由户数不足 {minimum} 的若干分组合并而成，合并后公布。",
        "Groups merged from several with fewer than {minimum} customers each: {count}. They are "
        "shown together.",
    ),
    "and_more": ("另 {count} 个", "{count} more"),
    "protected_note": (
        "有 {count} 个分组因公布会暴露少于 {minimum} 户而未公布，且不计入任何合计。",
        "Groups whose figures would tell about fewer than {minimum} customers: {count}. They are "
        "withheld and excluded from all totals.",
    ),
    "dominated_note": (
        "有 {count} 个分组因其中一户用量可能超过 {limit}%（策略 {policy}）而未公布，也不计入合计。",
        "Groups in which one customer may have more than {limit}% (policy {policy}): {count}. "
        "Their figures are withheld and excluded from all totals.",
    ),
    "cells_left_out": ("未公布", "Withheld"),
    "line_of_others": (
        "本月的发布还包含其他数据封装节点的 {count} 个槽位名册，因此无法仅就本节点对账。",
        "The releases of this month also cover rosters of other gateways: {count}. They cannot be "
        "reconciled with this gateway alone.",
    ),
    "zone_futian": ("福田", "Futian"),
    "zone_luohu": ("罗湖", "Luohu"),
    "zone_nanshan": ("南山", "Nanshan"),
    "zone_baoan": ("宝安", "Bao'an"),
    "zone_longgang": ("龙岗", "Longgang"),
    "zone_yantian": ("盐田", "Yantian"),
    "zone_pingshan": ("坪山", "Pingshan"),
    "zone_longhua": ("龙华", "Longhua"),
    "zone_guangming": ("光明", "Guangming"),
    "zone_dapeng": ("大鹏", "Dapeng"),
    "zone_city": ("全市", "Whole city"),
    "class_household": ("居民", "Household"),
    "class_shop": ("商业", "Shop"),
    "class_factory": ("工业", "Factory"),
    "all_released_note": (
        "所有分组均不少于 {minimum} 户，合计完整。",
        "Every group has at least {minimum} customers; the sums are complete.",
    ),
    # pages
    "page_sign_in": ("登录", "Sign in"),
    "page_bill_runs": ("电费计算", "Bill runs"),
    "page_exceptions": ("异常处理", "Exceptions"),
    "page_approvals": ("发布审批", "Approvals"),
    "page_revenue": ("电费与电量", "Revenue and energy"),
    "page_load_curve": ("负荷曲线", "Load curve"),
    "page_releases": ("发布与证据", "Releases and evidence"),
    "page_openings": ("身份核实", "Identity disclosures"),
    "page_revocations": ("撤销", "Revocations"),
    "page_no_page": ("没有可用页面", "No page for this role"),
    "no_page_here": (
        "您的角色在此没有可用页面。请使用命令行工具，或以其他角色登录。",
        "Your role has no page here. Use the command line, or sign in with another role.",
    ),
    # sign-in
    "user": ("用户名", "User name"),
    "password": ("密码", "Password"),
    "sign_in": ("登录", "Sign in"),
    "sign_in_both": ("请输入用户名和密码。", "Enter both user name and password."),
    "code_how": (
        "在您自己的计算机上运行此命令：",
        "Run this command on your own machine:",
    ),
    "code": ("登录码", "Sign-in code"),
    "code_paste": (
        "在一分钟内将输出全部粘贴到这里",
        "Paste its whole output here within a minute",
    ),
    "code_note": (
        "登录码只能使用一次，一分钟后失效。您的私钥不会离开您的计算机。",
        "The code works once and expires after one minute. Your key never leaves your machine.",
    ),
    "code_missing": ("请粘贴登录码。", "Paste a sign-in code."),
    "password_title": ("密码登录（仅限本机演示）", "Password (local demonstration only)"),
    "sign_in_password": ("以密码登录", "Sign in with password"),
    "sign_in_demonstration": (
        "仅用于本机演示，用户名和密码见启动命令的输出。",
        "For the local demonstration only. User names and passwords are in the output of the start "
        "command.",
    ),
    "session_expired": (
        "登录已过期或已在其他标签页退出，请重新登录。",
        "Your session has expired, or was signed out in another tab. Please sign in again.",
    ),
    "session_refused": (
        "服务不再接受此次登录，请重新登录。",
        "A service no longer accepts your session. Please sign in again.",
    ),
    # bill runs
    "month": ("月份", "Month"),
    "month_help": (
        "格式 2026-07；可直接输入其他月份。",
        "Format 2026-07. You can type another month.",
    ),
    "gateway_month": ("数据封装节点：校验与加密", "Gateway: validate and encrypt"),
    "month_missing": (
        "该月尚无数据。请先在数据封装节点上传读数与合同文件并处理，或运行 `gridsecure run`。",
        "No data for this month yet. Send readings and contracts to the gateway and process "
        "them, or run `gridsecure run`.",
    ),
    "month_waiting": (
        "文件已收到，尚未处理。",
        "The files have arrived but have not been processed yet.",
    ),
    "month_interrupted": (
        "处理被中断；可从中断处继续，不会重复计费。",
        "Processing was interrupted. It resumes where it stopped, and nothing is billed twice.",
    ),
    "start_month": ("处理该月", "Process this month"),
    "month_operator": ("需要运营员 (operator) 角色。", "Only the operator role can start this."),
    "readings": ("读数（条）", "Readings"),
    "estimated": ("估算值", "Estimated"),
    "quarantined": ("隔离读数", "Quarantined"),
    "meters": ("计量点", "Meter points"),
    "billed_meters": ("可计费计量点", "Billable meter points"),
    "rosters": ("槽位名册", "Rosters"),
    "columns": ("加密列", "Encrypted columns"),
    "bytes_uploaded": ("上传量", "Uploaded"),
    "problems": ("校验问题", "Validation findings"),
    "rule": ("规则", "Rule"),
    "excluded": ("未计费计量点", "Meter points not billed"),
    "exclusion_reason": ("原因", "Reason"),
    "stages": ("各阶段用时", "Time by stage"),
    "stage": ("阶段", "Stage"),
    "none_found": ("无", "None"),
    "compute_runs": ("计算平台：密文计算", "Compute platform: compute on ciphertext"),
    "start_bill": ("开始计算电费", "Start bill run"),
    "start_load-curve": ("开始计算负荷曲线", "Start load-curve run"),
    "start_needs_month": (
        "数据封装节点完成该月并上传后方可开始。",
        "Available once the gateway has finished this month.",
    ),
    "start_needs_closing": (
        "该月尚未关账：须先由电费部门签署关账清单（见第 2 步）。",
        "This month is not closed yet. The billing office must first sign the closing list (step "
        "2).",
    ),
    "start_released": (
        "该月已关账的数据均已发布，再次计算不会产生新的结果。",
        "Everything closed in this month is released. Another run would release nothing new.",
    ),
    "start_released_open": (
        "已关账的数据均已发布；其后到达的数据须先关账（见第 2 步）。",
        "Everything closed so far is released. Later uploads must be closed first (step 2).",
    ),
    "start_refused": ("计算平台当前不接受此项计算。", "The platform does not accept this run now."),
    # closing a month
    "close_month": ("电费部门：关账", "Billing office: close the month"),
    "closing_empty": (
        "计算平台尚未收到该月的数据。数据封装节点完成处理后会自动上传。",
        "The platform has no data of this month yet. Gateways upload a month when they have "
        "processed it.",
    ),
    "closing_done": (
        "已收到的数据均已关账。之后到达的数据由下一份清单关账。",
        "All uploads received so far are closed. Later ones go into a further list.",
    ),
    "closing_open": (
        "尚未关账的上传：{count}。请待各数据封装节点的上传到齐后再关账：同一清单内的数据一起计费、一起汇总。",
        "Uploads not closed yet: {count}. Close the month when all gateways have uploaded: the "
        "uploads of one list are billed and totalled together.",
    ),
    "closing_how": (
        "关账清单由电费部门的私钥签署，该私钥只在其自己的计算机上，因此本页无法代为关账。请在那里运行此命令，"
        "并将大写名称换成您的文件：",
        "The billing office signs the list with a key that exists only on its own machine, so "
        "this page cannot close a month. Run this command there, and replace the names in "
        "capitals with your own files:",
    ),
    "closing_list": ("清单", "List"),
    "closing_state_open": ("未关账", "Open"),
    "closing_state_in-force": ("有效", "In force"),
    "closing_state_replaced": ("已被替代", "Replaced"),
    "closed_at": ("关账时间", "Closed at"),
    "gateway": ("数据封装节点", "Gateway"),
    "upload": ("上传摘要 (SM3)", "Upload (SM3)"),
    "start_running": ("该计算正在进行。", "This plan is already running."),
    "runs_empty": (
        "该月尚无计算。数据封装节点完成后，点击上方按钮开始。",
        "No run for this month yet. When the gateway is done, start one above.",
    ),
    "run_started": ("已开始：{run}", "Started: {run}"),
    "run": ("编号", "Run"),
    "release_rounds": ("密钥管理方：核验与发布", "Key authority: check and release"),
    "start_round": ("提交核验并发布", "Request a release round"),
    "round_help": (
        "密钥管理方重新执行计算、比对摘要，然后才解密并发布。",
        "The key authority repeats the computation and compares digests. Only then does it "
        "decrypt.",
    ),
    "round_needs_run": ("需先有完成的计算。", "Available once a run is done."),
    "round_empty": (
        "没有等待核验的请求：已完成的计算此前均已答复，已发布的结果列在下方。",
        "No request was waiting: all finished runs were already answered. Releases are listed "
        "below.",
    ),
    "request": ("发布请求", "Release request"),
    "release": ("结果发布", "Release"),
    "releases_listed": ("已发布的结果", "Releases so far"),
    "values_listed": ("数值", "Values"),
    "cells": ("分组", "Groups"),
    "suppressed": ("未公布", "Withheld"),
    "released_at": ("发布时间", "Released at"),
    "refresh": ("刷新", "Refresh"),
    # releases, empty
    "no_bill_release": (
        "尚无电费结果发布。请计费人员在“电费计算”页运行电费计算并请求发布。",
        "No bill run has been released yet. Billing staff start one on the page “Bill runs” and "
        "request a release round.",
    ),
    "no_curve_release": (
        "尚无负荷曲线发布。请计费人员在“电费计算”页运行负荷曲线并请求发布。",
        "No load curve has been released yet. Billing staff start one on the page “Bill runs” "
        "and request a release round.",
    ),
    "no_release": (
        "尚无结果发布。完成计算并请求发布后，证书会显示在这里。",
        "Nothing has been released yet. The certificate appears here after a run and a release "
        "round.",
    ),
    "nothing_visible": (
        "该结果发布中没有可显示的数值：所有分组都太小。",
        "This release has no values to show: every group is too small.",
    ),
    # revenue
    "bills": ("账单数", "Bills"),
    "energy": ("电量", "Energy"),
    "energy_kwh": ("电量 (kWh)", "Energy (kWh)"),
    "amount_yuan": ("电费 (元)", "Amount (yuan)"),
    "average": ("均价 (元/kWh)", "Average (yuan/kWh)"),
    "average_short": ("均价 (元/kWh)", "Yuan/kWh"),
    "average_yuan_per_kwh": ("均价 (元/kWh)", "Average (yuan/kWh)"),
    "chart_shows": ("图表", "Chart"),
    "by_zone": ("按供电区域", "By zone"),
    "by_class": ("按用户类别", "By customer class"),
    "all_cells": ("全部分组", "All groups"),
    "download_csv": ("导出 CSV", "Export CSV"),
    # load curve
    "days": ("日期", "Days"),
    "days_help": ("默认为最大负荷日。", "The peak day is selected by default."),
    "all": ("全部", "All"),
    "split": ("曲线", "One curve for each"),
    "split_day": ("日期", "Day"),
    "split_zone": ("供电区域", "Zone"),
    "split_customer_class": ("用户类别", "Customer class"),
    "peak_kw": ("最大负荷 (kW)", "Peak (kW)"),
    "peak_help": ("各时段平均功率的最大值。", "The highest mean power of an interval."),
    "peak_at": ("最大负荷时刻", "Time of peak"),
    "mean_kw": ("平均负荷 (kW)", "Mean load (kW)"),
    "load_factor": ("负荷率", "Load factor"),
    "load_factor_help": ("平均负荷 ÷ 最大负荷", "Mean load over peak load"),
    "clock": ("当地时间", "Local time"),
    "power_kw": ("平均功率 (kW)", "Mean power (kW)"),
    "mean_over_days": (
        "曲线为所选 {count} 天的平均。",
        "Each curve is the mean over the {count} days chosen.",
    ),
    "choose_days": ("请至少选择一天。", "Choose at least one day."),
    "nothing_chosen": (
        "所选范围内没有已发布的数值。",
        "No released values for this selection.",
    ),
    # evidence
    "signature_ok": ("签名已验证 ✔", "Signature verified ✔"),
    "signature_by": (
        "SM2 签名由已固定的密钥管理方公钥验证。",
        "SM2 signature, verified under the pinned key of the key authority.",
    ),
    "certificate": ("发布证书", "Release certificate"),
    "field": ("项目", "Field"),
    "value": ("内容", "Value"),
    "release_id": ("编号", "Release id"),
    "plan_version": ("方案版本", "Plan version"),
    "requested_by": ("申请人", "Requested by"),
    "minimum_members": ("最少户数", "Minimum customers"),
    "signer": ("签名公钥 (SM3)", "Signer (SM3 of key)"),
    "outputs_digest": ("输出摘要 (SM3)", "Digest of outputs (SM3)"),
    "evidence_head": ("存证链头 (SM3)", "Evidence head (SM3)"),
    "transcripts": ("计算凭证摘要", "Digests of transcripts"),
    "statements": ("密封账单摘要", "Digests of sealed statements"),
    "roster": ("槽位名册", "Roster"),
    "digest": ("摘要 (SM3)", "Digest (SM3)"),
    "measure": ("量", "Measure"),
    "measure_bills": ("账单数", "Bills"),
    "measure_energy_wh": ("电量 (kWh)", "Energy (kWh)"),
    "measure_amount_fen": ("电费 (元)", "Amount (yuan)"),
    "start": ("开始", "Start"),
    "meter_points": ("计量点数", "Meter points"),
    "released_value": ("发布值", "Released value"),
    "cells_shown": (
        "显示前 {shown} 行，共 {all} 行；完整内容在签名证书中。",
        "The first {shown} of {all} rows; the signed certificate has them all.",
    ),
    "download_certificate": ("下载签名证书 (JSON)", "Download signed certificate (JSON)"),
    **CODE_PHRASES,
    **MARKET_PHRASES,
    **GRID_PHRASES,
    **RECONCILED_PHRASES,
    **OFFICE_PHRASES,
    **PAGE_PHRASES,
    **PROTECTION_PHRASES,
    **TARIFF_PHRASES,
    **WORK_PHRASES,
}
