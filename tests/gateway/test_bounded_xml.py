"""XML documents of readings: a type definition is refused in any encoding that a parser knows."""

from __future__ import annotations

import pytest

from gridsecure.gateway.bounded_xml import read_elements

BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_type_definition_is_refused_in_every_encoding(encoding):
    with pytest.raises(ValueError, match=r"^$"):
        read_elements(BOMB.encode(encoding), lambda _element, _around: False)


def test_a_plain_document_is_read():
    seen = []
    read_elements(
        b"<a><b>1</b></a>", lambda element, around: bool(seen.append((element.tag, around)))
    )
    assert seen == [("b", "a"), ("a", "")]
