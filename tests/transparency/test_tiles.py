"""Tiles: paths and contents as c2sp.org/tlog-tiles gives them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.errors import InvalidMessageError, NotFoundError
from gridsecure.transparency.tiles import (
    Tile,
    join_entries,
    leaf_tiles,
    read_path,
    split_entries,
    split_hashes,
)


def test_paths_are_the_specified_ones():
    assert Tile(0, 1234067).path == "0/x001/x234/067"
    assert Tile(2, 7, 3).path == "2/007.p/3"
    assert Tile("entries", 0).path == "entries/000"


@given(st.integers(0, 63) | st.just("entries"), st.integers(0, 10**18 - 1), st.integers(1, 256))
def test_a_path_is_read_as_it_is_written(level, number: int, width: int):
    tile = Tile(level, number, width)
    assert read_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "", "0", "0/", "0/00", "0/0000", "0/x000/000", "00/000", "64/000", "-1/000", "0/000.p/0",
        "0/000.p/256", "0/000.p/01", "0/000.p/", "0/x001/x234/067/", "0/x001/234/067",
        "entries", "data/000", "0/000\n", "0/٠٠٠", "0/" + "x999/" * 7 + "999",
    ],
)  # fmt: skip
def test_what_names_no_tile_is_not_found(path: str):
    with pytest.raises(NotFoundError, match=r"not-found\.tile"):
        read_path(path)


def test_a_tree_has_the_specified_tiles():
    """The specification's example of 70,000 entries."""
    tiles = list(leaf_tiles(0, 70_000, level=0))
    assert len(tiles) == 274
    assert tiles[-1] == Tile(0, 273, 112)
    for tile, is_there in (
        (Tile(1, 0), True),
        (Tile(1, 1, 17), True),
        (Tile(1, 1, 18), False),
        (Tile(2, 0, 1), True),
        (Tile(2, 0, 2), False),
        (Tile(0, 273, 112), True),
        (Tile(0, 273, 113), False),
    ):
        assert tile.is_in(70_000) == is_there
    assert list(leaf_tiles(70_000, 70_000, level=0)) == [Tile(0, 273, 112)]
    assert list(leaf_tiles(256, 256, level=0)) == []
    assert next(leaf_tiles(0, 10**18, level=0)) == Tile(0, 0)  # the others are not made


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_entries_come_back(entries: list[bytes]):
    assert split_entries(join_entries(entries)) == entries


@pytest.mark.parametrize("data", [b"\0", b"\0\1", b"\0\2a", b"\0\0\0"])
def test_damaged_bundles_are_refused(data: bytes):
    with pytest.raises(InvalidMessageError, match=r"log\.tile"):
        split_entries(data)


def test_other_bounds():
    assert join_entries([b"a" * 65535])[:2] == b"\xff\xff"
    with pytest.raises(ValueError, match="65535"):
        join_entries([b"a" * 65536])
    with pytest.raises(InvalidMessageError):
        split_hashes(b"a" * 33)
