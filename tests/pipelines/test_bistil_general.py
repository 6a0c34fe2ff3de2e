"""BiStil's first phase on tiny models, whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.bistil_general import GeneralResult, bistil_general
from polycompress.training.errors import ConfigError, SnapshotMismatchError
from polycompress.training.metrics import read_metrics
from tests.pipelines.tiny_runs import equal, kill_at, until_done, weights, write_corpora
from tests.tiny_models import TEXTS, make_tiny

TEXT: Mapping[str, Any] = {
    "training": {
        "steps": 12,
        "log_every": 4,
        "snapshots": {"every_steps": 5},
        "optimiser": {"learning_rate": 1e-3, "weight_decay": 0.01},
    },
    "batching": {"token_budget": 200},
    "max_length": 48,
    "device": "cpu",
}


class Kitchen:
    """A tiny teacher of four layers, and text in two languages."""

    def __init__(self, root: Path) -> None:
        self.teacher = make_tiny("xlm-roberta", "base", root / "teacher", vocab_size=350, num_hidden_layers=4)
        self.corpus = write_corpora(root, {"de": 60, "en": 30})

    def distil(self, out: Path, model: Path | None = None, **options: Any) -> GeneralResult:
        """A run."""
        torch.manual_seed(0)
        settings = {"text": TEXT, "shape": {"layers": 2}, **options.pop("settings", {})}
        given = {"source": "en", "target": "de", "corpus": self.corpus, "out": out, **options}
        return bistil_general(model or self.teacher, settings=settings, **given)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def test_a_student_of_half_the_layers(kitchen: Kitchen, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    out = tmp_path / "run"
    result = kitchen.distil(out, held_out=kitchen.corpus[0])
    model, info = AutoModel.from_pretrained(result.final, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.num_hidden_layers == 2
    assert AutoTokenizer.from_pretrained(result.final)(TEXTS[0])["input_ids"]
    teacher, start = weights(out / "teacher"), weights(out / "start")
    for own, other in ((0, 1), (1, 3)):
        name = "encoder.layer.{}.attention.self.query.weight"
        assert torch.equal(start[name.format(own)], teacher[name.format(other)])
    assert start["embeddings.word_embeddings.weight"].shape[0] < 350
    assert (result.final / "tokenizer.json").read_bytes() == (out / "teacher" / "tokenizer.json").read_bytes()
    records = read_metrics(out / "metrics.jsonl")
    assert records[-1]["held_out_loss"] < records[1]["held_out_loss"]
    parts = records[-1]["loss_hidden-mse"] + records[-1]["loss_attention-mse"]
    assert records[-1]["loss"] == pytest.approx(parts, rel=1e-5)
    manifest = read_manifest(result.final)
    assert manifest is not None
    assert manifest["layers"] == [1, 3]
    assert set(manifest["distillation"]["language_tokens"]) == {"deu-Latn", "eng-Latn"}
    assert manifest["sizes"]["before"]["parameters"] > manifest["sizes"]["after"]["parameters"]
    assert manifest["kept_ids"] == read_manifest(out / "teacher")["kept_ids"]  # type: ignore[index]
    card = (result.final / "README.md").read_text()
    assert "distilled for English and German" in card
    assert "copies of the teacher's layers 1 and 3" in card


def test_the_teacher_stays_bit_by_bit_the_same(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polycompress.pipelines.distilling import text_run

    seen = []

    class Spied(text_run.Distillation):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            seen.append(self)

    monkeypatch.setattr(text_run, "Distillation", Spied)
    result = kitchen.distil(tmp_path / "run")
    before = weights(tmp_path / "run" / "teacher")
    after = {name: tensor for name, tensor in seen[0].teacher.state_dict().items() if name in before}
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not seen[0].teacher.training
    assert not any("teacher" in name for name in seen[0].state_dict())
    assert not equal(result.final, tmp_path / "run" / "start")


def test_all_layers_leave_nothing_to_learn(kitchen: Kitchen, tmp_path: Path) -> None:
    text = {**TEXT, "training": {"steps": 3, "log_every": 1, "optimiser": {"weight_decay": 0.0}}}
    result = kitchen.distil(tmp_path / "run", settings={"shape": {"layers": 4}, "text": text})
    assert [record["loss"] for record in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [0.0, 0.0, 0.0]
    assert equal(result.final, tmp_path / "run" / "teacher")


def test_relative_errors_and_vectors_of_texts(kitchen: Kitchen, tmp_path: Path) -> None:
    settings = {"hidden_loss": "relative", "vector_weight": 2.0, "attention": "none"}
    result = kitchen.distil(tmp_path / "run", settings=settings)
    assert result.manifest["distillation"]["losses"] == {"hidden-relative": 1.0, "sentence-vectors": 2.0}
    first, *_, last = read_metrics(tmp_path / "run" / "metrics.jsonl")
    for name in ("loss_hidden-relative", "loss_sentence-vectors"):
        assert last[name] < first[name]


@pytest.mark.parametrize("attention", ["scores", "relations", "none"])
def test_other_ways_to_match_attention(kitchen: Kitchen, tmp_path: Path, attention: str) -> None:
    kitchen.distil(tmp_path / "run", settings={"attention": attention, "relation_heads": 4})
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert records[-1]["loss"] < records[0]["loss"]
    names = {"scores": "loss_attention-mse", "relations": "loss_minilmv2"}
    assert {key for key in records[-1] if key.startswith("loss_")} == {"loss_hidden-mse"} | (
        {names[attention]} if attention in names else set()
    )


def test_what_is_asked_for_besides(kitchen: Kitchen, tmp_path: Path) -> None:
    text = {**TEXT, "masked": False, "freeze_embeddings": True}
    shape = {"layers": 2, "layer_map": [0, 3]}
    result = kitchen.distil(tmp_path / "run", settings={"text": text, "shape": shape, "trim": False})
    assert not (tmp_path / "run" / "teacher").exists()
    table = "embeddings.word_embeddings.weight"
    assert torch.equal(weights(result.final)[table], weights(kitchen.teacher)[table])
    assert result.manifest["layers"] == [0, 3]


def test_stopped_anywhere_and_taken_up_it_ends_bit_by_bit_the_same(kitchen: Kitchen, tmp_path: Path) -> None:
    whole = kitchen.distil(tmp_path / "whole")
    moments = [3, 7, 11]

    broken = tmp_path / "broken"
    every = {**TEXT, "training": {**TEXT["training"], "log_every": 1}}
    kill = kill_at(moments)
    result = until_done(
        lambda: kitchen.distil(broken, settings={"text": every}, resume=broken.exists(), progress=kill)
    )
    assert not moments
    assert equal(result.final, whole.final)


def test_another_layer_map_is_another_run(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.distil(tmp_path / "run")
    (tmp_path / "run" / "final").rename(tmp_path / "final")
    with pytest.raises(SnapshotMismatchError, match="layers"):
        kitchen.distil(tmp_path / "run", resume=True, settings={"shape": {"layers": 2, "strategy": "bottom"}})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": {"layers": 3}}, "3 layers do not divide the teacher's 4 evenly: give one of 1, 2, 4"),
        (
            {"shape": {"layers": 2, "layer_map": [0, 4]}},
            "names layer 4, but the teacher has the layers 0 to 3",
        ),
        ({"relation_heads": 5, "attention": "relations"}, "5 relation heads do not divide all widths"),
        ({"text": {**TEXT, "max_length": 71}}, "has positions for 70 tokens"),
    ],
)
def test_settings_that_do_not_fit(
    kitchen: Kitchen, tmp_path: Path, settings: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        kitchen.distil(tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_every_wrong_setting_at_once(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        kitchen.distil(
            tmp_path / "run",
            settings={
                "text": {"training": {"steps": -1, "optimiser": {"eps": 0.0}}},
                "shape": {"strategy": "top"},
                "attention": "map",
            },
        )
    for part in (
        "text.training.steps is -1",
        "text.training.optimiser.eps is 0.0",
        "shape.strategy is 'top'",
        "attention is 'map'",
    ):
        assert part in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        kitchen.distil(
            tmp_path / "run", settings={"min_share": 2.0, "hidden_weight": -1.0, "relation_heads": 0}
        )
    for part in ("min_share is 2.0", "hidden_weight is -1.0", "relation_heads is 0"):
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match=r"max_length is 2: .*\n.*dropout is 1.5"):
        kitchen.distil(tmp_path / "run", settings={"text": {**TEXT, "dropout": 1.5, "max_length": 2}})
    assert not (tmp_path / "run").exists()


def test_every_fault_at_once_before_anything_is_made(kitchen: Kitchen, tmp_path: Path) -> None:
    """Settings, text, layers, attention, differences: one message, however many are wrong."""
    from polycompress.pipelines.sft import diff_models

    other = make_tiny("xlm-roberta", "base", tmp_path / "other", vocab_size=350, num_hidden_layers=4, seed=1)
    diff_models(kitchen.teacher, other, out=tmp_path / "de.diff")
    model = make_tiny("mpnet", "base", tmp_path / "m", vocab_size=350, num_hidden_layers=4)
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        kitchen.distil(
            tmp_path / "run",
            model,
            corpus=[f"en={empty}", kitchen.corpus[0]],
            held_out=f"de={tmp_path}/none.txt",
            language_sft=f"de={tmp_path / 'de.diff'}",
            settings={"text": {**TEXT, "max_length": 99}},
        )
    for part in (
        "is wrong in 5 places",
        f"{empty}: no text in it. Give a file with one text a line",
        f"--held-out '{tmp_path}/none.txt'",
        "the student (mpnet) has attention that",
        "max_length is 99, but",
        "is not the model that these differences were made for",
    ):
        assert str(caught.value).count(part) == 1, (part, str(caught.value))
    assert "encoder.layer.0" in str(caught.value), "tensors are named"
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"steps is -1(.|\n)*nothing: no such directory(.|\n)*is German"):
        wrong = {"text": {"training": {"steps": -1}}}
        kitchen.distil(tmp_path / "run", tmp_path / "nothing", target="sw", settings=wrong)
    assert not (tmp_path / "run").exists()


def test_a_wrong_setting_or_language_hides_no_fault_of_layers_or_files(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    wrong = {"text": {"training": {"steps": -1}}, "shape": {"layer_map": [0, 99]}}
    match = r"in 4 places:\n.*steps is -1(.|\n)*Unknown language 'xx'(.|\n)*none\.txt(.|\n)*99"
    corpus = [f"en={tmp_path}/none.txt", f"xx={tmp_path}/none.txt"]
    with pytest.raises(ConfigError, match=match):
        kitchen.distil(tmp_path / "run", target="xx", corpus=corpus, settings=wrong)
    with pytest.raises(ConfigError, match="shape is 3"):
        kitchen.distil(tmp_path / "run", settings={"shape": 3})
    assert not (tmp_path / "run").exists()


def test_a_narrower_student_is_checked_before_it_is_made(kitchen: Kitchen, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.touch()
    settings = {"shape": {"layers": 2, "hidden_size": 8}, "attention": "relations", "relation_heads": 16}
    with pytest.raises(
        ConfigError,
        match=r"empty.txt: empty(.|\n)*16 relation heads .*: the student is 8 wide; give one of 1, 2, 4, 8 ",
    ):
        kitchen.distil(tmp_path / "run", corpus=[f"de={empty}"], settings=settings)
    with pytest.raises(ConfigError, match=r"empty.txt: empty(.|\n)*3 layers do not divide"):
        kitchen.distil(
            tmp_path / "run",
            corpus=[f"de={empty}"],
            settings={"shape": {"layers": 3, "hidden_size": 7}},
        )
    with pytest.raises(
        ConfigError,
        match=r"3 layers do not divide(.|\n)*size of 7 does not fit(.|\n)*positions for 70 tokens",
    ):
        kitchen.distil(
            tmp_path / "run",
            settings={"shape": {"layers": 3, "hidden_size": 7}, "text": {**TEXT, "max_length": 71}},
        )
    other = make_tiny("electra", "base", tmp_path / "m", vocab_size=350, num_hidden_layers=4)
    with pytest.raises(InputError, match="cannot be made narrower: it is of type 'electra'"):
        kitchen.distil(tmp_path / "run", other, settings={"shape": {"layers": 2, "hidden_size": 8}})
    assert not (tmp_path / "run").exists()


def test_text_that_is_missing(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no text of Swahili: give some with --corpus swh-Latn='FILES'"):
        kitchen.distil(tmp_path / "run", target="sw", corpus=kitchen.corpus[1])


def test_families_whose_maps_cannot_be_computed(kitchen: Kitchen, tmp_path: Path) -> None:
    model = make_tiny("mpnet", "base", tmp_path / "m", vocab_size=350, num_hidden_layers=4)
    with pytest.raises(InputError, match=r"the student \(mpnet\) has attention that .*match relations"):
        kitchen.distil(tmp_path / "run", model)
    result = kitchen.distil(
        tmp_path / "other", model, settings={"attention": "relations", "relation_heads": 4}
    )
    assert result.final.is_dir()


def test_a_run_stands_for_the_model_in_it(kitchen: Kitchen, tmp_path: Path) -> None:
    from polycompress.modeldir.sources import resolve_model

    result = kitchen.distil(tmp_path / "run")
    found = resolve_model(tmp_path / "run")
    assert (found.path, found.name) == (result.final, "run")
    assert json.loads((found.path / "config.json").read_text())["num_hidden_layers"] == 2


def test_a_narrower_student(kitchen: Kitchen, tmp_path: Path) -> None:
    from transformers import AutoModel

    from polycompress.modeldir.sources import resolve_model

    run = tmp_path / "run"
    result = kitchen.distil(run, settings={"shape": {"layers": 2, "hidden_size": 8}})
    model = AutoModel.from_pretrained(result.final)
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (8, 2)
    start = read_manifest(run / "start")
    assert start is not None
    assert start["student"]["kind"] == "narrowed"
    assert sum(start["student"]["errors"]) < sum(start["student"]["random_errors"])
    records = read_metrics(run / "metrics.jsonl")
    assert records[-1]["loss"] < records[0]["loss"]
    assert resolve_model(run).path == result.final, "the run holds its basis too, which is no model"
    assert resolve_model(result.final).name == "run"
    (run / "final").rename(tmp_path / "final")
    again = kitchen.distil(run, settings={"shape": {"layers": 2, "hidden_size": 8}}, resume=True)
    assert equal(again.final, tmp_path / "final")
    with pytest.raises(SnapshotMismatchError, match=r"layers: \[1, 3\] there, \[0, 1\] now"):
        kitchen.distil(
            run, settings={"shape": {"layers": 2, "hidden_size": 8, "strategy": "bottom"}}, resume=True
        )


def test_a_width_that_does_not_fit(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a hidden size of 7 does not fit: give a multiple of its"):
        kitchen.distil(tmp_path / "run", settings={"shape": {"layers": 2, "hidden_size": 7}})


def test_language_differences_make_teachers_of_their_own(kitchen: Kitchen, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from polycompress.pipelines.sft import diff_models

    changed = weights(kitchen.teacher)
    name = "encoder.layer.3.output.dense.weight"
    changed[name] = changed[name] + 0.5 * torch.ones_like(changed[name]).triu()
    adapted = make_tiny("xlm-roberta", "base", tmp_path / "adapted", vocab_size=350, num_hidden_layers=4)
    save_file(changed, adapted / "model.safetensors", metadata={"format": "pt"})
    diff_models(kitchen.teacher, adapted, out=tmp_path / "de.diff")
    plain = kitchen.distil(tmp_path / "plain")
    run = tmp_path / "run"
    result = kitchen.distil(run, language_sft=f"de={tmp_path / 'de.diff'}")
    assert not equal(result.final, plain.final)
    assert torch.equal(weights(run / "teacher-deu-Latn")[name], changed[name])
    assert torch.equal(weights(run / "teacher")[name], weights(kitchen.teacher)[name])
    table = "embeddings.word_embeddings.weight"
    assert torch.equal(weights(run / "teacher-deu-Latn")[table], weights(run / "teacher")[table])
    assert not (run / "whole-deu-Latn").exists()
    with pytest.raises(InputError, match="neither --source nor --target"):
        kitchen.distil(tmp_path / "x", language_sft=f"sw={tmp_path / 'de.diff'}")
    with pytest.raises(InputError, match="write LANG=FILE"):
        kitchen.distil(tmp_path / "x", language_sft="de.diff")
    with pytest.raises(InputError, match="there is no such file"):
        kitchen.distil(tmp_path / "x", language_sft="de=none.diff")
    other = make_tiny("xlm-roberta", "base", tmp_path / "other", vocab_size=350, num_hidden_layers=4, seed=1)
    with pytest.raises(InputError, match=r"encoder\.layer\.0"):
        kitchen.distil(tmp_path / "y", other, language_sft=f"de={tmp_path / 'de.diff'}")
    (tmp_path / "cut.diff").write_bytes((tmp_path / "de.diff").read_bytes()[:-8])
    with pytest.raises(InputError, match=r"cut\.diff"):
        kitchen.distil(tmp_path / "y", language_sft=f"de={tmp_path / 'cut.diff'}")
    assert not (tmp_path / "y").exists()  # found before anything was done
