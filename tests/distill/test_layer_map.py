"""Layer maps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.distill.layer_map import LayerMap, bottom, every_nth, make_layer_map
from polycompress.errors import InputError


def test_every_second_of_twelve() -> None:
    found = every_nth(12, 6)
    assert found.layers == (1, 3, 5, 7, 9, 11)
    assert [other for _, other in found.hidden] == [0, 2, 4, 6, 8, 10, 12]
    assert found.attention == ((0, 1), (1, 3), (2, 5), (3, 7), (4, 9), (5, 11))


def test_bottom_layers() -> None:
    assert bottom(12, 3).layers == (0, 1, 2)


@given(st.integers(1, 8), st.integers(1, 8))
def test_every_nth_ends_with_the_last_layer_and_keeps_distances(step: int, layers: int) -> None:
    found = every_nth(step * layers, layers)
    assert found.layers[-1] == step * layers - 1
    assert len(found.layers) == layers
    assert all(high - low == step for low, high in zip(found.layers, found.layers[1:], strict=False))


@given(st.integers(1, 24))
def test_all_layers_are_the_identity(layers: int) -> None:
    assert every_nth(layers, layers) == bottom(layers, layers) == LayerMap(tuple(range(layers)), layers)


def test_what_does_not_divide_is_told_what_does() -> None:
    with pytest.raises(
        InputError, match=r"5 layers do not divide .* 12 evenly: give one of 1, 2, 3, 4, 6, 12"
    ):
        every_nth(12, 5)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), "empty"),
        ((0, 12), r"names layer 12, but the teacher has the layers 0 to 11"),
        ((-1, 2), r"names layer -1"),
        ((3, 1), r"3,1 does not go up"),
        ((3, 3), r"3,3 does not go up"),
    ],
)
def test_maps_that_do_not_fit(layers: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LayerMap(layers, 12)


def test_a_map_and_a_number_have_to_agree() -> None:
    assert make_layer_map(12, 2, "every-nth", (0, 11)).layers == (0, 11)
    assert make_layer_map(12, 2, "bottom").layers == (0, 1)
    with pytest.raises(InputError, match="names 2 layers for a student of 3"):
        make_layer_map(12, 3, "every-nth", (0, 11))
    with pytest.raises(InputError, match="give 1 to 12"):
        make_layer_map(12, 13, "bottom")
