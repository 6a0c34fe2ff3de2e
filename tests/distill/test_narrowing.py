"""Narrower students: the same model where nothing is taken away, and nearer to the teacher than chance elsewhere."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polycompress.distill.basis import along_coordinates, orthonormal_basis, sample_states
from polycompress.distill.layer_map import LayerMap, bottom
from polycompress.distill.narrowing import (
    choose_start,
    layer_errors,
    narrow_model,
    project_targets,
    stream_basis,
)
from polycompress.distill.shrinking import choose_neurons, fit_norm, shrink_pair
from polycompress.errors import InputError

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batches(count: int, seed: int, rows: int = 16, width: int = 12) -> list[dict[str, Tensor]]:
    """Counting up by 1, 2 or 3 from a token drawn at random, padded to different lengths."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        first = torch.randint(5, 25, (rows, 1), generator=generator)
        step = torch.randint(1, 4, (rows, 1), generator=generator)
        length = torch.randint(4, width + 1, (rows, 1), generator=generator)
        mask = torch.arange(width) < length
        ids = (first + step * torch.arange(width)).masked_fill(~mask, 0)
        found.append({"input_ids": ids, "attention_mask": mask.long()})
    return found


@functools.cache
def trained() -> Any:
    """A small encoder that has learnt to fill in masked numbers."""
    torch.manual_seed(0)
    model = transformers.AutoModelForMaskedLM.from_config(transformers.BertConfig(**SIZES))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    for batch in batches(150, seed=2):
        hidden = (torch.rand(batch["input_ids"].shape, generator=generator) < 0.2) & batch[
            "attention_mask"
        ].bool()
        labels = batch["input_ids"].masked_fill(~hidden, -100)
        inputs = {**batch, "input_ids": batch["input_ids"].masked_fill(hidden, 4)}
        loss = model(**inputs, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 2.5  # of ln 60 = 4.1 by chance
    return model.eval()


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_at_the_same_size_it_computes_the_same(kind: str) -> None:
    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(kind, **SIZES, pad_token_id=0)
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(4) if parameter.ndim == 2 else parameter.add_(torch.randn_like(parameter) * 0.3)
            if "word_embeddings" in name:
                parameter[0] = 0
    samples = batches(4, seed=5)
    student = narrow_model(model, 32, samples)
    other = batches(1, seed=6)[0]
    mask = other["attention_mask"].bool()
    with torch.no_grad():
        before, after = (each(**other, output_hidden_states=True) for each in (model, student))
    for mine, theirs in zip(after.hidden_states, before.hidden_states, strict=True):
        assert float((mine[mask] - theirs[mask]).abs().max()) < 1e-4
    assert float((after.pooler_output - before.pooler_output).abs().max()) < 1e-4
    assert type(student) is type(model)


def test_a_trained_model_made_narrower_is_nearer_than_chance() -> None:
    model, samples = trained(), batches(8, seed=7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    start = choose_start(model, 16, samples, seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert start.kind == "narrowed"
    assert len(start.errors) == len(start.random_errors) == 4
    assert all(own < 0.5 * chance for own, chance in zip(start.errors, start.random_errors, strict=True))
    config = start.model.config
    assert (config.hidden_size, config.intermediate_size, config.num_attention_heads) == (16, 32, 4)
    unseen = layer_errors(model.base_model, start.model, start.basis, batches(4, seed=8), bottom(3, 3))
    assert all(own < 0.6 * chance for own, chance in zip(unseen, start.random_errors, strict=True))
    assert start.as_dict()["hidden_size"] == 16
    torch.testing.assert_close(start.basis.T @ start.basis, torch.eye(16), atol=1e-5, rtol=0)


def test_errors_fall_as_the_student_gets_wider() -> None:
    samples, base = batches(8, seed=9), trained().base_model
    missed = []
    for size in (8, 16, 24, 32):
        basis = stream_basis(base, size, samples)
        student = narrow_model(base, size, samples, basis=basis)
        wrong = whole = 0.0
        for batch in samples:
            mask = batch["attention_mask"].bool()
            with torch.no_grad():
                taught, own = (each(**batch).last_hidden_state[mask].double() for each in (base, student))
            wrong += float((taught - own @ basis.T).square().sum())  # what the basis leaves out among it
            whole += float(taught.square().sum())
        missed.append(wrong / whole)
    assert missed == sorted(missed, reverse=True)
    assert missed[0] < 1
    assert missed[-1] < 1e-6


def test_the_fitted_parts_matter() -> None:
    """Without the refitted layer norms the same start is worse, so the fit does its work."""
    model, samples = trained(), batches(8, seed=7)
    basis = stream_basis(model, 16, samples)
    student = narrow_model(model, 16, samples, basis=basis)
    fitted = layer_errors(model.base_model, student, basis, samples, bottom(3, 3))
    for name, parameter in student.named_parameters():
        if "LayerNorm" in name:
            with torch.no_grad():
                parameter.fill_(float(name.endswith("weight")))
    plain = layer_errors(model.base_model, student, basis, samples, bottom(3, 3))
    assert sum(fitted) < 0.8 * sum(plain)


def test_layers_can_be_left_out_at_the_same_time() -> None:
    model, samples = trained(), batches(8, seed=7)
    start = choose_start(model, 16, samples, layer_map=LayerMap((0, 2), 3))
    assert start.model.config.num_hidden_layers == 2
    assert len(start.errors) == 3
    assert start.kind == "narrowed"


def test_what_is_worse_than_chance_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from polycompress.distill import narrowing

    found = iter([(3.0, 3.0, 3.0, 3.0), (1.0, 1.0, 1.0, 1.0)])
    monkeypatch.setattr(narrowing, "layer_errors", lambda *given: next(found))
    start = choose_start(trained(), 16, batches(4, seed=7))
    assert start.kind == "random"
    table = start.model.embeddings.word_embeddings.weight
    assert float(table.detach().std()) == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("size", [0, 15, 36])
def test_a_size_that_does_not_fit_is_refused_with_one_that_does(size: int) -> None:
    with pytest.raises(
        InputError, match=rf"hidden size of {size} does not fit: give a multiple of its 4 heads.*such as"
    ):
        narrow_model(trained(), size, batches(1, seed=0))


def test_other_architectures_and_too_little_text_are_refused() -> None:
    gpt2 = transformers.AutoModel.from_config(
        transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9)
    )
    with pytest.raises(InputError, match="of type 'gpt2'; known are bert"):
        narrow_model(gpt2, 4, [])
    few = [{"input_ids": torch.tensor([[7]]), "attention_mask": torch.tensor([[1]])}]
    with pytest.raises(InputError, match="7 states cannot tell 16 directions apart"):
        narrow_model(trained(), 16, few)
    with pytest.raises(InputError, match="teacher of 6 layers, but this one has 3"):
        narrow_model(trained(), 16, few, layer_map=bottom(6, 2))


@given(st.integers(1, 10), st.integers(0, 100))
def test_bases_are_orthonormal_and_hold_most(size: int, seed: int) -> None:
    states = draw(30, 10, seed=seed)
    basis = orthonormal_basis(states, size)
    same = torch.eye(size, dtype=torch.float64)
    torch.testing.assert_close(basis.T @ basis, same, atol=1e-10, rtol=0)
    _, values, right = torch.linalg.svd(states, full_matrices=False)
    held = (states @ basis).square().sum()
    assert float(held) == pytest.approx(float(values[:size].square().sum()))
    torch.testing.assert_close((right[:size] @ basis).abs(), same, atol=1e-6, rtol=0)
    turned = along_coordinates(basis)
    torch.testing.assert_close(turned @ turned.T, basis @ basis.T, atol=1e-10, rtol=0)  # the same subspace
    if size == 10:
        torch.testing.assert_close(turned, same, atol=1e-10, rtol=0)


def test_a_subspace_of_coordinates_becomes_those() -> None:
    rotation, _ = torch.linalg.qr(draw(3, 3))
    basis = torch.eye(6, dtype=torch.float64)[:, [1, 4, 5]]
    torch.testing.assert_close(along_coordinates(basis @ rotation), basis, atol=1e-10, rtol=0)


def test_targets_are_projected_by_one_basis_for_each_layer() -> None:
    masks = [
        torch.arange(7) < torch.randint(1, 8, (9, 1), generator=torch.Generator().manual_seed(n))
        for n in range(3)
    ]
    hidden = [{layer: draw(9, 7, 6, seed=10 * n + layer).float() for layer in (0, 2)} for n in range(3)]
    both = list(zip(hidden, masks, strict=True))
    found = project_targets(both, 4, torch.Generator().manual_seed(0))
    assert set(found) == {0, 2}
    for basis in found.values():
        assert basis.shape == (6, 4)
        torch.testing.assert_close(basis.T @ basis, torch.eye(4), atol=1e-5, rtol=0)
    again = project_targets(both, 4, torch.Generator().manual_seed(0))
    assert all(torch.equal(found[layer], again[layer]) for layer in found)
    other = project_targets(both, 4, torch.Generator().manual_seed(1))
    assert not torch.equal(found[0], other[0])
    with pytest.raises(InputError, match="27 states cannot tell"):
        project_targets(
            [({0: draw(9, 7, 40, seed=n)}, mask) for n, mask in enumerate(masks)], 30, torch.Generator()
        )


@given(st.integers(0, 1000))
def test_padding_is_never_drawn(seed: int) -> None:
    mask = torch.tensor([[True, False, False], [False, True, True], [False, False, False]])
    place = torch.arange(9.0).reshape(3, 3, 1)
    found = sample_states({0: place, 5: place}, mask, torch.Generator().manual_seed(seed))
    for states in found.values():
        assert states.shape == (2, 1)
        assert float(states[0]) == 0
        assert float(states[1]) in (4, 5)


@given(st.integers(1, 6), st.integers(0, 50))
def test_products_are_kept_as_well_as_so_many_coordinates_can(size: int, seed: int) -> None:
    left, right = draw(15, 6, seed=seed), draw(9, 6, seed=seed + 1)
    first, second = shrink_pair(left, right, size)
    assert first.shape == second.shape == (6, size)
    product = left @ right.T
    found = (left @ first) @ (right @ second).T
    values = torch.linalg.svdvals(product)
    assert float((product - found).square().sum()) == pytest.approx(
        float(values[size:6].square().sum()), abs=1e-8
    )


def test_dead_coordinates_do_no_harm() -> None:
    left, right = draw(15, 6), draw(9, 6, seed=1)
    left[:, 2:] = 0
    first, second = shrink_pair(left, right, 3)
    torch.testing.assert_close((left @ first) @ (right @ second).T, left @ right.T, atol=1e-8, rtol=0)
    zero, _ = shrink_pair(torch.zeros(4, 3), torch.zeros(4, 3), 2)
    assert torch.isfinite(zero).all()


def test_neurons_of_large_activation_and_output_stay() -> None:
    output = torch.tensor([[1.0, 1.0, 10.0, 0.0]])
    assert choose_neurons(torch.tensor([5.0, 1.0, 1.0, 99.0]), output, 2).tolist() == [0, 2]


@given(st.integers(0, 100))
def test_norms_are_fitted_by_least_squares(seed: int) -> None:
    values, gain, bias = draw(40, 5, seed=seed), draw(5, seed=seed + 1), draw(5, seed=seed + 2)
    normed = torch.nn.functional.layer_norm(values, (5,), eps=1e-12)
    found = fit_norm(values, normed * gain + bias, 1e-12)
    torch.testing.assert_close(found[0], gain, atol=1e-8, rtol=0)
    torch.testing.assert_close(found[1], bias, atol=1e-8, rtol=0)
    targets = draw(40, 5, seed=seed + 3)
    best = fit_norm(values, targets, 1e-12)

    def error(shift: float) -> float:
        return float((normed * (best[0] + shift) + best[1] - targets).square().sum())

    assert error(0) <= min(error(0.1), error(-0.1))
