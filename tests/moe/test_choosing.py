from __future__ import annotations

import pytest

from polycompress.errors import InputError
from polycompress.moe.choosing import choose_layers, choose_top_k


def test_the_last_layers_are_taken() -> None:
    assert choose_layers(12) == (10, 11)
    assert choose_layers(12, last=3) == (9, 10, 11)
    assert choose_layers(1) == (0,)
    assert choose_layers(3, last=3) == (0, 1, 2)


def test_layers_can_be_named() -> None:
    assert choose_layers(12, named=(5, 3, 4)) == (3, 4, 5)


@pytest.mark.parametrize("last", [0, -1, 13])
def test_more_layers_than_there_are(last: int) -> None:
    with pytest.raises(
        InputError, match=rf"--layers {last}: the model has 12 layers\. Give a number from 1 to 12"
    ):
        choose_layers(12, last=last)


def test_layers_outside_the_model_or_named_twice() -> None:
    with pytest.raises(InputError, match=r"names layer 12, 40, outside the model: it has the layers 0 to 11"):
        choose_layers(12, named=(3, 40, 12))
    with pytest.raises(InputError, match="names layer 3 twice"):
        choose_layers(12, named=(3, 4, 3))
    with pytest.raises(InputError, match="--layers and --layer-list cannot be combined"):
        choose_layers(12, last=2, named=(3,))


def test_a_token_goes_to_two_or_to_all_there_are() -> None:
    assert (choose_top_k(5), choose_top_k(1), choose_top_k(5, 5)) == (2, 1, 5)
    with pytest.raises(InputError, match=r"--top-k 6: there are 5 experts\. Give a number from 1 to 5"):
        choose_top_k(5, 6)
    with pytest.raises(InputError, match="--top-k 2: there is 1 expert"):
        choose_top_k(1, 2)
    with pytest.raises(InputError, match="--top-k 0"):
        choose_top_k(5, 0)
