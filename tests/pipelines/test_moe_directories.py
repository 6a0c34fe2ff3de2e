from __future__ import annotations

import re
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
from polycompress.moe.context import RoutingContext
from polycompress.pipelines.dense_export import export_dense
from polycompress.pipelines.evaluate import evaluate
from polycompress.pipelines.factorise import factorise_model
from polycompress.pipelines.finetune import finetune
from polycompress.pipelines.inspect import inspect
from polycompress.pipelines.mlm import mlm
from polycompress.pipelines.trim import trim
from polycompress.pipelines.verify import verify
from tests.command_line import invoke
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


def test_inspect_tells_of_experts(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspect(source)
    total = sum(each.numel() for each in load_file(source / "model.safetensors").values())
    assert sum(found.parameters.values()) == total and found.model_type == "moe-xlm-roberta"
    assert found.parameters["layers"] > 3 * (2 * 16 * 24 + 16 + 24)
    assert found.experts == CONFIG and found.active_parameters == total - (2 * 16 * 24 + 16 + 24)
    done = invoke(capsys, "inspect", str(source))
    assert re.search(r"that one token meets +\d", done.out)
    assert "experts: 3 in layers 1, 2 for each token: A 0, B 1, C 2" in done.out


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


def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, list[int]]]:
    """Of each forward pass from now on: whether it trains, and the languages that tokens are forced by."""
    found: list[tuple[bool, list[int]]] = []
    plain = RoutingContext.enter

    def enter(self: RoutingContext, module: Any, *given: Any) -> None:
        plain(self, module, *given)
        assert self.current is not None
        if self.current.forced is not None and self.current.languages is not None:
            found.append((module.training, sorted(set(self.current.languages.tolist()))))

    monkeypatch.setattr(RoutingContext, "enter", enter)
    return found


def test_experts_that_are_to_be_told_the_language_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a task is learnt, while its development examples are judged, and while the model is judged."""
    names = {"deu-Latn": "A", "eng-Latn": "B", "swh-Latn": "C"}
    plain = make_tiny("bert", "base", tmp_path / "plain")
    data = make_pack(tmp_path / "data", examples=14)
    learnt: dict[str, Path] = {}
    for routing in ("plain", "forced"):
        config = settings(3, 1, languages=names, routing=routing)
        told = seen(monkeypatch)
        result = finetune(
            make_moe(plain, tmp_path / f"moe-{routing}", config, noise=0.5),
            task="sib200", train_langs="en,de", data=data, out=tmp_path / f"run-{routing}",
            settings={"steps": 2, "batch_texts": 6, "device": "cpu", "evaluate_every": 2},
        )  # fmt: skip
        wanted = {(True, (0, 1)), (False, (0,)), (False, (1,))} if routing == "forced" else set()
        assert {(train, tuple(ids)) for train, ids in told} == wanted
        (learnt[routing],) = result.finals
    told = seen(monkeypatch)
    evaluate(learnt["plain"], task="sib200", langs="en,sw", data=data)
    assert told == []
    evaluate(learnt["forced"], task="sib200", langs="en,sw", data=data)
    assert {tuple(ids) for _, ids in told} == {(1,), (2,)}
    told.clear()
    evaluate(learnt["forced"], task="retrieval-tatoeba", langs="sw", data=data)
    assert list(dict.fromkeys(tuple(ids) for _, ids in told)) == [(1,), (2,)]


def test_speed_is_measured_with_the_head(source: Path) -> None:
    model = load_timed_model(source, precision="fp32", device=torch.device("cpu"))
    assert type(model.module).__name__ == "MoeXLMRobertaForMaskedLM"
    assert model.parameters.total == model.module.num_parameters()
    of_experts = sum(
        each.numel() for name, each in load_file(source / "model.safetensors").items() if "experts" in name
    )
    assert model.parameters.active == model.parameters.total - of_experts // 3  # two of three
    model.forward(2, 6, 0)()


def test_what_experts_do_not_go_with_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"language-family experts.*polycompress moe extract"):
        factorise_model(source, rank=4, out=tmp_path / "f")
    with pytest.raises(InputError, match="language-family experts, and a plain table"):
        export_dense(source, out=tmp_path / "d")
    names = load_file(source / "model.safetensors")
    with pytest.raises(InputError, match="'moe-xlm-roberta': its layers with experts are fixed"):
        plan_layers(read_json(source, "config.json") or {}, names, LayerMap((1,), 2))
