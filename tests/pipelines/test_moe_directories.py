from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from polycompress.distill.layer_map import LayerMap
from polycompress.distill.layers import plan_layers
from polycompress.errors import InputError
from polycompress.evaluation.models import check_head
from polycompress.evaluation.speed_models import load_timed_model
from polycompress.modeldir.directory import read_json
from polycompress.pipelines.dense_export import export_dense
from polycompress.pipelines.factorise import factorise_model
from polycompress.pipelines.finetune import finetune
from polycompress.pipelines.inspect import inspect
from polycompress.pipelines.mlm import mlm
from polycompress.pipelines.trim import trim
from polycompress.pipelines.verify import verify
from tests.moe.tiny_moe import load, make_moe, settings
from tests.pipelines.tiny_pack import make_pack
from tests.pipelines.tiny_runs import equal, kill_at, until_done, write_corpora
from tests.tiny_models import make_tiny

CONFIG = settings(3, 2, preset="glottolog-branch")
PREFIX = "roberta.encoder.layer.1.moe."


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model with experts in its upper layer."""
    root = tmp_path_factory.mktemp("models")
    plain = make_tiny("xlm-roberta", "mlm", root / "plain", vocab_size=350)
    return make_moe(plain, root / "moe", CONFIG, noise=0.05)


def test_inspect_counts_experts_among_the_layers(source: Path) -> None:
    found = inspect(source)
    total = sum(each.numel() for each in load_file(source / "model.safetensors").values())
    assert sum(found.parameters.values()) == total and found.model_type == "moe-xlm-roberta"
    assert found.parameters["layers"] > 3 * (2 * 16 * 24 + 16 + 24)


def test_trimming_leaves_experts_alone(source: Path, tmp_path: Path) -> None:
    corpus = write_corpora(tmp_path, {"de": 60})
    result = trim(source, langs="de", corpus=corpus, frequencies=False, out=tmp_path / "de", full=True)
    assert result.certificate is not None and result.certificate.passed
    assert verify(source, tmp_path / "de", text=corpus).certificate.passed
    before, after = (load_file(each / "model.safetensors") for each in (source, tmp_path / "de"))
    experts = [name for name in before if name.startswith(PREFIX)]
    assert len(experts) == 5 and all(torch.equal(before[name], after[name]) for name in experts)
    assert (read_json(tmp_path / "de", "config.json") or {})["moe"] == CONFIG.as_dict()
    card = (tmp_path / "de" / "README.md").read_text()
    assert "import polycompress.auto" in card and "polycompress moe extract" in card
    load(tmp_path / "de", "mlm")


def test_pretraining_goes_on_and_resumes_exactly(source: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "langs": "de,en", "corpus": write_corpora(tmp_path, {"de": 40, "en": 40}),
        "settings": {
            "training": {"steps": 4, "log_every": 2, "snapshots": {"every_steps": 2},
                         "optimiser": {"learning_rate": 1e-2}, "schedule": {"warmup_steps": 1}},
            "batching": {"token_budget": 150}, "max_length": 32, "device": "cpu",
        },
    }  # fmt: skip
    torch.manual_seed(0)
    mlm(source, out=tmp_path / "whole", **given)
    kill = kill_at([3])
    torch.manual_seed(0)
    until_done(lambda: mlm(source, out=tmp_path / "killed", resume=True, progress=kill, **given))
    final = tmp_path / "whole" / "final"
    assert equal(final, tmp_path / "killed" / "final")
    before, after = (load_file(each / "model.safetensors") for each in (source, final))
    assert before.keys() == after.keys()
    for name in ("router.weight", "experts.up", "experts.down_bias"):
        assert not torch.equal(before[PREFIX + name], after[PREFIX + name])
    assert (read_json(final, "config.json") or {})["moe"] == CONFIG.as_dict()
    assert "import polycompress.auto" in (final / "README.md").read_text()


def test_a_task_is_learnt_in_half_precision_with_the_router_in_whole(source: Path, tmp_path: Path) -> None:
    load(source, "mlm", dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "half" / name).write_bytes((source / name).read_bytes())
    result = finetune(
        tmp_path / "half", task="sib200", train_langs="en", data=make_pack(tmp_path / "data", examples=14),
        out=tmp_path / "run", settings={"steps": 2, "batch_texts": 6, "device": "cpu", "evaluate_every": 2},
    )  # fmt: skip
    (final,) = result.finals
    tensors = load_file(final / "model.safetensors")
    assert tensors[f"{PREFIX}router.weight"].dtype == torch.float32
    assert tensors[f"{PREFIX}experts.up"].dtype == torch.bfloat16
    check_head(final, "text-classification")
    load(final, "sequence")


def test_speed_is_measured_with_the_head(source: Path) -> None:
    model = load_timed_model(source, precision="fp32", device=torch.device("cpu"))
    assert type(model.module).__name__ == "MoeXLMRobertaForMaskedLM"
    assert model.parameters.total == model.module.num_parameters()
    model.forward(2, 6, 0)()


def test_what_experts_do_not_go_with_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"language-family experts.*polycompress moe extract"):
        factorise_model(source, rank=4, out=tmp_path / "f")
    with pytest.raises(InputError, match="language-family experts, and a plain table"):
        export_dense(source, out=tmp_path / "d")
    names = load_file(source / "model.safetensors")
    with pytest.raises(InputError, match="'moe-xlm-roberta': its layers with experts are fixed"):
        plan_layers(read_json(source, "config.json") or {}, names, LayerMap((1,), 2))
