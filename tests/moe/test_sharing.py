from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.moe.sharing import MAX_EXPERTS, Branch, join_branches, share_experts

LOADS = st.lists(st.integers(0, 40), min_size=1, max_size=6)


def flat(loads: list[int]) -> Branch:
    return join_branches([Branch(f"f{place}", float(load)) for place, load in enumerate(loads)])


@st.composite
def trees(draw: st.DrawFn) -> Branch:
    sizes = draw(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), min_size=1, max_size=5))
    branches = [
        join_branches([Branch(f"{top}.{place}", float(load)) for place, load in enumerate(loads)], f"t{top}")
        for top, loads in enumerate(sizes)
    ]
    return join_branches([each.below[0] if len(each.below) == 1 else each for each in branches])


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for place in range(len(rest)):
            yield [*rest[:place], [items[0], *rest[place]], *rest[place + 1 :]]


def least_possible(loads: list[int], experts: int) -> float:
    """The smallest largest load, by trying every way: bundles have one expert, a branch by itself has any number."""
    best = math.inf
    for groups in partitions(list(range(len(loads)))):
        spare = experts - len(groups)
        if spare < 0:
            continue
        alone = [each for each in groups if len(each) == 1]
        for extra in itertools.product(range(spare + 1), repeat=len(alone)):
            if sum(extra) != spare:
                continue
            own = [loads[each[0]] / (1 + more) for each, more in zip(alone, extra, strict=True)]
            best = min(best, max([*own, *(sum(loads[i] for i in each) for each in groups if len(each) > 1)]))
    return best


@given(LOADS, st.integers(1, 8))
def test_on_one_level_the_largest_load_is_near_the_least_possible(loads: list[int], experts: int) -> None:
    made = share_experts(flat(loads), experts)
    assert len(made) == experts
    assert max(each.load for each in made) <= 4 / 3 * least_possible(loads, experts) + 1e-9


@given(trees(), st.integers(1, 20))
def test_every_family_is_served_and_every_expert_serves(tree: Branch, experts: int) -> None:
    made = share_experts(tree, experts)
    assert len(made) == experts
    assert all(each.families for each in made)
    assert {name for each in made for name in each.families} == set(tree.families)
    assert math.fsum(each.load for each in made) == pytest.approx(tree.load)
    for name in tree.families:  # a family either has experts of its own or shares exactly one
        own = [each for each in made if name in each.families]
        assert len(own) == 1 or all(each.families == (name,) for each in own)


@given(trees(), st.integers(1, 12), st.randoms())
def test_the_order_of_branches_changes_nothing(tree: Branch, experts: int, random: object) -> None:
    below = list(tree.below)
    random.shuffle(below)  # type: ignore[attr-defined]
    ways = [
        sorted(tuple(sorted(each.families)) for each in share_experts(each, experts))
        for each in (tree, tree, join_branches(below))
    ]
    assert ways[0] == ways[1] == ways[2]


def test_small_families_share_and_a_large_one_has_several() -> None:
    made = share_experts(flat([90, 2, 2, 2, 2, 2]), 6)
    assert [each.families for each in made] == [("f0",)] * 5 + [("f1", "f2", "f3", "f4", "f5")]
    assert [each.load for each in made] == pytest.approx([18] * 5 + [10])


def test_branches_of_one_tree_share_before_they_share_with_others() -> None:
    pair = join_branches([Branch("Germanic", 3), Branch("Celtic", 1)], "Indo-European")
    other = join_branches([Branch("Bantu", 3), Branch("Gbe", 1)], "Atlantic-Congo")
    made = share_experts(join_branches([pair, other]), 2)
    assert {each.families for each in made} == {("Germanic", "Celtic"), ("Bantu", "Gbe")}


def test_one_expert_serves_all_and_no_load_is_shared_evenly() -> None:
    assert share_experts(flat([5, 1]), 1)[0].families == ("f0", "f1")
    assert [each.load for each in share_experts(flat([0, 0]), 3)] == [0, 0, 0]


@pytest.mark.parametrize("experts", [0, -1, MAX_EXPERTS + 1])
def test_a_number_of_experts_has_bounds(experts: int) -> None:
    with pytest.raises(InputError, match=rf"--experts {experts}: give a number from 1 to {MAX_EXPERTS}"):
        share_experts(flat([1]), experts)
