from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from polycompress.errors import InputError
from polycompress.pipelines.factorise import factorise_model
from polycompress.training.batches import Batch, collate
from polycompress.training.examples import Example
from polycompress.training.masking import IGNORED, MaskedLM, Masking, causal_lm
from polycompress.training.model import first_position, load_language_model
from polycompress.training.objective import LanguageModelling, LanguageTask, mean_cross_entropy, shift
from tests.tiny_models import make_tiny

MASKED = ["bert", "xlm-roberta", "distilbert", "deberta-v2", "modernbert", "rembert", "albert"]
CAUSAL = ["gpt2", "llama", "gemma", "qwen3", "bloom", "opt", "gemma2"]
FACTORISED = ["factorised-xlm-roberta", "factorised-gemma", "factorised-llama"]
FULL_ONLY = {"opt", "gemma2"}
"""What they do with logits is more than a product: a projection that the hook does not reach, a soft cap."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    made = {name: make_tiny(name, "mlm", root / name, vocab_size=300) for name in MASKED}
    made |= {name: make_tiny(name, "clm", root / name, vocab_size=300) for name in CAUSAL}
    for name in FACTORISED:
        factorise_model(made[name.removeprefix("factorised-")], rank=6, out=root / name)
        made[name] = root / name
    return made


def load(path: Path) -> Any:
    return load_language_model(path, json.loads((path / "config.json").read_text()))


def texts(count: int = 5, seed: int = 0) -> list[Example]:
    chance = np.random.default_rng(seed)
    return [
        Example(number, "deu-Latn", chance.integers(8, 200, length))
        for number, length in enumerate(chance.integers(6, 12, count).tolist())
    ]


def batch_for(kind: str, rows: list[list[Example]], *, packed: bool = False, first: int = 0) -> Batch:
    objective: Any = causal_lm
    if kind == "masked":
        objective = MaskedLM(masking=Masking(rate=0.3), seed=1, mask_id=4, ordinary=np.arange(8, 200))
    return collate(rows, pad_id=1, objective=objective, packed=packed, first_position=first)


def one_row_each(kind: str) -> Batch:
    return batch_for(kind, [[text] for text in texts()])


@pytest.mark.parametrize("family", [*MASKED, *CAUSAL, *FACTORISED])
def test_the_loss_is_the_library_s_own(models: dict[str, Path], family: str) -> None:
    loaded = load(models[family])
    batch = one_row_each(loaded.kind)
    loaded.model.eval()
    assert batch.labels is not None
    with torch.no_grad():
        expected = loaded.model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
        ).loss
        objective = LanguageModelling(loaded.model, loaded.kind, "full").eval()
        found = objective(batch.input_ids, batch.attention_mask, batch.labels)
    assert objective.is_plain is (family not in FULL_ONLY)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "family", [name for name in [*MASKED, *CAUSAL, *FACTORISED] if name not in FULL_ONLY]
)
def test_a_sampled_loss_with_every_id_is_the_full_one(models: dict[str, Path], family: str) -> None:
    gradients = []
    for loss in ("full", "sampled"):
        loaded = load(models[family])
        loaded.model.eval()
        objective = LanguageModelling(loaded.model, loaded.kind, loss).eval()  # type: ignore[arg-type]
        task = LanguageTask(
            objective, objective, negatives=10_000, generator=torch.Generator(), device=torch.device("cpu")
        )
        value = objective(**task.prepare(one_row_each(loaded.kind)).inputs)
        value.backward()
        named = {
            name: parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
            for name, parameter in loaded.model.named_parameters()
            if parameter.grad is not None
        }
        embeddings = loaded.model.get_input_embeddings()
        table = embeddings.coordinates if "factorised" in family else embeddings.weight
        assert table.grad is not None
        assert table.grad.is_sparse is objective.is_sparse is (loss == "sampled" or not objective.is_tied)
        gradients.append((value.detach(), named))
    (full, dense), (sampled, sparse) = gradients
    torch.testing.assert_close(sampled, full, rtol=1e-5, atol=1e-6)
    assert dense.keys() == sparse.keys()
    for name in dense:
        torch.testing.assert_close(sparse[name], dense[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    "family", [*(name for name in MASKED if name != "deberta-v2"), "gpt2", "llama", "qwen3"]
)
def test_packed_rows_give_what_each_text_gives_alone(models: dict[str, Path], family: str) -> None:
    loaded = load(models[family])
    loaded.model.eval()
    objective = LanguageModelling(loaded.model, loaded.kind, "full").eval()
    task = LanguageTask(
        objective, objective, negatives=1, generator=torch.Generator(), device=torch.device("cpu")
    )
    five = texts()
    first = first_position(loaded.model)
    packed = batch_for(loaded.kind, [five[:3], five[3:]], packed=True, first=first)
    alone = batch_for(loaded.kind, [[text] for text in five])
    with torch.no_grad():
        together = objective(**task.prepare(packed).inputs)
        apart = objective(**task.prepare(alone).inputs)
    assert packed.labelled == alone.labelled
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_only_labelled_positions_go_through_the_head(models: dict[str, Path]) -> None:
    loaded = load(models["xlm-roberta"])
    objective = LanguageModelling(loaded.model, loaded.kind, "full")
    seen: list[tuple[int, ...]] = []
    loaded.model.lm_head.dense.register_forward_hook(
        lambda _, inputs, __: seen.append(tuple(inputs[0].shape))
    )
    batch = one_row_each("masked")
    objective(batch.input_ids, batch.attention_mask, batch.labels)
    assert seen == [(1, batch.labelled, 16)]
    loaded.model(input_ids=batch.input_ids)
    assert seen[-1] == (*batch.input_ids.shape, 16), "the model itself is as it was"


def test_nothing_labelled_is_a_loss_of_nothing(models: dict[str, Path]) -> None:
    for loss in ("full", "sampled"):
        loaded = load(models["bert"])
        objective = LanguageModelling(loaded.model, loaded.kind, loss)  # type: ignore[arg-type]
        batch = one_row_each("masked")
        none = torch.full_like(batch.input_ids, IGNORED)
        drawn = {"negatives": torch.arange(4), "log_inclusion": torch.zeros(4)} if loss == "sampled" else {}
        value = objective(batch.input_ids, batch.attention_mask, none, **drawn)
        value.backward()
        assert float(value.detach()) == 0.0
        assert all(
            parameter.grad is None or not parameter.grad.to_dense().any()
            for parameter in loaded.model.parameters()
        )


def test_the_rows_that_will_be_read_are_known(models: dict[str, Path]) -> None:
    loaded = load(models["xlm-roberta"])
    objective = LanguageModelling(loaded.model, loaded.kind, "sampled")
    task = LanguageTask(
        objective,
        objective,
        negatives=20,
        generator=torch.Generator().manual_seed(5),
        device=torch.device("cpu"),
    )
    batch = one_row_each("masked")
    prepared = task.prepare(batch)
    assert prepared.rows is not None
    assert batch.labels is not None
    labels = batch.labels[batch.labels != IGNORED]
    read = {*batch.input_ids.flatten().tolist(), *labels.tolist(), *prepared.inputs["negatives"].tolist()}
    assert set(prepared.rows.tolist()) == read
    assert len(prepared.rows) == len(read)
    objective(**prepared.inputs).backward()
    touched = loaded.model.get_input_embeddings().weight.grad.coalesce().indices()[0]
    assert set(touched.tolist()) <= read


def test_negatives_come_from_the_generator_alone(models: dict[str, Path]) -> None:
    loaded = load(models["bert"])
    objective = LanguageModelling(loaded.model, loaded.kind, "sampled")
    drawn = []
    for seed in (1, 1, 2):
        task = LanguageTask(
            objective, objective, negatives=20, generator=torch.Generator().manual_seed(seed),
            device=torch.device("cpu"),
        )  # fmt: skip
        torch.manual_seed(len(drawn))
        drawn.append(task.prepare(one_row_each("masked")).inputs["negatives"].tolist())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("family", sorted(FULL_ONLY))
def test_a_softmax_that_cannot_be_sampled_is_refused(models: dict[str, Path], family: str) -> None:
    loaded = load(models[family])
    with pytest.raises(InputError, match="its logits are more than a product of hidden states and a table"):
        LanguageModelling(loaded.model, loaded.kind, "sampled")


def test_names_and_tensors_stay_those_of_the_model(models: dict[str, Path]) -> None:
    loaded = load(models["bert"])
    before = loaded.model.state_dict()
    LanguageModelling(loaded.model, loaded.kind, "sampled")
    after = loaded.model.state_dict()
    assert list(after) == list(before)
    assert all(after[name].data_ptr() == before[name].data_ptr() for name in before)


def test_shifted_labels() -> None:
    labels = torch.tensor([[IGNORED, 5, 6], [IGNORED, 7, IGNORED]])
    assert shift(labels).tolist() == [[5, 6, IGNORED], [7, IGNORED, IGNORED]]


def test_the_mean_is_over_labels_in_fp32() -> None:
    logits = torch.randn(4, 9)
    labels = torch.tensor([1, 2, 3, 4])
    torch.testing.assert_close(mean_cross_entropy(logits, labels), functional.cross_entropy(logits, labels))
    assert mean_cross_entropy(logits.bfloat16(), labels).dtype == torch.float32
