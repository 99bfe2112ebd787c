"""A registration bundle as a printable Chinese PDF: the same bytes for the same bundle."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import SimpleDocTemplate, Spacer
from reportlab.platypus import Table as Grid

from gridsecure.products.registration import RIGHTS
from gridsecure.statements.pdf import INK, MARGIN, RULE, WIDTH, Blocks
from gridsecure.statements.pdf_text import make_typeface

if TYPE_CHECKING:
    from gridsecure.products.designs import ProductDesign
    from gridsecure.products.registration import RegistrationBundle

TYPES: Final = {
    "data-index": "数据指数",
    "data-report": "数据分析报告",
    "dataset": "数据集",
    "encrypted-data": "加密数据",
}
_STYLE: Final = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
    ("LINEBELOW", (0, 0), (-1, 0), 0.8, INK),
]


def render_bundle(
    bundle: RegistrationBundle,
    design: ProductDesign,
    *,
    signer: str,
    font: Path | None = None,
) -> bytes:
    """Draw a bundle as a PDF.

    Args:
        signer: Thumbprint of the key that signed it.
        font: A TrueType font to embed; without one, the viewer's own is used.

    Raises:
        InputError: The font cannot be embedded (`statement.font`).
    """
    parts = Blocks(make_typeface(is_chinese=True, font=font), WIDTH)
    buffer = BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=f"数据产品登记材料 {design.name}",
        author=bundle.holder,
        creator="GridSecure",
        lang="zh-CN",
        invariant=1,
        initialFontName="Helvetica",
    )
    document.build(_story(bundle, design, parts, signer=signer))
    return buffer.getvalue()


def _story(
    bundle: RegistrationBundle, design: ProductDesign, parts: Blocks, *, signer: str
) -> list[Any]:
    story = [parts.text("数据产品登记与入表材料", "title"), Spacer(1, 3 * mm)]
    story.append(parts.warning(bundle.notice))
    for title, heads, rows in _tables(bundle, design, signer):
        story += [*parts.heading(title), _table(parts, heads, rows)]
    story += parts.heading("依据文件")
    story += [parts.text(rule, "bullet", bullet="•") for rule in bundle.rules]
    return story


def _tables(
    bundle: RegistrationBundle, design: ProductDesign, signer: str
) -> list[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    facts = [
        ("产品名称", f"{design.title_zh}（{design.name}，第{design.version}版）"),
        ("产品类型", TYPES[bundle.product_type]),
        ("登记主体", bundle.holder),
        ("编制日期", bundle.registered_on),
        ("保存至", bundle.retained_until),
        ("每期价格（元）", design.price_yuan),
        ("加工成本（元，按持有方自定单价）", f"{bundle.processing_yuan:,f}"),
        ("签名公钥指纹", signer),
    ]
    costs = [
        (one.month, one.party, one.measure, f"{one.amount:,}", one.yuan_per_unit or "未计价")
        for one in bundle.costs
    ]
    groups = [
        (part.name, " ".join(group.values) or "全部", str(group.customers), _fewest(group.minimum))
        for part in bundle.check.parts
        for group in part.groups
    ]
    return [
        ("一、登记信息", ("项目", "内容"), list(facts)),
        ("二、权属（自述）", ("权利", "权利人", "依据"),
         [(RIGHTS[one.right], one.holder, one.basis) for one in bundle.ownership]),
        ("三、合规说明（自述）", ("条款", "说明", "证据"),
         [(one.clause, one.statement, one.evidence) for one in bundle.statements]),
        ("四、最少户数（示范城市）", ("分项", "组", "户数", "策略最少户数"), groups),
        ("五、加工成本（自述）", ("月份", "使用方", "计量项", "数量", "单价（元）"), costs),
        ("六、组件版本", ("组件", "版本（SM3）"), list(bundle.components.items())),
        ("七、摘要", ("材料", "SM3"), list(bundle.digests.items())),
    ]  # fmt: skip


def _fewest(minimum: int | None) -> str:
    return "不允许" if minimum is None else str(minimum)


def _table(parts: Blocks, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    cells = [[parts.text(head, "column") for head in heads]]
    cells += [[parts.text(text, "cell") for text in row] for row in rows]
    first = 0.32 if len(heads) == 2 else 1 / len(heads)
    rest = (1 - first) / (len(heads) - 1)
    widths = [WIDTH * first, *[WIDTH * rest] * (len(heads) - 1)]
    return Grid(cells, colWidths=widths, style=_STYLE, repeatRows=1)
