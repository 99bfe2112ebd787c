"""A small synthetic city, and products made of it; each once a process."""

from __future__ import annotations

from functools import cache

from gridsecure.products.cities import OpenCity
from gridsecure.products.designs import Issue, ProductDesign, read_design, standard_text
from gridsecure.products.previews import Frames, preview_design
from gridsecure.simulator.open_cities import make_city

JULY = Issue("2026-07")


@cache
def city_of(utilities: int) -> OpenCity:
    return make_city(utilities=utilities)


@cache
def previewed(name: str) -> tuple[ProductDesign, OpenCity, Frames]:
    design = read_design(standard_text(name))
    city = city_of(max(len(design.suppliers), 1))
    return design, city, preview_design(design, city=city, issue=JULY)
