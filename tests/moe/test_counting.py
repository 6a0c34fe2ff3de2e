from __future__ import annotations

import pytest

from polycompress.errors import InputError
from polycompress.moe.counting import count_moe, network_parameters
from polycompress.moe.places import PLACES
from tests.moe.tiny_moe import FAMILIES, both, settings


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("experts", "top_k", "layers"), [(3, 2, (1,)), (5, 1, (0, 1)), (1, 1, (0,))])
def test_the_formula_counts_what_a_model_has(
    family: str, experts: int, top_k: int, layers: tuple[int, ...]
) -> None:
    plain, moe = both(family, settings(experts, top_k, layers=layers))
    found = count_moe(
        plain.num_parameters(),
        hidden=moe.config.hidden_size,
        inner=moe.config.intermediate_size,
        gated=PLACES[family].gated,
        layers=len(layers),
        experts=experts,
        top_k=top_k,
    )
    assert found.total == moe.num_parameters() == plain.num_parameters() + found.extra
    idle = sum(
        each.numel() * (experts - top_k) // experts
        for name, each in moe.named_parameters()
        if ".experts." in name
    )
    assert found.active == found.total - idle == plain.num_parameters() + found.extra_active
    if experts == 1:
        assert found.extra == len(layers) * moe.config.hidden_size  # the router
    assert found.as_dict()["active"] == found.active


@pytest.mark.parametrize(
    ("hidden", "inner", "extra_millions", "active_millions"),
    [(896, 4864, 157, 26), (1536, 8960, 495, 83), (3584, 18944, 2440, 407)],
)
def test_qwen2_models_of_the_paper(
    hidden: int, inner: int, extra_millions: int, active_millions: int
) -> None:
    found = count_moe(0, hidden=hidden, inner=inner, gated=True, layers=2, experts=7, top_k=2)
    assert found.extra / 1e6 == pytest.approx(extra_millions, rel=0.005)
    assert found.extra_active / 1e6 == pytest.approx(active_millions, rel=0.01)
    assert found.extra == 2 * (6 * 3 * hidden * inner + 7 * hidden)


def test_numbers_that_make_no_model_are_refused() -> None:
    with pytest.raises(InputError, match="2 experts, 3 for a token"):
        count_moe(10, hidden=2, inner=2, gated=True, layers=1, experts=2, top_k=3)
    assert network_parameters(3, 5, gated=False) == 30 + 8
