"""Phrases of security levels and managed keys, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Terms follow docs/levels.md and docs/eaas.md.
PROTECTION_PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    # security levels
    "page_level": ("安全级别", "Security level"),
    "shows_level": (
        "显示各服务自述的级别与各项要求，没有任何数值。",
        "What services say of their level, and what it asks for; no values.",
    ),
    "level_in_force": ("生效的级别", "In force"),
    "level_services": ("已询问的服务", "Services asked"),
    "level_none": ("未设定", "None"),
    "level_differs": ("不一致", "Not the same"),
    "level_none_means": (
        "各服务均未设定级别：不以任何级别为下限。下表列出所选级别的要求，以及目前是否已达到。",
        "No service is held to a level, so nothing has a floor. Below is what a level asks for, "
        "and whether what is set now would keep it.",
    ),
    "level_differs_means": (
        "各服务的级别不一致。设有级别的服务不会与级别不同的服务通信。",
        "Services have different levels. One that is held to a level tells nothing to a service "
        "of another.",
    ),
    "level_own": (
        "生效的级别是自定义文件，本页不知其内容；可按摘要与文件核对。",
        "The level in force is a file of your own, which this page does not know; compare the "
        "digest with the file.",
    ),
    "level_title_L1": ("基本", "basic"),
    "level_title_L2": ("增强", "enhanced"),
    "level_title_L3": ("严格", "strict"),
    "level_compare": ("对照级别", "Compare with"),
    "level_switches": ("各项要求", "What it asks for"),
    "level_switch": ("项目", "Switch"),
    "level_switch_approvals": ("审批", "Approvals"),
    "level_switch_groups": ("最少户数", "Smallest groups"),
    "level_switch_noise": ("噪声", "Noise"),
    "level_switch_custody": ("密钥保管", "Custody"),
    "level_switch_sandbox": ("沙箱", "Sandbox"),
    "level_switch_attestation": ("构建证明", "Attestation"),
    "level_wants": ("生效级别的要求", "Asked for now"),
    "level_other": ("对照级别的要求", "The other asks for"),
    "level_change": ("变化", "Change"),
    "level_stricter": ("更严", "Stricter"),
    "level_looser": ("更宽", "Looser"),
    "level_now": ("对照级别目前是否达到", "The other kept now"),
    "level_kept": ("达到", "Kept"),
    "level_falls_short": ("不足", "Falls short"),
    "level_short": ("不足：{count} 处", "Falls short: {count}"),
    "level_how": (
        "级别是下限：实际设置可以更严，不能更宽。审批、最少户数和噪声对照生效的发布策略；"
        "沙箱与构建证明为各服务自述；密钥份额由保管员掌握，此处不显示。",
        "A level is a floor: what is set may be stricter, never weaker. Approvals, groups and "
        "noise are compared with the release policy in force. Sandbox and attestation are what "
        "services say of themselves. Who keeps which share is not known here.",
    ),
    "level_standing": ("可预先授权", "also in advance"),
    "level_each": ("逐次审批", "each release by itself"),
    "level_no_noise": ("不要求", "Not asked for"),
    "level_noise": (
        "每次提问 ε ≤ {epsilon}，每月读数合计 ≤ {budget}",
        "epsilon of a question {epsilon} at most, of a month of readings {budget}",
    ),
    "level_custody": (
        "{custodians} 人保管，{needed} 人开启，至多 {hours} 小时",
        "{needed} of {custodians} custodians, {hours} hours at most",
    ),
    "level_required": ("必须", "Required"),
    "level_as_possible": ("视机器而定", "As far as the machine can"),
    "level_released_builds": ("仅限指定发布者的构建", "Builds of the pinned maker alone"),
    "level_any_build": ("任何构建", "Any build"),
    "level_said": ("各服务自述", "What services say of themselves"),
    "level_confined": ("工作进程受沙箱限制", "Workers confined"),
    "level_attested": ("出示构建声明", "Shows a build statement"),
    "level_no": ("否", "No"),
    "level_said_how": (
        "这是各服务的自述；修改过程序的人可以让它说任何话。"
        "证书中的级别由 gridsecure verify 离线核对。",
        "Each service says this itself; whoever changed its program can have it say anything. "
        "gridsecure verify holds certificates to the level that they name, offline.",
    ),
    "level_check": ("逐项核对", "Check it yourself"),
    "level_check_how": (
        "下列命令说明每一项在何处设置、由谁拒绝，以及策略欠缺什么：",
        "These commands say where each switch is set, who refuses what is weaker, and what the "
        "policy lacks:",
    ),
    # managed keys
    "page_encryption": ("托管密钥", "Managed keys"),
    "shows_encryption": (
        "只显示本机构密钥的状态、使用次数与使用人；没有密钥本身，也没有任何明文。",
        "States, uses and users of your organisation's keys; no key itself, and no plaintext.",
    ),
    "error_settings.encryption": (
        "本控制台未连接加密服务。",
        "This console is not connected to an encryption service.",
    ),
    "error_managed-key.duty": (
        "加密服务的运营方没有为您登记机构与职责。",
        "The encryption service's operator has entered no organisation and duty for you.",
    ),
    "service_gateway": ("数据封装节点", "Gateway"),
    "service_identity": ("身份服务", "Identity service"),
    "service_encryption": ("加密服务", "Encryption service"),
    "managed_none": (
        "本机构还没有密钥。密钥员用下面的命令生成：",
        "Your organisation has no key yet. An officer makes one with this command:",
    ),
    "managed_name": ("名称", "Name"),
    "managed_algorithm": ("算法", "Algorithm"),
    "managed_sm2": ("SM2 签名", "SM2 signatures"),
    "managed_hmac-sm3": ("HMAC-SM3 校验码", "HMAC-SM3"),
    "managed_sm4": ("SM4 数据密钥", "SM4 data keys"),
    "managed_active": ("使用中", "Active"),
    "managed_suspended": ("暂停", "Suspended"),
    "managed_deactivated": ("已停用", "Deactivated"),
    "managed_compromised": ("已失密", "Compromised"),
    "managed_destroyed": ("已销毁", "Destroyed"),
    "managed_active_means": (
        "可签名、生成校验码、取密封与解封用的数据密钥",
        "signs, authenticates, gives data keys for sealing and opening",
    ),
    "managed_suspended_means": ("什么都不做，可恢复", "does nothing; may become active again"),
    "managed_deactivated_means": (
        "只核对校验码、取解封用的数据密钥",
        "checks MACs and gives data keys for opening, no more",
    ),
    "managed_compromised_means": ("什么都不做，只能销毁", "does nothing; is destroyed next"),
    "managed_destroyed_means": (
        "密钥已删除，公钥仍可核对签名",
        "gone; its public key still checks",
    ),
    "managed_choose": ("选择密钥", "Choose a key"),
    "managed_public": ("公钥", "Public key"),
    "managed_source": (
        "来源：加密服务；只含本机构的密钥。",
        "Source: the encryption service; your organisation's keys alone.",
    ),
    "managed_uses": ("使用记录", "Uses"),
    "managed_unused": ("尚未使用。", "Not used yet."),
    "managed_uses_how": (
        "每次使用都记入存证日志。签了什么、封了什么，服务并不知道。",
        "Each use stands in the evidence log. What was signed or sealed the service does not know.",
    ),
    "managed_use_at": ("时间", "At"),
    "managed_use_operation": ("用途", "Use"),
    "managed_use_person": ("使用人", "By"),
    "managed_use_signature": ("签名", "Signature"),
    "managed_use_mac": ("校验码", "MAC"),
    "managed_use_mac-check": ("核对校验码", "MAC check"),
    "managed_use_data-key-seal": ("取密封用的数据密钥", "Data key for sealing"),
    "managed_use_data-key-open": ("取解封用的数据密钥", "Data key for opening"),
    "managed_next": ("使用与管理的命令", "Commands that use and move it"),
    "managed_next_users": ("使用员在自己的计算机上：", "Users, on their own machine:"),
    "managed_next_officers": (
        "密钥员在自己的计算机上（失密与销毁不可撤回）：",
        "Officers, on their own machine (compromised and destroyed cannot be taken back):",
    ),
    "managed_next_make": ("再生成一个密钥：", "Make another key:"),
    "managed_usage": ("用量", "What was used"),
    "managed_states": ("状态与含义", "States"),
    "usage_signatures": ("签名", "Signatures"),
    "usage_macs": ("校验码", "MACs"),
    "usage_mac_checks": ("核对校验码", "MAC checks"),
    "usage_data_keys_for_sealing": ("密封用数据密钥", "Data keys for sealing"),
    "usage_data_keys_for_opening": ("解封用数据密钥", "Data keys for opening"),
}
