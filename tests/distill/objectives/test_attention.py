from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from transformers import BertConfig, BertModel

from polycompress.distill.objectives.attention import (
    AttentionKL,
    AttentionMSE,
    attention_kl,
    attention_log_maps,
    attention_maps,
    attention_mse,
    attention_scores,
)
from polycompress.distill.outputs import Given, Needs
from polycompress.errors import InputError
from tests.distill.objectives.batches import (
    check_all,
    draw,
    draw_outputs,
    given_of,
    loss_with_itself,
    make,
    mask_of,
)

PAIRS = ((0, 1), (1, 2))
LENGTHS = st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(any)


def map_of(queries: NDArray[np.float64], keys: NDArray[np.float64]) -> NDArray[np.float64]:
    """One head of one text without padding."""
    scores = queries @ keys.T / np.sqrt(queries.shape[1])
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def heads_of(tensor: Tensor, lengths: list[int]) -> list[NDArray[np.float64]]:
    """Each text's each head without padding."""
    return [
        head[:length]
        for text, length in zip(tensor.detach().numpy(), lengths, strict=True)
        if length
        for head in text
    ]


def maps_of(queries: Tensor, keys: Tensor, lengths: list[int]) -> list[NDArray[np.float64]]:
    return [map_of(*both) for both in zip(heads_of(queries, lengths), heads_of(keys, lengths), strict=True)]


def test_maps_are_those_of_a_model() -> None:
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8,
        attn_implementation="eager",
    )  # fmt: skip
    model = BertModel(config).eval()
    mask = mask_of((4, 2))
    with torch.no_grad():
        said = model(
            torch.arange(8).reshape(2, 4),
            attention_mask=mask.long(),
            output_attentions=True,
            output_hidden_states=True,
        )
        for number, layer in enumerate(model.encoder.layer):
            attention, states = layer.attention.self, said.hidden_states[number]
            queries, keys = (
                project(states).unflatten(2, (2, 4)).transpose(1, 2)
                for project in (attention.query, attention.key)
            )
            found, wanted = (
                maps.transpose(1, 2)[mask]
                for maps in (attention_maps(queries, keys, mask), said.attentions[number])
            )
            torch.testing.assert_close(found, wanted)


def test_shared_keys_serve_queries_in_a_row() -> None:
    queries, keys = draw(2, 6, 3, 4, seed=1), draw(2, 2, 3, 4, seed=2)
    found = attention_scores(queries, keys)
    for head in range(6):
        wanted = queries[:, head] @ keys[:, head // 3].transpose(1, 2) / 2.0
        torch.testing.assert_close(found[:, head], wanted)
    with pytest.raises(InputError, match=r"4 heads of keys do not divide 6 heads of queries"):
        attention_scores(queries, draw(2, 4, 3, 4))


@given(LENGTHS)
def test_rows_are_distributions_over_real_keys(lengths: list[int]) -> None:
    shape = (len(lengths), 2, max(lengths), 3)
    queries, keys, mask = draw(*shape, seed=1), draw(*shape, seed=2), mask_of(lengths)
    maps = attention_maps(queries, keys, mask)
    torch.testing.assert_close(maps.sum(-1), torch.ones(shape[:3], dtype=torch.float64))
    texts = mask.any(1)
    assert not maps.transpose(1, 3)[texts][~mask[texts]].any()
    torch.testing.assert_close(attention_log_maps(queries, keys, mask).exp(), maps)


@given(LENGTHS, st.integers(0, 99))
def test_losses_are_those_of_the_formulas(lengths: list[int], seed: int) -> None:
    shapes = [(len(lengths), 2, max(lengths), size) for size in (3, 3, 5, 5)]
    tensors = [draw(*shape, seed=seed + 100 * number, scale=2.0) for number, shape in enumerate(shapes)]
    mask = mask_of(lengths)
    own, other = maps_of(*tensors[:2], lengths), maps_of(*tensors[2:], lengths)
    errors = np.concatenate([((s - t) ** 2).ravel() for s, t in zip(own, other, strict=True)])
    maps = [attention_maps(*tensors[:2], mask), attention_maps(*tensors[2:], mask)]
    assert attention_mse(*maps, mask).item() == pytest.approx(errors.mean(), rel=1e-9)
    divergences = np.concatenate([(t * np.log(t / s)).sum(1) for s, t in zip(own, other, strict=True)])
    logs = [attention_log_maps(*tensors[:2], mask), attention_log_maps(*tensors[2:], mask)]
    assert attention_kl(*logs, mask).item() == pytest.approx(divergences.mean(), rel=1e-9)


def test_by_hand() -> None:
    student = torch.tensor([[[[0.5, 0.5], [1.0, 0.0]]]])
    teacher = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]])
    both, first = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    assert attention_mse(student, teacher, both).item() == pytest.approx(4 * 0.25 / 4)
    assert attention_mse(student, teacher, first).item() == pytest.approx(0.25)
    certain = torch.tensor([[[[0.75, 0.25], [0.25, 0.75]]]]).log()
    wanted = (np.log(1 / 0.75) + 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)) / 2
    assert attention_kl(certain, teacher.log(), both).item() == pytest.approx(wanted)


def test_gradients_are_those_of_the_formulas() -> None:
    mask = mask_of((3, 2))
    teacher_queries, teacher_keys = draw(2, 2, 3, 2, seed=3), draw(2, 2, 3, 2, seed=4)

    def of_maps(queries: Tensor, keys: Tensor) -> Tensor:
        return attention_mse(
            attention_maps(queries, keys, mask), attention_maps(teacher_queries, teacher_keys, mask), mask
        )

    def of_logs(queries: Tensor, keys: Tensor) -> Tensor:
        return attention_kl(
            attention_log_maps(queries, keys, mask),
            attention_log_maps(teacher_queries, teacher_keys, mask),
            mask,
        )

    def of_scores(queries: Tensor, keys: Tensor) -> Tensor:
        return attention_mse(
            attention_scores(queries, keys), attention_scores(teacher_queries, teacher_keys), mask
        )

    inputs = tuple(draw(2, heads, 3, 2, seed=seed).requires_grad_() for seed, heads in ((1, 2), (2, 1)))
    for function in (of_maps, of_logs, of_scores):
        assert torch.autograd.gradcheck(function, inputs)


def test_the_teacher_gets_no_gradient() -> None:
    mask = mask_of((3, 2))
    for function in (attention_mse, attention_kl):
        teacher = torch.log_softmax(draw(2, 2, 3, 3, seed=2), -1).requires_grad_()
        function(torch.log_softmax(draw(2, 2, 3, 3, seed=1), -1).requires_grad_(), teacher, mask).backward()
        assert teacher.grad is None


@pytest.mark.parametrize(
    "objective", [AttentionMSE(PAIRS), AttentionMSE(PAIRS, normalised=False), AttentionKL(PAIRS)]
)
def test_what_every_objective_keeps_to(objective: Any) -> None:
    check_all(objective)
    assert loss_with_itself(type(objective)([(0, 0), (2, 2)])) == 0.0
    assert objective.student_needs == Needs(queries=frozenset((0, 1)), keys=frozenset((0, 1)))
    assert objective.teacher_needs == Needs(queries=frozenset((1, 2)), keys=frozenset((1, 2)))


def test_objectives_are_means_over_pairs() -> None:
    example, lengths = make(), [4, 2, 1]
    errors, raw, divergences = [], [], []
    for own, other in PAIRS:
        student = example.student.queries[own], example.student.keys[own]
        teacher = example.teacher.queries[other], example.teacher.keys[other]
        maps = list(zip(maps_of(*student, lengths), maps_of(*teacher, lengths), strict=True))
        errors.append(np.concatenate([((s - t) ** 2).ravel() for s, t in maps]).mean())
        divergences.append(np.concatenate([(t * np.log(t / s)).sum(1) for s, t in maps]).mean())
        scores = [
            [q @ k.T / np.sqrt(3) for q, k in zip(heads_of(a, lengths), heads_of(b, lengths), strict=True)]
            for a, b in (student, teacher)
        ]
        raw.append(np.concatenate([((s - t) ** 2).ravel() for s, t in zip(*scores, strict=True)]).mean())
    assert example.loss(AttentionMSE(PAIRS)).item() == pytest.approx(np.mean(errors))
    assert example.loss(AttentionMSE(PAIRS, normalised=False)).item() == pytest.approx(np.mean(raw))
    assert example.loss(AttentionKL(PAIRS)).item() == pytest.approx(np.mean(divergences))


def test_very_negative_scores_of_real_tokens_count() -> None:
    student, teacher = torch.full((1, 1, 2, 2), -50.0), torch.full((1, 1, 2, 2), -53.0)
    assert attention_mse(student, teacher, torch.tensor([[True, True]])).item() == pytest.approx(9.0)


def test_certain_attention_gives_no_nan() -> None:
    heads = (draw(1, 2, 3, 4, seed=1) * 1e4).float().requires_grad_()
    mask = torch.tensor([[True, True, False]])
    teacher = attention_log_maps(*(draw(1, 2, 3, 4, seed=seed).float() * 1e4 for seed in (2, 3)), mask)
    loss = attention_kl(attention_log_maps(heads, heads, mask), teacher, mask)
    assert torch.isfinite(loss)
    loss.backward()
    assert heads.grad is not None
    assert torch.isfinite(heads.grad).all()


def test_unequal_heads_are_refused() -> None:
    student, teacher = draw_outputs(seed=1, heads=2), draw_outputs(seed=2, heads=4)
    message = (
        "the student has 2 heads and the teacher 4, but maps are matched head by head; "
        "use relation losses (minilmv2)"
    )
    for objective in (AttentionMSE(PAIRS), AttentionMSE(PAIRS, normalised=False), AttentionKL(PAIRS)):
        with pytest.raises(InputError, match=re.escape(message)):
            objective(student, teacher, given_of())


def test_a_text_of_padding_alone_leaves_the_others_as_they_are() -> None:
    both, one = make(lengths=(3, 2)), make(lengths=(3, 2))
    mask = both.given.mask.clone()
    mask[1] = False
    for objective in (AttentionMSE(PAIRS), AttentionKL(PAIRS)):
        found = objective(one.student, one.teacher, Given(mask=mask))
        assert torch.isfinite(found)
        assert found > 0
        assert found != both.loss(objective)
        found.backward()
        grad = one.student.queries[0].grad
        assert grad is not None
        assert torch.isfinite(grad).all()
        assert not grad[1].any()
        assert grad[0].any()
        for tensor in one.student.queries.values():
            tensor.grad = None
