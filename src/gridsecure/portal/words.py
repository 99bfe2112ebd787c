"""Every phrase of the portal in Chinese and English.

Length: one table of phrases, read as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gridsecure.statements.wording import Language

PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("我的电费账单", "My electricity bills"),
    "who_sees": (
        "此页面只在您的电脑上：账单用您的密钥打开，密钥和账单都不会发往任何地方。",
        "This page is on your computer alone. Your key opens the bills here. Neither leaves it.",
    ),
    "other_language": ("English", "中文"),
    "all_bills": ("全部账单", "All bills"),
    "account": ("计量点", "Meter point"),
    "period": ("计费周期", "Billing period"),
    "version": ("版本", "Version"),
    "total": ("电费合计", "Total"),
    "last_year": ("与去年同月相比", "Against last year"),
    "open": ("打开账单", "Open the bill"),
    "no_bills": (
        "文件夹里没有账单。把供电企业发来的 .bill 文件放进文件夹，然后刷新此页。",
        "There is no bill in the folder. Put the .bill files that the utility sent into it, and "
        "reload this page.",
    ),
    "corrected": ("已更正", "corrected"),
    "not_opened": ("未能打开的文件", "Files that did not open"),
    "not_opened_note": (
        "这些文件不是发给这把密钥的，或不是该供电企业签发的。请勿据此付款。",
        "They are sealed to another key, or another office made them. Do not pay by them.",
    ),
    "checked": ("已核对", "Checked"),
    "checked_signature": (
        "供电企业签发了这份账单，内容与签名一致。",
        "The utility signed this bill, and every figure is as it was signed.",
    ),
    "checked_receipt": (
        "账单附有读数凭证。要核对账单确由电表读数算出，下载凭证后运行：",
        "A receipt comes with this bill. To check that the bill was made of your meter's readings, "
        "download it and run:",
    ),
    "check": ("用电表读数核对", "Check it with the meter's readings"),
    "check_opening": ("打开凭证的文件（随读数提供）", "Opening, which came with the readings"),
    "check_file": ("电表读数文件", "File of the meter's readings"),
    "check_tariff": ("电价表文件（目录中没有时）", "Tariff file, if the catalogue has none"),
    "check_here": (
        "文件只在您的电脑上读取，核对后不保留。",
        "The files are read on your computer, and not kept.",
    ),
    "check_run": ("核对", "Check"),
    "check_good": ("账单由这些读数算出", "The bill was made of these readings"),
    "check_good_note": (
        "凭证在数据封装节点的日志里；用文件中的读数和电价表重新计算，每一个数字都与账单一致。"
        "以下合同信息请您自己与合同核对。",
        "The receipt is in the gateway's log. Computed again from the readings in your file and "
        "the tariff, every figure is that of the bill. Compare the facts below with your contract.",
    ),
    "check_failed": ("核对没有通过", "The check failed"),
    "check_readings": ("读数个数", "Readings"),
    "check_estimated": ("其中估算值", "Of them estimated"),
    "check_logged": ("写入日志", "Logged"),
    "check_unchecked": ("未核对的部分", "Not checked"),
    "no_receipt": ("这份账单没有读数凭证。", "This bill has no receipt of its readings."),
    "download_receipt": ("下载凭证", "Download the receipt"),
    "download_pdf": ("下载 PDF", "Download as PDF"),
    "code_text": ("二维码内容（供他人核对）", "What the QR code holds, for others to check"),
    "compare": ("与另一份账单相比", "Beside another bill"),
    "compare_with": ("与这份账单相比", "Compare with"),
    "compare_show": ("显示", "Show"),
    "compare_none": (
        "文件夹里没有可以相比的账单。",
        "There is no other bill of this meter point in the folder to compare with.",
    ),
    "charge": ("电费项目", "Charge"),
    "then": ("当时", "Then"),
    "now": ("本期", "Now"),
    "difference": ("差额", "Difference"),
    "days": ("计费天数：当时 {then} 天，本期 {now} 天。", "{then} days then, {now} days now."),
    "ask": ("对账单有疑问？", "A question about this bill?"),
    "ask_note": (
        "您的问题用您的密钥签名，只有供电企业能打开。它写入您的文件夹，由您转交。",
        "Your key signs the question, and only the utility can open it. It is written into your "
        "folder for you to send.",
    ),
    "ask_line": ("关于哪一行", "Which line"),
    "ask_all": ("整份账单", "The whole bill"),
    "ask_reason": ("疑问", "What about"),
    "ask_text": ("您的问题（最多 500 字）", "Your question (up to 500 characters)"),
    "ask_send": ("封好问题", "Seal the question"),
    "asked": ("问题已封好", "The question is sealed"),
    "asked_note": (
        "文件 {name} 在您的文件夹里。请把它发给供电企业；答复放进同一文件夹后会显示在首页。",
        "The file {name} is in your folder. Send it to the utility. Put the answer into the same "
        "folder, and the first page shows it.",
    ),
    "not_asked": ("问题没有封好", "The question was not sealed"),
    "back": ("返回账单", "Back to the bill"),
    "answers": ("供电企业的答复", "Answers of the utility"),
    "answer_about": ("关于 {account}，{start}", "About {account}, {start}"),
    "answer_times": ("{asked} 提问，{answered} 答复", "Asked {asked}, answered {answered}"),
    "reason_readings": ("读数", "The readings"),
    "reason_estimate": ("估算的电量", "Estimated energy"),
    "reason_price": ("电价", "The price"),
    "reason_tier": ("阶梯", "The tier"),
    "reason_correction": ("更正", "A correction"),
    "reason_other": ("其他", "Something else"),
    "not_found": ("没有这一页", "There is no such page"),
    "text_length": ("请写 1 到 500 字。", "Write between 1 and 500 characters."),
    "currency_differs": (
        "两份账单的币种不同，不能相比。",
        "The two bills are in different currencies.",
    ),
}


def phrases(language: Language) -> dict[str, str]:
    """All phrases in one language."""
    place = 0 if language is Language.CHINESE else 1
    return {key: pair[place] for key, pair in PHRASES.items()}
