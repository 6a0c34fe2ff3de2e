from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from polycompress.errors import InputError
from polycompress.evaluation.speed_models import (
    count_parameters,
    has_bf16,
    load_timed_model,
    longest_input,
    random_ids,
)
from polycompress.modeldir.axes import find_vocab_axes, parameter_parts
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.pipelines.factorise import factorise_model
from tests.tiny_models import make_tiny

CPU = torch.device("cpu")
MODELS = (
    ("xlm-roberta", "base"), ("xlm-roberta", "mlm"), ("bert", "sequence"), ("bert", "pretraining"),
    ("roberta", "token"), ("distilbert", "qa"), ("electra", "sequence"), ("albert", "token"),
    ("deberta-v2", "sequence"), ("modernbert", "base"), ("mpnet", "base"), ("t5", "s2s"), ("mt5", "sequence"),
    ("bart", "sequence"), ("bart", "qa"), ("mbart", "s2s"), ("m2m_100", "base"), ("gpt2", "clm"),
    ("gpt2", "sequence"), ("bloom", "token"), ("llama", "clm"), ("qwen2", "sequence"), ("qwen3_moe", "clm"),
    ("mixtral", "clm"), ("gemma", "base"),
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    root = tmp_path_factory.mktemp("models")

    def make(family: str, head: str) -> Path:
        path = root / f"{family}-{head}"
        return path if path.exists() else make_tiny(family, head, path)

    return make


@pytest.mark.parametrize(("family", "head"), MODELS)
def test_any_model_runs_and_counts_as_its_file_says(
    tiny: Callable[[str, str], Path], family: str, head: str
) -> None:
    path = tiny(family, head)
    model = load_timed_model(path, precision="fp32", device=CPU)
    names = json.loads((path / "config.json").read_text())["architectures"]
    assert type(model.module).__name__ == names[0]
    for batch, length in ((1, 5), (3, 17)):
        model.forward(batch, length, seed=0)()
    config = json.loads((path / "config.json").read_text())
    checkpoint = open_checkpoint(path)
    axes = find_vocab_axes(config, checkpoint.tensors, 1)
    parts = parameter_parts(config, checkpoint.tensors, axes)
    # BART keeps this one as a buffer.
    buffer = checkpoint.tensors.get("final_logits_bias")
    kept_apart = math.prod(buffer.shape) if buffer is not None else 0
    assert model.parameters.total == sum(parts.values()) - kept_apart
    assert model.parameters.embedding == parts["embeddings"]


@pytest.mark.parametrize(("family", "experts", "chosen"), [("qwen3_moe", 4, 2), ("mixtral", 2, 2)])
def test_experts_that_are_not_chosen_are_not_active(
    tiny: Callable[[str, str], Path], family: str, experts: int, chosen: int
) -> None:
    model = load_timed_model(tiny(family, "clm"), precision="fp32", device=CPU)
    routed = sum(each.numel() for name, each in model.module.named_parameters() if ".experts." in name)
    assert routed > 0
    assert model.parameters.active == model.parameters.total - routed * (experts - chosen) // experts
    model.module.config.num_experts_per_tok = 0
    assert count_parameters(model.module).active is None


def test_parameters_that_the_checkpoint_lacks_do_not_count(tiny: Callable[[str, str], Path]) -> None:
    path = tiny("xlm-roberta", "mlm")
    whole = load_timed_model(path, precision="fp32", device=CPU)
    body = load_timed_model(path, precision="fp32", device=CPU, body=True)
    assert body.module.get_output_embeddings() is None
    assert body.module.pooler is not None  # made anew
    table = whole.module.get_input_embeddings().weight
    head = sum(each.numel() for each in whole.module.lm_head.parameters() if each is not table)
    assert body.parameters.total == whole.parameters.total - head
    assert body.parameters.active == body.parameters.total


def test_weights_take_the_precision(tiny: Callable[[str, str], Path]) -> None:
    path = tiny("bert", "sequence")
    model = load_timed_model(path, precision="bf16", device=CPU)
    assert {each.dtype for each in model.module.parameters()} == {torch.bfloat16}
    assert not model.module.training
    model.forward(2, 8, seed=0)()
    assert load_timed_model(path, precision="fp32", device=CPU).module.dtype == torch.float32
    assert has_bf16(CPU) in (True, False)


@pytest.mark.parametrize("family", ["xlm-roberta", "bert", "gpt2"])
def test_the_longest_input_runs_and_a_longer_one_is_refused(
    tiny: Callable[[str, str], Path], family: str
) -> None:
    model = load_timed_model(tiny(family, "sequence"), precision="fp32", device=CPU)
    limit = longest_input(model.module)
    assert limit is not None
    assert 70 <= limit <= 72
    model.forward(1, limit, seed=0)()
    with pytest.raises(
        InputError, match=rf"takes at most {limit} tokens, not {limit + 1}\. Give --length up to"
    ):
        model.forward(1, limit + 1, seed=0)


def test_t5_has_no_longest_input(tiny: Callable[[str, str], Path]) -> None:
    model = load_timed_model(tiny("t5", "s2s"), precision="fp32", device=CPU)
    assert longest_input(model.module) is None
    model.forward(1, 600, seed=0)()


def test_random_tokens_are_ordinary_ones_and_the_same_again(tiny: Callable[[str, str], Path]) -> None:
    module = load_timed_model(tiny("xlm-roberta", "base"), precision="fp32", device=CPU).module
    ids = random_ids(module, 50, 40, 3)
    config = module.config
    assert ids.shape == (50, 40)
    assert (ids[:, -1] == config.eos_token_id).all()
    special = {config.bos_token_id, config.pad_token_id, config.eos_token_id}
    assert not special & set(ids[:, :-1].flatten().tolist())
    assert 0 <= int(ids.min()) <= int(ids.max()) < config.vocab_size
    assert torch.equal(ids, random_ids(module, 50, 40, 3))
    assert not torch.equal(ids, random_ids(module, 50, 40, 4))


def test_an_output_that_would_not_fit_is_refused_before_it_is_made(tiny: Callable[[str, str], Path]) -> None:
    path = tiny("bert", "pretraining")
    model = load_timed_model(path, precision="fp32", device=CPU)
    # Inputs of this size would take memory too: the largest batch that is made here is of ids alone.
    model.module.set_output_embeddings(torch.nn.Linear(1, 1 << 33, bias=False, device="meta"))
    with pytest.raises(InputError, match=r"its head over 8,589,934,592 tokens writes .* GB.* Give --body"):
        model.forward(64, 64, seed=0)
    load_timed_model(path, precision="fp32", device=CPU, body=True).forward(64, 64, seed=0)


def test_what_cannot_be_loaded_or_run(tmp_path: Path) -> None:
    path = make_tiny("bert", "base", tmp_path / "bert")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "model_type": "bertt", "architectures": []}))
    with pytest.raises(InputError, match="transformers cannot load this model"):
        load_timed_model(path, precision="fp32", device=CPU)
    (path / "config.json").write_text(json.dumps({**config, "architectures": ["pipeline"]}))
    model = load_timed_model(path, precision="fp32", device=CPU)
    assert type(model.module).__name__ == "BertModel"
    model.module.embeddings.word_embeddings = torch.nn.Embedding(3, 16)
    model.module.config.vocab_size = 400
    run = model.forward(1, 4, seed=0)
    model.module.embeddings.word_embeddings = torch.nn.Embedding(1, 16)
    with pytest.raises(InputError, match="batch 1, length 4: the model cannot be run: index out of range"):
        run()


def test_factorised_models_are_loaded_with_their_heads_and_counted_whole(tmp_path: Path) -> None:
    plain = make_tiny("xlm-roberta", "mlm", tmp_path / "plain", vocab_size=300)
    factorise_model(plain, rank=4, out=tmp_path / "f")
    model = load_timed_model(tmp_path / "f", precision="fp32", device=CPU)
    assert type(model.module).__name__ == "FactorisedXLMRobertaForMaskedLM"
    rows = model.module.config.vocab_size
    assert model.parameters.embedding == 4 * (rows + 16)
    assert model.parameters.total == model.module.num_parameters()
    model.forward(2, 6, 0)()
    assert int(random_ids(model.module, 50, 40, 3).max()) < rows
