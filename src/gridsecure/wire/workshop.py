"""What the market's workshop and catalogue answer."""

from __future__ import annotations

from gridsecure.messages import Digest
from gridsecure.products.checks import ProductCheck
from gridsecure.products.components import ComponentCard
from gridsecure.products.datasets import DatasetCard
from gridsecure.products.previews import ProductSample
from gridsecure.wire.services import Answer, Count


class ComponentTold(Answer):
    """The card of a component. `version` is SM3 of everything on it."""

    card: ComponentCard
    version: Digest
    depth: Count


class ComponentsTold(Answer):
    """The component library (数据组件库). `measured_by` says what measured its microseconds."""

    measured_by: str
    cards: list[ComponentTold]


class ProductFile(Answer):
    """A product that ships, with its file (TOML)."""

    name: str
    version: int
    title: str
    title_zh: str
    price_yuan: str
    file: str


class ProductFiles(Answer):
    """The products that ship."""

    products: list[ProductFile]


class ProductProven(Answer):
    """What is proven of a file, and by what name a design's recipe has it.

    `digest` is the recipe's, `measures` are the design's. Whatever is refused stands in `check`.
    """

    digest: Digest
    measures: list[str]
    check: ProductCheck


class ProductPreviewed(Answer):
    """A sample on synthetic readings: nobody's are in it. `digest` is what a design says of it."""

    digest: Digest
    sample: ProductSample


class CardTold(Answer):
    """A card of the catalogue. `digest` names its entry, which members read as signed."""

    digest: Digest
    dataset: str
    card: DatasetCard
