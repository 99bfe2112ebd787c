"""Phrases of load, corrections, keys, policy, usage and tariffs, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Terms follow docs/nomenclature.md.
GRID_PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    # the whole month of a load curve
    "load_month": ("整月", "The whole month"),
    "peak_day": ("最大负荷日", "Peak day"),
    "heat_map": ("负荷热力图", "Heat map"),
    "heat_map_how": (
        "每格为当日该时段的平均功率；未发布的时段没有颜色。",
        "Each field is the mean power of an interval of a day; what was not released has no "
        "colour.",
    ),
    "duration_curve": ("负荷持续曲线", "Load-duration curve"),
    "hours_at_least": ("持续时间 (h)", "Hours at this load or more (h)"),
    "duration_how": (
        "负荷由大到小排列：曲线上一点表示负荷不低于该值的小时数。",
        "Loads from the largest to the smallest: a point says for how many hours the load was at "
        "least so large.",
    ),
    "by_day": ("按日", "By day"),
    # alarms and forecasts of a load curve
    "outlook": ("态势", "Outlook"),
    "outlook_how": (
        "本次发布中各组的每日电量，与此前同类日（工作日或周末）的中位数比较；未发布的日子不比较。",
        "The energy of each group's days, against the median of earlier days of their kind "
        "(workdays or weekends) in this release; days that were not told are not compared.",
    ),
    "outlook_no_alarm": (
        "没有告警：没有偏离同类日的日子，或此前的日子太少。",
        "No alarm: no day is unlike its kind, or too few are before it.",
    ),
    "outlook_median": ("同类日中位数 (kWh)", "Median of its kind (kWh)"),
    "outlook_off": ("偏差", "Off by"),
    "outlook_next": ("次日预测", "The next day"),
    "outlook_next_how": (
        "最近几个同类日的平均；误差为同一方法用于已发布各日的误差，旁边是以前一日作预测的误差。",
        "The mean of the last days of its kind; the error is that of the same method on the days "
        "that were told, beside that of the day before taken for the next.",
    ),
    "outlook_expected": ("预测电量 (kWh)", "Forecast (kWh)"),
    "outlook_error": ("误差", "Error"),
    "outlook_naive": ("以前一日预测的误差", "Error of the day before"),
    # corrections
    "page_corrections": ("退补", "Corrections"),
    "shows_corrections": (
        "显示更正申请、数量、原因和已发布的分组合计；没有单个用户的电量或金额。只有电费员可查看数值。",
        "Orders, counts, reasons and released totals of groups; no single energy or amount. Totals "
        "are for billing staff.",
    ),
    "correction_waiting": ("待处理的申请", "Orders waiting"),
    "correction_billed": ("重新计费的计量点", "Meter points billed anew"),
    "correction_billed_help": (
        "数据封装节点已重算并上传；发布前仍须计算、核验和审批。",
        "The gateway computed and uploaded them. Before a release they are computed, checked and "
        "approved.",
    ),
    "correction_asked": ("待审批的发布", "Releases waiting for approval"),
    "correction_released": ("已发布的退补账单", "Corrected bills released"),
    "amount_change": ("退补金额 (元)", "Change of amount (yuan)"),
    "energy_change": ("退补电量 (kWh)", "Change of energy (kWh)"),
    "correction_orders": ("更正申请", "Correction orders"),
    "correction_orders_none": ("该月没有更正申请。", "No corrections were ordered for this month."),
    "correction_order": ("申请编号", "Order"),
    "correction_by": ("更正依据", "Corrected by"),
    "correction_by_readings": ("读数文件", "readings"),
    "correction_by_tariffs": ("电价表", "tariffs"),
    "correction_by_rules": ("校验规则", "rule book"),
    "correction_by_books": ("计费档案第 {revision} 版", "books, revision {revision}"),
    "correction_decided_by": ("审批人", "Decided by"),
    "correction_decision": ("审批意见", "Decision"),
    "correction_pending": ("待审批", "Waiting for a second person"),
    "correction_approved": ("已批准，待执行", "Approved, not begun"),
    "correction_applied": ("已执行", "Carried out"),
    "correction_rejected": ("已驳回", "Rejected"),
    "correction_running": ("进行中", "Running"),
    "correction_interrupted": ("中断", "Interrupted"),
    "correction_failed": ("失败", "Failed"),
    "correction_done": ("已重算", "Computed"),
    "correction_decide": (
        "申请须由另一名运营员审批。在审批人自己的计算机上运行（驳回用 reject）：",
        "A second operator decides, on the own machine; `reject` in place of `approve` rejects:",
    ),
    "corrections_made": ("更正的执行情况", "What became of them"),
    "corrections_none": ("该月没有更正。", "This month has no corrections."),
    "correction_number": ("序号", "Number"),
    "first_billed": ("首次计费", "Billed for the first time"),
    "correction_left_out": ("未能更正", "Left out"),
    "correction_left_out_help": (
        "这些计量点的账单保持不变；异常处理页列出各计量点。",
        "Their bills stand as they were. The work list of exceptions names the meter points.",
    ),
    "correction_totals": ("已发布的退补合计", "Released totals of corrections"),
    "correction_totals_how": (
        "新账单与被冲销账单之差；正数为补收，负数为退还。",
        "New bills less those they cancel: above zero is charged, below zero is refunded.",
    ),
    "correction_none_released": (
        "该月尚未发布退补合计。",
        "No totals of corrections were released for this month.",
    ),
    "correction_no_values": (
        "您的角色可查看申请和数量，但不可查看金额。",
        "Your role sees orders and counts, but no amounts.",
    ),
    # key sets
    "page_keys": ("密钥组", "Key sets"),
    "shows_keys": (
        "显示密钥组的状态与代次，没有任何密钥。",
        "States and generations of key sets; no key.",
    ),
    "keys_none": (
        "尚无密钥组。数据封装节点首次申请时生成。",
        "There is no key set yet. One is made when a gateway first asks.",
    ),
    "choose_key_set": ("选择密钥组", "Choose a key set"),
    "key_id": ("密钥标识", "Key id"),
    "gateway_key": ("数据封装节点的公钥 (SM3)", "Gateway, by its key (SM3)"),
    "parameters": ("参数集", "Parameters"),
    "generation": ("代次", "Generation"),
    "created_at": ("生成时间", "Made at"),
    "key_in-force": ("使用中", "In force"),
    "key_suspended": ("暂停", "Suspended"),
    "key_retired": ("已停用", "Retired"),
    "key_revoked": ("已撤销", "Revoked"),
    "key_destroyed": ("已销毁", "Destroyed"),
    "key_in-force_means": (
        "可加密、计算和解密。",
        "Data are encrypted, computed on and decrypted under it.",
    ),
    "key_suspended_means": (
        "暂停解密，发布等待；可恢复。",
        "Nothing is decrypted and releases wait; it can be resumed.",
    ),
    "key_retired_means": (
        "只解密已有数据；数据封装节点领取下一代密钥组。",
        "What exists is decrypted; the gateway is given the next one when it asks.",
    ),
    "key_revoked_means": (
        "不再计算，也不再解密。",
        "Nothing is computed on or decrypted under it any more.",
    ),
    "key_destroyed_means": (
        "私钥已覆盖并删除，无法恢复。",
        "Its secret half was overwritten and removed; that cannot be undone.",
    ),
    "key_states": ("状态与权限", "States, and who moves them"),
    "key_does": ("含义", "Meaning"),
    "key_moved_by": ("由谁决定", "Decided by"),
    "key_in-force_by": (
        "数据封装节点申请时生成；恢复须与解锁保险库相同人数的保管员",
        "made when a gateway asks; resumed by as many custodians as unlock the vault",
    ),
    "key_suspended_by": ("一名保管员", "one custodian"),
    "key_retired_by": ("一名保管员", "one custodian"),
    "key_revoked_by": ("一名保管员", "one custodian"),
    "key_destroyed_by": (
        "与解锁保险库相同人数的保管员",
        "as many custodians as unlock the vault",
    ),
    "key_earlier_until": (
        "此前各代自 {until} 起不再接收新的上传。",
        "Platforms begin no uploads under earlier generations from {until} on.",
    ),
    "keys_custodians": (
        "密钥组的状态只能由保管员以自己的私钥签署变更。",
        "Custodians alone move key sets, each by a signature of the own key.",
    ),
    "keys_source": (
        "密钥管理方签名的密钥公告；其中没有密钥。",
        "Notices of key sets, signed by the key authority; no key is in them.",
    ),
    "keys_how": (
        "在您自己的计算机上查看保险库的说明，或签署变更：",
        "On your own machine, see what the vault says, or sign a move:",
    ),
    # policy
    "page_policy": ("发布策略", "Release policy"),
    "shows_policy": (
        "显示哪些结果在何种条件下可以发布；没有任何数值。",
        "What may be released, and on which terms; no value.",
    ),
    "policy_version": ("第 {version} 版", "version {version}"),
    "policy_none": (
        "尚无生效的发布策略，因此不会发布任何结果。",
        "No policy is in force, so nothing is released.",
    ),
    "pack_strict": ("严格策略", "Strict"),
    "pack_cn": ("中国大陆", "Mainland China"),
    "pack_strict-noise": ("严格策略，分析结果加噪声", "Strict, with noise for analysts"),
    "pack_uniform-15": ("统一 15 户", "Uniform, 15 customers"),
    "pack_billing-office": ("电费部门控制总数", "Control totals of the billing office"),
    "pack_small-demonstration": ("仅供演示", "Demonstration only"),
    "policy_waiting": ("待生效的策略", "Policies to come"),
    "policy_begins": ("生效时间", "In force from"),
    "policy_rules": ("规则", "Rules"),
    "policy_signatures": ("审批人签名", "Signed by officers"),
    "policy_text": ("策略摘要", "Digest of the policy"),
    "policy_trust": (
        "用 `gridsecure policy show` 核对保险库执行的策略及其签名。",
        "`gridsecure policy show` compares it with the policy that the vault holds to, and with "
        "its signatures.",
    ),
    "policy_rule": ("规则", "Rule"),
    "policy_rule_control-totals": ("月度控制总数", "Control totals of a month"),
    "policy_rule_load-curves-residential": ("居民负荷曲线", "Load curves, residential"),
    "policy_rule_load-curves-non-residential": ("非居民负荷曲线", "Load curves, non-residential"),
    "policy_rule_research-residential": ("居民研究", "Research, residential"),
    "policy_rule_research-non-residential": ("非居民研究", "Research, non-residential"),
    "policy_rule_residential": ("居民", "Residential"),
    "policy_rule_non-residential": ("非居民", "Non-residential"),
    "policy_rule_everything": ("全部数据", "Everything"),
    "policy_rule_made-up-meters": ("模拟计量点", "Made-up meters"),
    "policy_rule_previews": ("影响预览", "Previews"),
    "policy_share": ("单户占比上限", "Share of one customer"),
    "policy_approvals": ("须经审批", "Approved by"),
    "policy_budget": ("每月发布次数上限", "Releases a month"),
    "policy_merged": ("户数不足时合并", "Merged if too small"),
    "policy_rules_how": (
        "任何规则都未允许的，一律不发布。多条规则适用时，从严执行。",
        "What no rule permits is not released. Where several permit it, the strictest decides.",
    ),
    "policy_sources": ("规则依据", "What the rules rest on"),
    "purpose_preview": ("影响预览", "Preview"),
    "class_every": ("全部类别", "Every class"),
    "class_others": ("其他类别", "Any other class"),
    "policy_explain": ("某项申请能否发布", "What it says of a request"),
    "policy_refuses": (
        "没有规则允许：此类用户的该项数据不为此用途发布。",
        "No rule permits it: this is not told of these customers for this purpose.",
    ),
    "policy_permits": (
        "依据规则“{rule}”，分组至少 {minimum} 户方可发布。",
        "Rule “{rule}” decides: groups of at least {minimum} customers.",
    ),
    "policy_wants": ("须经审批：{roles}。", "Each release is approved by: {roles}."),
    "policy_limits_share": (
        "单户占比不得超过 {share}%。",
        "No customer may have more than {share}% of a group.",
    ),
    "policy_limits_budget": (
        "每个自然月最多发布 {budget} 次。",
        "At most {budget} releases of a calendar month may tell it.",
    ),
    "policy_noise": (
        "分析员得到的数值含噪声：每个问题 ε ≤ {each}，同月读数合计 ε ≤ {month}。",
        "Analysts are told numbers with noise: epsilon at most {each} a question, and {month} for "
        "all about a month's readings.",
    ),
    "policy_permitted": ("此类用户可发布的内容", "What of these customers may be told"),
    "policy_permitted_none": ("没有。", "Nothing."),
    # usage
    "page_usage": ("使用计量", "Usage"),
    "shows_usage": (
        "显示各方使用的任务数、字节数和发布的分组数；没有电量或金额。",
        "Jobs, bytes and released groups by party; no energy or money.",
    ),
    "usage_month": ("月份 (UTC)", "Month (UTC)"),
    "usage_none": ("该月没有使用记录。", "Nothing was used in this month."),
    "usage_zone": ("服务", "Service"),
    "service_platform": ("计算平台", "Compute platform"),
    "service_authority": ("密钥管理方", "Key authority"),
    "usage_party": ("使用方", "Party"),
    "party_analysts": ("全体分析员", "All analysts"),
    "usage_measure": ("计量项", "Measure"),
    "usage_amount": ("用量", "Amount"),
    "unit": ("单位", "Unit"),
    "usage_source": ("来源", "Source"),
    "usage_how": (
        "由各服务的存证日志计数，月份按 UTC；数据封装节点以其公钥摘要列示。匿名查询不分人计量。",
        "Counted from each service's evidence log, by months of UTC. Gateways are named by the "
        "digest of their key. Anonymous questions are of nobody in particular.",
    ),
    "usage_uploads": ("上传", "Uploads"),
    "usage_columns_taken_in": ("接收的加密列", "Encrypted columns taken in"),
    "usage_bytes_taken_in": ("接收的数据量", "Bytes taken in"),
    "usage_runs": ("计算批次", "Runs ordered"),
    "usage_jobs": ("计算任务", "Jobs"),
    "usage_columns_processed": ("处理的加密列", "Columns processed"),
    "usage_bytes_stored": ("写入的数据量", "Bytes stored"),
    "usage_releases": ("结果发布", "Releases"),
    "usage_cells_told": ("已公布的分组数值", "Figures released"),
    "usage_cells_withheld": ("未公布的分组数值", "Figures withheld"),
    "usage_bytes_released": ("发布的数据量", "Bytes released"),
    "usage_previews": ("影响预览", "Previews"),
    "usage_questions_spent": ("预览占用的问题数", "Questions spent by previews"),
    # offline verification of a certificate
    "verify_title": ("离线验证", "Offline verification"),
    "verify_how": (
        "只用已固定的公钥验证签名、每个分组的最少户数，以及证书在存证日志中的包含证明；不询问任何服务。",
        "The signature, the minimum of every group and the proof that the certificate is in the "
        "evidence log are checked with the pinned key alone; no service is asked.",
    ),
    "verify_button": ("立即验证", "Verify now"),
    "verify_good": ("证书验证通过", "The certificate holds"),
    "verify_step_signature": (
        "SM2 签名由已固定的密钥管理方公钥验证。",
        "The SM2 signature is good under the pinned key of the key authority.",
    ),
    "verify_step_cells": (
        "全部 {count} 个数值符合证书自身的最少户数和占比规则。",
        "All {count} figures keep the certificate's own rules of minimum and share.",
    ),
    "verify_step_log": (
        "证书是日志的第 {index} 条，包含证明在 {size} 条的检查点下成立。",
        "It is entry {index} of the log, proved under the checkpoint of {size} entries.",
    ),
    "log_origin": ("日志", "Log"),
    "logged_at": ("记入时间", "Logged at"),
    "checkpoint_size": ("检查点条数", "Entries at the checkpoint"),
    "checkpoint_root": ("检查点根哈希", "Root of the checkpoint"),
    "verify_limits": (
        "此验证不能说明他人看到的是同一份日志；为此由见证方保存其检查点"
        "（`gridsecure log witness --compare`）。",
        "This does not show that others see the same log. For that, witnesses keep its checkpoints "
        "(`gridsecure log witness --compare`).",
    ),
    "verify_yourself": (
        "不必相信本页：下载证书，在您自己的计算机上运行：",
        "You need not believe this page: download the certificate and run on your own machine:",
    ),
    "verify_not_here": (
        "本页已隐去数值，因此不能在此验证全文；请用命令下载并验证不含数值的证书。",
        "Values were taken out on this page, so the text as signed is not here. Fetch the "
        "certificate without values by command, and verify that.",
    ),
    "replay_title": ("重新执行（回放）", "Replay"),
    "replay_needs": (
        "回放用密文重新执行全部计算并比对摘要，不需要私钥。密文和已签名的消息由监管方从计算平台取出一次，本页没有这些"
        "数据，执行时间也与原计算相当，因此请在自己的计算机上用下面的命令回放。还需要密钥管理方和身份服务的公钥。",
        "A replay executes every plan again on the ciphertexts and compares digests, without a "
        "secret key. A regulator fetches the ciphertexts and signed messages from the platform "
        "once. This page has none of them, and a replay takes as long as the computation did, so "
        "it runs on your own machine, by the commands below. It takes the public keys of key "
        "authority and identity authority besides.",
    ),
    "replay_fetch": ("先取出所需数据（仅监管方）：", "Fetch what it takes, as the regulator:"),
    "replay_asked": (
        "所需数据的文件夹由监管方提供，然后：",
        "Ask the regulator for the folder with what it takes. Then:",
    ),
    "replay_limits": (
        "负荷曲线含盲化，没有盲化种子者只能核对其依据，不能重新执行。",
        "Load curves are blinded: without the seed what they rest on is checked, and they are not "
        "executed again.",
    ),
    # losses
    "page_losses": ("线损", "Losses"),
    "shows_losses": (
        "已发布的分组电量与您填写的供电量之差；没有单个用户的数据，供电量不保存。",
        "Released energy of groups against the supply that you state; nothing about a single "
        "customer, and the supply is kept nowhere.",
    ),
    "losses_how": (
        "粘贴各供电区域关口或馈线的供电量（CSV 或表格复制），或选择文件；"
        "列为 `zone` 和 `energy_kwh`，也可含 `start` 和 `end`，同一区域的各行相加。",
        "Paste what feeders supplied to each zone, as CSV or from a spreadsheet, or choose a file, "
        "with the columns `zone` and `energy_kwh`, and perhaps `start` and `end`. Rows of a zone "
        "add up.",
    ),
    "losses_compute": ("计算", "Compute"),
    "losses_supply": ("供电量", "Energy supplied"),
    "losses_choose_file": ("选择文件", "Choose a file"),
    "losses_file": (
        "或文件（CSV，UTF-8 或 GB 18030，至多 4 MB；有文件时不看上面的文本）",
        "Or a file (CSV in UTF-8 or GB 18030, up to 4 MB; it counts in place of the text above)",
    ),
    "supplied": ("供电量", "Supplied"),
    "lost": ("损失电量", "Lost"),
    "supplied_kwh": ("供电量 (kWh)", "Supplied (kWh)"),
    "released_kwh": ("已发布用电量 (kWh)", "Released (kWh)"),
    "lost_kwh": ("损失电量 (kWh)", "Lost (kWh)"),
    "loss_ratio": ("线损率", "Loss"),
    "losses_none_known": (
        "没有可计算的区域：须填写其全部供电量，且其全部分组均已公布。",
        "No loss can be computed: an area needs the supply of all its zones, and all its groups "
        "shown in full.",
    ),
    "losses_areas": (
        "合并公布的区域一并计算；有未公布分组的区域不计算。",
        "Zones that are released together are one area. An area with a group that is withheld has "
        "no loss.",
    ),
    "not_in_releases": (
        "结果发布只含分组的账单数、电量和金额；没有按电价表、分时（尖峰平谷）或阶梯的数据，因此不列示。",
        "Releases hold number, energy and amount of groups. None holds energy by tariff, time of "
        "use or tier, so none is shown.",
    ),
    # titles of the policies that ship
    "pack_title_strict": (
        "任何申请：居民每组至少 100 户，其他至少 15 户且无一户超过 15%，并须两项审批",
        "At least 100 residential customers, or 15 others of whom none has above 15 %, and two "
        "approvals, for everything",
    ),
    "pack_title_cn": (
        "居民每组至少 100 户，其他至少 15 户且无一户超过 15%，并须两项审批；户数取境外最严规则，"
        "中国规则未定最少户数",
        "Mainland China: as strict; by its law, and numbers of the strictest foreign rules, as no "
        "Chinese rule has any",
    ),
    "pack_title_strict-noise": (
        "与严格策略相同，每次发布逐一审批，分析结果加噪声；声明每户至多两个计量点",
        "As strict, with each release approved by itself, and noise for analysts; says that no "
        "customer has more than two meter points",
    ),
    "pack_title_billing-office": (
        "月度内部控制总数每组至少 15 户；居民负荷曲线每组至少 100 户；须两项审批",
        "Internal control totals of a month for 15 customers; load curves for 100 residential "
        "ones; two approvals",
    ),
    "pack_title_small-demonstration": (
        "仅供演示：每组 5 户、一项审批，只用于虚构电表；不是任何监管机构的规定",
        "DEMONSTRATION ONLY: 5 customers and one approval, for made-up meters; no rule of any "
        "regulator",
    ),
    "pack_title_uniform-15": (
        "无论谁为何申请，每组至少 15 户，并须两项审批",
        "At least 15 customers and two approvals, whatever is asked by whomever",
    ),
    "policy_signatures_help": (
        "0 表示随软件提供的策略，由部署时设定。",
        "0 is a policy that ships, chosen at deployment.",
    ),
}
