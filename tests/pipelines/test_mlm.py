from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.mlm import MlmResult, mlm
from polycompress.training.errors import ConfigError, NonFiniteLossError, SnapshotMismatchError
from polycompress.training.metrics import read_metrics
from tests.pipelines.tiny_runs import equal, kill_at, until_done, write_corpora
from tests.tiny_models import TEXTS, make_tiny

SETTINGS: Mapping[str, Any] = {
    "training": {
        "steps": 12,
        "log_every": 4,
        "snapshots": {"every_steps": 5},
        "optimiser": {"learning_rate": 1e-3},
        "schedule": {"warmup_steps": 2},
    },
    "batching": {"token_budget": 200},
    "max_length": 48,
    "negatives": 60,
    "device": "cpu",
}


class Kitchen:
    """Two tiny models and two corpora."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.encoder = make_tiny("xlm-roberta", "base", root / "encoder", vocab_size=350)
        self.decoder = make_tiny("llama", "clm", root / "decoder", vocab_size=350)
        self.corpus = write_corpora(root, {"de": 60, "en": 30})

    def train(self, out: Path, model: Path | None = None, **options: Any) -> MlmResult:
        """A run."""
        torch.manual_seed(0)
        settings = merged(SETTINGS, options.pop("settings", {}))
        given = {"langs": "de,en", "corpus": self.corpus, "out": out, "settings": settings, **options}
        return mlm(model or self.encoder, **given)


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **one,
        **{
            key: merged(one[key], value)
            if isinstance(value, dict) and isinstance(one.get(key), Mapping)
            else value
            for key, value in other.items()
        },
    }


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def test_an_encoder_without_a_head(kitchen: Kitchen, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    result = kitchen.train(tmp_path / "run", held_out=kitchen.corpus[0], settings={"loss": "sampled"})
    final = result.final
    model, info = AutoModelForMaskedLM.from_pretrained(final, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert (final / "tokenizer.json").read_bytes() == (kitchen.encoder / "tokenizer.json").read_bytes()
    assert (
        json.loads((final / "tokenizer_config.json").read_text())["tokenizer_class"]
        == "PreTrainedTokenizerFast"
    )
    assert AutoTokenizer.from_pretrained(final)(TEXTS[0])["input_ids"]
    manifest = read_manifest(final)
    assert manifest is not None
    assert manifest["training"]["steps"] == 12
    assert manifest["training"]["loss"] == "sampled"
    assert manifest["training"]["sparse_table"] is True
    assert set(manifest["training"]["language_tokens"]) == {"deu-Latn", "eng-Latn"}
    assert "lm_head.dense.weight" in manifest["fresh_parameters"]
    card = (final / "README.md").read_text()
    assert "## Its head is new" in card
    assert "Its output table is tied to the input table" in card
    assert "pretrained further on German and English" in card
    assert "pipeline_tag: fill-mask" in card
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.json", "data", "final", "metrics.jsonl", "snapshots",
    ]  # fmt: skip
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [record["step"] for record in records] == [4, 5, 8, 10, 12]
    assert records[-1]["held_out_loss"] < records[1]["held_out_loss"]


def test_a_decoder(kitchen: Kitchen, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    result = kitchen.train(
        tmp_path / "run",
        kitchen.decoder,
        settings={"batching": {"packed_length": 64}, "training": {"steps": 20}},
    )
    model = AutoModelForCausalLM.from_pretrained(result.final)
    before = load_file(kitchen.decoder / "model.safetensors")
    after = load_file(result.final / "model.safetensors")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert model.generation_config is not None
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert records[-1]["loss"] < records[0]["loss"]
    card = (result.final / "README.md").read_text()
    assert "Its head is new" not in card
    assert "causal language modelling" in card


@pytest.mark.parametrize("loss", ["full", "sampled"])
def test_stopped_anywhere_and_taken_up_it_ends_bit_by_bit_the_same(
    kitchen: Kitchen, tmp_path: Path, loss: str
) -> None:
    whole = kitchen.train(tmp_path / "whole", settings={"loss": loss})
    moments = random.Random(loss).sample(range(1, 12), 3)

    broken = tmp_path / "broken"
    every_step = {"loss": loss, "training": {"log_every": 1}}
    kill = kill_at(moments)
    result = until_done(
        lambda: kitchen.train(broken, settings=every_step, resume=broken.exists(), progress=kill)
    )
    assert not moments
    assert equal(result.final, whole.final)


def test_the_run_s_own_words(kitchen: Kitchen, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "run"
    kitchen.train(out, resume=True)
    assert f"{out}: there is no run yet, so it begins at the beginning" in caplog.text
    again = kitchen.train(out, resume=True)
    assert "the run is finished; nothing is left to do" in caplog.text
    assert again.as_dict()["training"]["steps"] == 12
    with pytest.raises(SnapshotMismatchError, match=r"training.steps: 12 there, 13 now"):
        kitchen.train(out, resume=True, settings={"training": {"steps": 13}})
    with pytest.raises(InputError, match=r"already exists. Go on with the run in it with --resume"):
        kitchen.train(out)


def test_another_configuration_or_model_is_refused(kitchen: Kitchen, tmp_path: Path) -> None:
    out = tmp_path / "run"
    kitchen.train(out)
    (out / "final").rename(tmp_path / "final")
    with pytest.raises(SnapshotMismatchError) as caught:
        kitchen.train(
            out, resume=True, settings={"training": {"steps": 13, "optimiser": {"learning_rate": 2e-3}}}
        )
    message = str(caught.value)
    assert "step-12: belongs to another run; these fields differ:" in message
    assert "  training.optimiser.learning_rate: 0.001 there, 0.002 now" in message
    assert "  training.steps: 12 there, 13 now" in message
    with pytest.raises(
        SnapshotMismatchError, match=r"model\.model\.safetensors: '[0-9a-f]+' there, '[0-9a-f]+' now"
    ):
        kitchen.train(
            out, make_tiny("xlm-roberta", "base", tmp_path / "other", vocab_size=350, seed=1), resume=True
        )
    # What decides nothing may change.
    result = kitchen.train(
        out, resume=True, settings={"training": {"log_every": 1, "snapshots": {"keep_last": 1}}}
    )
    assert equal(result.final, tmp_path / "final")


def test_every_wrong_setting_at_once(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        kitchen.train(
            tmp_path / "run",
            settings={
                "training": {"steps": -1, "optimiser": {"eps": 0.0}},
                "masking": {"rate": 2.0},
                "mixing": {"strategy": "even"},
                "loss": "half",
                "los": 1,
                "negatives": 0,
                "max_length": 2,
            },
        )
    message = str(caught.value)
    for part in ("training.steps is -1", "training.optimiser.eps is 0.0", "masking.rate is 2.0",
                 "mixing.strategy is 'even': give proportional, temperature, unimax or fixed",
                 "loss is 'half'", "los is no field. Did you mean loss?",
                 "negatives is 0: give at least 1", "max_length is 2: give at least 4"):  # fmt: skip
        assert part in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batching": {"token_budget": 40}}, r"token_budget is 40, less than one row of 48 tokens"),
        ({"max_length": 3}, "max_length is 3: give at least 4"),
        ({"batching": {"packed_length": 20}}, "packed_length is 20, less than max_length, 48"),
        ({"negatives": 0}, "negatives is 0: give at least 1"),
        ({"max_length": 71}, r"max_length is 71, but the model has positions for 70 tokens"),
    ],
)
def test_settings_that_do_not_fit(
    kitchen: Kitchen, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        kitchen.train(tmp_path / "run", settings=settings)


def test_a_family_that_cannot_be_packed(kitchen: Kitchen, tmp_path: Path) -> None:
    model = make_tiny("deberta-v2", "mlm", tmp_path / "m", vocab_size=300)
    with pytest.raises(InputError, match="DebertaV2ForMaskedLM cannot keep texts apart that are packed"):
        kitchen.train(tmp_path / "run", model, settings={"batching": {"packed_length": 64}})


def test_packed_rows_of_texts_longer_than_attention_sees(kitchen: Kitchen, tmp_path: Path) -> None:
    model = make_tiny("modernbert", "mlm", tmp_path / "m", vocab_size=300, local_attention=40)
    packed = {"batching": {"packed_length": 64}, "training": {"steps": 2}}
    with pytest.raises(
        InputError, match=r"ModernBertForMaskedLM does not give texts of 48 tokens .*in packed rows"
    ):
        kitchen.train(tmp_path / "run", model, settings=packed)
    assert not (tmp_path / "run").exists()
    assert kitchen.train(tmp_path / "run", model, settings={**packed, "max_length": 20}).final.is_dir()


def test_a_softmax_that_cannot_be_sampled(kitchen: Kitchen, tmp_path: Path) -> None:
    model = make_tiny("gemma2", "clm", tmp_path / "m", vocab_size=300)
    with pytest.raises(InputError, match="Use --loss full"):
        kitchen.train(tmp_path / "run", model, settings={"loss": "sampled"})


def test_text_that_is_missing_or_empty(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no text of Swahili: give some with --corpus"):
        kitchen.train(tmp_path / "run", langs="de,en,sw")
    blank = tmp_path / "blank.txt"
    blank.write_text("\n   \n\n")
    with pytest.raises(InputError, match=r"blank\.txt: no usable text for deu-Latn"):
        kitchen.train(tmp_path / "run", langs="de", corpus=str(blank))
    assert not (tmp_path / "run").exists()


def test_after_wrong_input_the_corrected_run_begins(kitchen: Kitchen, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "one"
    blank = tmp_path / "blank.txt"
    blank.write_text("\n   \n\u200b\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"blank\.txt: no usable text for eng-Latn"):
        kitchen.train(out, corpus=[kitchen.corpus[0], f"en={blank}"])
    assert not out.parent.exists()
    assert kitchen.train(out, settings={"training": {"steps": 2}}).final.is_dir()


def test_shares_of_other_languages_before_anything_is_tokenised(kitchen: Kitchen, tmp_path: Path) -> None:
    told: list[str] = []
    fixed = {"mixing": {"strategy": "fixed", "shares": {"deu-Latn": 1.0, "swh-Latn": 1.0}}}
    with pytest.raises(InputError, match=r"Fixed shares: eng-Latn has no share .*; swh-Latn is not among"):
        kitchen.train(tmp_path / "run", settings=fixed, tell=lambda what, *_: told.append(what))
    assert not told
    assert not (tmp_path / "run").exists()


def test_ids_outside_the_table(kitchen: Kitchen, tmp_path: Path) -> None:
    model = make_tiny("xlm-roberta", "mlm", tmp_path / "m", vocab_size=350, padding_rows=0)
    config = json.loads((model / "config.json").read_text())
    tensors = load_file(model / "model.safetensors")
    from safetensors.torch import save_file

    cut = {
        name: tensor[:200].clone() if tensor.shape[:1] == (config["vocab_size"],) else tensor
        for name, tensor in tensors.items()
    }
    save_file(cut, model / "model.safetensors", metadata={"format": "pt"})
    (model / "config.json").write_text(json.dumps({**config, "vocab_size": 200}))
    with pytest.raises(
        InputError,
        match=r"deu-Latn, text \d+ of .*de\.txt has the token id \d+, but the model's table has 200 rows",
    ):
        kitchen.train(tmp_path / "run", model)
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_without_a_mask(kitchen: Kitchen, tmp_path: Path) -> None:
    model = make_tiny("bert", "mlm", tmp_path / "m", tokenizer="unigram", layout="t5", vocab_size=300)
    with pytest.raises(InputError, match="its tokenizer names no mask_token"):
        kitchen.train(tmp_path / "run", model)


def test_any_seed_that_the_settings_take(kitchen: Kitchen, tmp_path: Path) -> None:
    largest = {"training": {"steps": 2, "seed": 2**63 - 1}, "loss": "sampled"}
    assert kitchen.train(tmp_path / "run", settings=largest).final.is_dir()


def test_a_learning_rate_that_explodes(kitchen: Kitchen, tmp_path: Path) -> None:
    out = tmp_path / "run"
    explosive = {"training": {"steps": 60, "optimiser": {"learning_rate": 1e30, "max_grad_norm": 0.0}}}
    with pytest.raises(
        NonFiniteLossError, match=r"step \d+: the loss is .*The texts of the batch are .*look at the texts"
    ):
        kitchen.train(out, settings=explosive)
    (file,) = (out / "failed").iterdir()
    written = json.loads(file.read_text())
    assert all(" of " in place for place in written["texts"].values()), "files and line numbers"
    assert not (out / "final").exists()


def test_weights_keep_their_type(kitchen: Kitchen, tmp_path: Path) -> None:
    model = make_tiny("gpt2", "clm", tmp_path / "m", vocab_size=350, dtype="bfloat16")
    result = kitchen.train(tmp_path / "run", model, settings={"training": {"precision": "bf16"}})
    assert {tensor.dtype for tensor in load_file(result.final / "model.safetensors").values()} == {
        torch.bfloat16
    }
    assert json.loads((result.final / "config.json").read_text())["dtype"] == "bfloat16"
    assert "trained in fp32 and rounded to bfloat16" in (result.final / "README.md").read_text()


def test_the_output_may_not_be_the_model(kitchen: Kitchen) -> None:
    with pytest.raises(InputError, match="already exists"):
        kitchen.train(kitchen.encoder)
    with pytest.raises(InputError, match="is or holds the model it is to be made from"):
        kitchen.train(kitchen.encoder, resume=True)


def test_large_tables_are_sampled_by_default(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kitchen.train(tmp_path / "small").manifest["training"]["loss"] == "full"
    monkeypatch.setattr("polycompress.pipelines.tuning.mlm_run.SAMPLED_ABOVE", 100)
    assert kitchen.train(tmp_path / "large").manifest["training"]["loss"] == "sampled"
    gemma = make_tiny("gemma2", "clm", tmp_path / "m", vocab_size=300)
    assert kitchen.train(tmp_path / "capped", gemma).manifest["training"]["loss"] == "full"


def test_sentence_transformers_files_come_along(kitchen: Kitchen, tmp_path: Path) -> None:
    model = make_tiny("bert", "base", tmp_path / "m", vocab_size=350)
    (model / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])
    )  # fmt: skip
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 16}')
    final = kitchen.train(tmp_path / "run", model).final
    assert (final / "1_Pooling" / "config.json").is_file()
