"""Attention by products against torch's own, and where which is used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from polycompress.distill import plain_attention as room
from polycompress.distill.capture import Watched
from polycompress.distill.outputs import Needs
from polycompress.distill.plain_attention import (
    PlainAttention,
    is_slow,
    plain_attention,
    plain_where_faster,
)


def heads(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for _ in range(3)]


def with_gradients(attend: Any, inputs: list[Tensor], *others: Any) -> list[Tensor]:
    output = attend(*inputs, *others)
    upstream = torch.linspace(-1, 1, output.numel()).reshape(output.shape).bfloat16().to(output.dtype)
    return [output.detach(), *torch.autograd.grad(output, inputs, upstream)]


@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.sampled_from([1, 4, 7])),
    kind=st.sampled_from(["none", "bool", "added"]),
    scale=st.sampled_from([None, 0.5]),
)
def test_output_and_gradients_are_those_of_fused_attention(
    sizes: tuple[int, ...], kind: str, scale: float | None
) -> None:
    inputs = heads(sizes)
    lengths = torch.arange(sizes[0]) % sizes[2] + 1
    is_open = (torch.arange(sizes[2]) < lengths[:, None])[:, None, None, :]
    masks = {"none": None, "bool": is_open, "added": torch.where(is_open, 0.3, -1e9)}

    def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found: Tensor = functional.scaled_dot_product_attention(query, key, value, masks[kind], scale=scale)
        return found

    wanted = with_gradients(fused, inputs)
    found = with_gradients(plain_attention, inputs, masks[kind], scale)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_in_bf16_it_is_no_further_from_the_truth_than_fused_attention() -> None:
    inputs = heads((2, 3, 40, 16), torch.bfloat16)
    mask = torch.ones(2, 1, 1, 40, dtype=torch.bool)
    mask[1, ..., 25:] = False
    exact = [each.detach().double().requires_grad_() for each in inputs]
    truth = with_gradients(functional.scaled_dot_product_attention, exact, mask)
    ours = with_gradients(plain_attention, inputs, mask)
    fused = with_gradients(functional.scaled_dot_product_attention, inputs, mask)
    for mine, theirs, true in zip(ours, fused, truth, strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine - true).norm() <= (theirs - true).norm()


def test_a_query_without_keys_gives_numbers() -> None:
    inputs = heads((1, 1, 3, 4))
    found = with_gradients(plain_attention, inputs, torch.zeros(1, 1, 1, 3, dtype=torch.bool))
    assert all(each.isfinite().all() for each in found)


@pytest.mark.parametrize(
    ("change", "slow"),
    [
        ({}, True),
        ({"dtype": torch.float32}, False),
        ({"tokens": room.LONGEST + 1}, False),
        ({"grad": False}, False),
        ({"no_grad": True}, False),
    ],
)
def test_only_what_is_slow_is_replaced(change: dict[str, Any], slow: bool) -> None:
    inputs = heads((1, 1, change.get("tokens", 5), 4), change.get("dtype", torch.bfloat16))
    if not change.get("grad", True):
        inputs = [each.detach() for each in inputs]
    with torch.set_grad_enabled(not change.get("no_grad", False)):
        assert is_slow(*inputs) is slow


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.5}, {"scale": 0.1}])
def test_within_the_mode_others_are_left_to_torch(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    def spied(*given: Any) -> Tensor:
        called.append(given)
        return plain_attention(*given)

    monkeypatch.setattr(room, "plain_attention", spied)
    inputs = heads((1, 2, 5, 4), torch.bfloat16)
    torch.manual_seed(0)
    wanted = functional.scaled_dot_product_attention(*inputs, **options)
    torch.manual_seed(0)
    with PlainAttention():
        found = functional.scaled_dot_product_attention(*inputs, **options)
        assert torch.equal(torch.relu(inputs[0]), inputs[0].relu())
    assert bool(called) is ("is_causal" not in options and "dropout_p" not in options)
    torch.testing.assert_close(found, wanted, atol=2e-2, rtol=2e-2)
    functional.scaled_dot_product_attention(*inputs)
    assert len(called) <= 1


def test_without_gradients_or_on_other_devices_nothing_is_watched() -> None:
    assert isinstance(plain_where_faster(torch.device("cpu")), PlainAttention)
    assert not isinstance(plain_where_faster(torch.device("meta")), PlainAttention)
    with torch.no_grad():
        assert not isinstance(plain_where_faster(torch.device("cpu")), PlainAttention)


def test_a_student_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32,
        attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0,
    )  # fmt: skip
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    given_inputs = {"input_ids": torch.arange(14).reshape(2, 7) + 5, "attention_mask": mask}

    def gradients() -> list[Tensor]:
        torch.manual_seed(0)
        model = transformers.BertModel(config, add_pooling_layer=False).train()
        watched = Watched(model, Needs(hidden=frozenset({2}), queries=frozenset({1})), "student")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = watched(given_inputs)
        (found.hidden[2][mask.bool()].float().square().sum() + found.queries[1].float().sum()).backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    ours = gradients()
    monkeypatch.setattr(room, "is_slow", lambda *_: False)
    fused = gradients()
    assert len(ours) == len(fused) > 20
    whole, other = (torch.cat([each.flatten() for each in found]) for found in (ours, fused))
    assert not torch.equal(whole, other)
    assert functional.cosine_similarity(whole, other, dim=0) > 0.999
