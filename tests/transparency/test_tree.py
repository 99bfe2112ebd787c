"""The tree against published vectors, RFC 6962's own definition, and who would cheat."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.errors import AuditBrokenError
from gridsecure.transparency.tree import (
    EMPTY_ROOT,
    Frontier,
    Node,
    consistency_ranges,
    hash_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).parent / "vectors"
LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")
LEAVES += ("606162636465666768696a6b6c6d6e6f",)
ROOTS = (  # transparency-dev/merkle, testonly/constants.go: RootHashes
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
HASHES = [leaf_hash(bytes([number % 251])) for number in range(70)]


def vectors(name: str):
    cases = json.loads((VECTORS / name).read_text())
    return [pytest.param(case, id=case["file"]) for case in cases]


def decoded(case: dict, *names: str) -> list[bytes]:
    return [b64decode(case[name] or "") for name in names]


def refuses(check) -> bool:
    try:
        check()
    except AuditBrokenError:
        return True
    return False


def plain_root(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 §2.1 writes it down."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node_hash(plain_root(leaves[:half]), plain_root(leaves[half:]))


def hashes_of(nodes: list[Node]) -> dict[Node, bytes]:
    return {
        node: plain_root(HASHES[node.number << node.level : (node.number + 1) << node.level])
        for node in nodes
    }


def test_roots_are_the_published_ones():
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES]
    assert [Frontier().grow(leaves[:size]).root.hex() for size in range(9)] == list(ROOTS)


@pytest.mark.parametrize("case", vectors("inclusion.json"))
def test_inclusion_vectors(case: dict):
    root, leaf = decoded(case, "root", "leafHash")
    path = [b64decode(one) for one in case["proof"] or []]
    assert case["wantErr"] == refuses(
        lambda: verify_inclusion(
            leaf, index=case["leafIdx"], size=case["treeSize"], path=path, root=root
        )
    )


@pytest.mark.parametrize("case", vectors("consistency.json"))
def test_consistency_vectors(case: dict):
    old, new = decoded(case, "root1", "root2")
    path = [b64decode(one) for one in case["proof"] or []]
    assert case["wantErr"] == refuses(
        lambda: verify_consistency((case["size1"], old), (case["size2"], new), path=path)
    )


@pytest.mark.parametrize("size", range(1, 70))
def test_every_leaf_is_proved(size: int):
    root = Frontier().grow(HASHES[:size]).root
    assert root == plain_root(HASHES[:size])
    for index in range(size):
        path = hash_ranges(inclusion_ranges(index, size), hashes_of)
        verify_inclusion(HASHES[index], index=index, size=size, path=path, root=root)
        assert len(path) <= (size - 1).bit_length()


@given(st.integers(1, 70), st.integers(1, 70))
def test_every_tree_begins_with_every_smaller_one(one: int, other: int):
    old, new = sorted((one, other))
    roots = [(size, plain_root(HASHES[:size])) for size in (old, new)]
    path = hash_ranges(consistency_ranges(old, new), hashes_of)
    verify_consistency(roots[0], roots[1], path=path)
    rewritten = [*HASHES[: old - 1], leaf_hash(b"another")]
    with pytest.raises(AuditBrokenError, match=r"log\.consistency"):
        verify_consistency((old, plain_root(rewritten)), roots[1], path=path)


@given(st.integers(0, 60), st.lists(st.integers(0, 9), max_size=9))
def test_a_frontier_grows_as_a_tree_does(size: int, portions: list[int]):
    tree = Frontier().grow(HASHES[:size])
    for portion in portions:
        end = min(tree.size + portion, len(HASHES))
        tree = tree.grow(HASHES[tree.size : end])
    assert tree == Frontier().grow(HASHES[: tree.size])
    assert tree.root == plain_root(HASHES[: tree.size])


def test_a_node_is_no_leaf():
    """Without prefixes, the two hashes under a root would be an entry of a tree of one leaf."""
    left, right = HASHES[:2]
    root = plain_root([left, right])
    with pytest.raises(AuditBrokenError):
        verify_inclusion(leaf_hash(left + right), index=0, size=1, path=[], root=root)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_only_leaves_of_the_tree_are_proved(index: int, size: int):
    with pytest.raises(ValueError, match="leaves"):
        inclusion_ranges(index, size)
    with pytest.raises(AuditBrokenError):
        verify_inclusion(HASHES[0], index=index, size=size, path=[], root=HASHES[0])


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3)])
def test_only_smaller_trees_are_begun_with(old: int, new: int):
    with pytest.raises(ValueError, match="smaller"):
        consistency_ranges(old, new)
