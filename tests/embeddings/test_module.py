from __future__ import annotations

import pytest
import torch
from torch import nn

from polycompress.embeddings.module import FactorisedEmbedding, FactorisedHead
from polycompress.training.rows import find_tables

IDS = torch.tensor([[3, 1, 4], [1, 5, 0]])


def pair(
    *, padding: int | None = None, dtype: torch.dtype = torch.float64
) -> tuple[FactorisedEmbedding, nn.Embedding]:
    """A factorised table and the plain one that it stands for."""
    torch.manual_seed(0)
    module = FactorisedEmbedding(9, 6, 4, padding, dtype=dtype)
    plain = nn.Embedding(9, 6, padding, dtype=dtype)
    plain.weight.data.copy_(module.weight.detach())
    return module, plain


def test_looks_up_what_the_product_holds() -> None:
    module, plain = pair()
    torch.testing.assert_close(module(IDS), plain(IDS))
    assert module(IDS).shape == (2, 3, 6)
    assert (module.num_embeddings, module.embedding_dim, module.rank) == (9, 6, 4)
    assert "9, 6, rank=4" in repr(module)


def test_gradients_are_those_of_the_product() -> None:
    module, plain = pair(padding=1)
    module(IDS).square().sum().backward()
    plain(IDS).square().sum().backward()
    with torch.no_grad():
        torch.testing.assert_close(module.coordinates.grad, plain.weight.grad @ module.primitives.T)
        torch.testing.assert_close(module.primitives.grad, module.coordinates.T @ plain.weight.grad)
    assert not module.coordinates.grad[1].any()  # padding
    assert not module.coordinates.grad.is_sparse and find_tables(module) == ()


def test_gradients_may_be_sparse() -> None:
    module, _ = pair()
    module.sparse = True
    module(IDS).sum().backward()
    assert module.coordinates.grad.is_sparse and not module.primitives.grad.is_sparse
    assert find_tables(module) == (module.coordinates,)


def test_the_weight_is_differentiable() -> None:
    module, _ = pair()
    module.weight[3].sum().backward()
    assert module.coordinates.grad[3].any() and module.primitives.grad.any()
    assert not module.coordinates.grad[2].any()
    with pytest.raises(AttributeError):
        module.weight = torch.zeros(9, 6)  # so that no one believes to have changed it


class Scaled(nn.Embedding):
    def __init__(self, *sizes: int, embed_scale: object) -> None:
        super().__init__(*sizes)
        if isinstance(embed_scale, torch.Tensor):
            self.register_buffer("embed_scale", embed_scale, persistent=False)
        else:
            self.embed_scale = embed_scale


@pytest.mark.parametrize("scale", [3.0, torch.tensor(55.4256)])
def test_scales_stay(scale: object) -> None:
    plain = Scaled(9, 6, embed_scale=scale).to(torch.bfloat16)
    module = FactorisedEmbedding.of(plain, 6)
    with torch.no_grad():
        module.coordinates.copy_(plain.weight)
        module.primitives.copy_(torch.eye(6))
    wanted = plain(IDS) * (scale.to(torch.bfloat16) if isinstance(scale, torch.Tensor) else scale)
    assert torch.equal(module(IDS), wanted)
    assert torch.equal(module.weight, plain.weight)


def test_tables_that_do_more_are_refused() -> None:
    class Odd(nn.Embedding):
        pass

    with pytest.raises(TypeError, match="Odd does more than look rows up"):
        FactorisedEmbedding.of(Odd(9, 6), 2)
    with pytest.raises(TypeError, match="max_norm"):
        FactorisedEmbedding.of(nn.Embedding(9, 6, max_norm=1.0), 2)


def test_random_tables_have_the_spread_asked_for() -> None:
    torch.manual_seed(0)
    module = FactorisedEmbedding(2000, 64, 16, padding_idx=0)
    module.reset_parameters(0.02)
    assert float(module.weight.detach()[1:].std()) == pytest.approx(0.02, rel=0.1)
    assert not module.weight[0].any()


def test_a_head_multiplies_with_the_same_table() -> None:
    module, plain = pair()
    linear = nn.Linear(6, 9, dtype=torch.float64)
    head = FactorisedHead.of(linear, 4)
    head.coordinates, head.primitives = module.coordinates, module.primitives
    assert head.bias is linear.bias
    hidden = torch.randn(2, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(head(hidden), nn.functional.linear(hidden, plain.weight, linear.bias))
    torch.testing.assert_close(head.project(hidden) @ head.coordinates.T + head.bias, head(hidden))
    assert head.project(hidden).shape == (2, 5, 4)
    assert FactorisedHead.of(nn.Linear(6, 9, bias=False), 4).bias is None


def test_one_change_shows_at_both_ends() -> None:
    module, _ = pair()
    head = FactorisedHead(6, 9, 4, dtype=torch.float64)
    head.coordinates, head.primitives = module.coordinates, module.primitives
    before = module(IDS), head(torch.ones(1, 6, dtype=torch.float64))
    with torch.no_grad():
        module.primitives.mul_(2)
    torch.testing.assert_close(module(IDS), 2 * before[0])
    torch.testing.assert_close(head(torch.ones(1, 6, dtype=torch.float64)), 2 * before[1])
