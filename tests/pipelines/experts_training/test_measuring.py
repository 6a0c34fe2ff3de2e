"""Bits a byte, and losses, by language."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.corpora import Reading, parse_corpora
from polycompress.languages import find_language
from polycompress.pipelines.distilling.addition import Addition
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.held_out import HeldOutText
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.running import Running
from polycompress.pipelines.distilling.text_request import TextRun, begin_run
from polycompress.pipelines.distilling.text_run import run_text
from polycompress.pipelines.experts_training.measuring import (
    BitsByLanguage,
    LossByLanguage,
    token_bytes,
)
from polycompress.pipelines.trim import trim
from polycompress.pipelines.tuning.source_model import find_source_model
from polycompress.training.config import read_config
from polycompress.training.devices import Devices
from tests.pipelines.tiny_runs import write_corpora
from tests.tiny_models import make_tiny

CODES = ("deu-Latn", "swh-Latn")


class Catcher(Addition):
    """Keeps what a run offers to those who go along with it."""

    def losses(self, student: Any) -> tuple[()]:
        return ()

    def inputs(self, inputs: Any) -> Any:
        return inputs

    def sizes(self, student: Any) -> dict[str, int]:
        return {}

    def companions(self, running: Running, held_out: HeldOutText | None) -> dict[str, Any]:
        assert held_out is not None
        self.running, self.held_out = running, held_out
        return {}


class Runs:
    """Two steps of a student that was trimmed out of its teacher, so that the same token has other ids."""

    def __init__(self, root: Path, kind: str) -> None:
        family, head = {"masked": ("xlm-roberta", "mlm"), "causal": ("qwen2", "clm")}[kind]
        self.kind = kind
        self.corpus = write_corpora(root, {"de": 30, "sw": 20})
        teacher = make_tiny(family, head, root / "teacher", vocab_size=350, num_hidden_layers=1)
        self.student = root / "student"
        trim(teacher, langs="de,sw", out=self.student, corpus=self.corpus, min_share=1e-6, frequencies=False)
        corpora = parse_corpora(self.corpus, [find_language("de"), find_language("sw")])
        config = read_config(
            TextConfig,
            {
                "training": {"steps": 2, "optimiser": {"learning_rate": 1e-2, "weight_decay": 0.5}},
                "batching": {"token_budget": 120},
                "max_length": 24,
                "masked": kind == "masked",
                "device": "cpu",
            },
        )
        run = TextRun(
            layers=(0,),
            losses=(LossSpec(name="unequal"),),
            corpora=corpora,
            held_out=corpora,
            reading=Reading(),
            config=config,
            record={"command": []},
            identity={},
        )
        devices, self.caught = Devices(device="cpu"), Catcher()
        torch.manual_seed(0)
        with begin_run(root / "run", devices, run, resume_run=False) as snapshot:
            run_text(
                run, find_source_model(self.student, root / "run" / "final"), teacher, root / "run", devices,
                snapshot, facts={}, addition=self.caught, progress=None, tell=None,
            )  # fmt: skip

    def size_of(self, token: str) -> int:
        """Bytes of text that a token is written with."""
        if token in ("<s>", "</s>", "<pad>", "<unk>", "<mask>") or token.startswith("<|"):
            return 0
        # byte-level tokens have a character for each byte
        return len(token) if self.kind == "causal" else len(token.replace("▁", " ").encode())


@pytest.fixture(scope="module", params=["masked", "causal"])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"), request.param)


def by_hand(runs: Runs, *, teacher: bool) -> dict[str, float]:
    """From each model's own logits, batch by batch, with the ids of its own tokenizer."""
    from tokenizers import Tokenizer

    running, text = runs.caught.running, runs.caught.held_out
    own = Tokenizer.from_file(str(runs.student / "tokenizer.json"))
    theirs = Tokenizer.from_file(str(runs.student.parent / "teacher" / "tokenizer.json"))
    distillation = running.task.distillation
    model = distillation.teacher if teacher else distillation.student
    found = {}
    running.task.module.eval()
    for code in CODES:
        nats, size = 0.0, 0
        for batch in text.batches(2, code):
            assert set(batch.languages) == {code}
            inputs, told = text.inputs(batch)
            ids, labels = inputs["input_ids"], told["labels"]
            tokens = [own.id_to_token(number) for number in labels.reshape(-1).tolist() if number >= 0]
            size += sum(runs.size_of(token) for token in tokens)
            if teacher:
                ids, labels = (
                    each.clone().apply_(
                        lambda number: theirs.token_to_id(own.id_to_token(number)) if number >= 0 else -100
                    )
                    for each in (ids, labels)
                )
            with running.optimiser.caught_up_within(torch.unique(batch.input_ids)), torch.no_grad():
                logits = model(input_ids=ids, attention_mask=inputs["attention_mask"]).logits
            chosen = torch.log_softmax(logits.double(), dim=-1)[labels >= 0]
            nats -= float(chosen.gather(1, labels[labels >= 0][:, None]).sum())
        found[code] = nats / math.log(2) / size
    running.task.module.train()
    return found


@pytest.mark.parametrize("teacher", [True, False])
def test_bits_are_those_of_the_models_logits(runs: Runs, teacher: bool) -> None:
    measure = BitsByLanguage(runs.caught.running, runs.caught.held_out, 2)
    found = measure.reference() if teacher else measure.student()
    assert runs.caught.running.task.module.training
    assert found == pytest.approx(by_hand(runs, teacher=teacher), rel=1e-4)
    assert found == (measure.reference() if teacher else measure.student())


def test_losses_are_those_of_each_language_alone(runs: Runs) -> None:
    running, text = runs.caught.running, runs.caught.held_out
    measure = LossByLanguage(running, text, 2)
    found = measure.student()
    assert found == measure.reference()
    assert found.keys() == set(CODES)
    assert all(value > 0 for value in found.values())
    assert found["deu-Latn"] != found["swh-Latn"]
    assert running.task.module.training


def test_bytes_of_tokens(runs: Runs) -> None:
    text = (runs.student / "tokenizer.json").read_text(encoding="utf-8")
    from tokenizers import Tokenizer

    tokenizer, sizes = Tokenizer.from_str(text), token_bytes(text)
    known = 0
    for sentence in (runs.student.parent / "de.txt").read_text(encoding="utf-8").splitlines():
        encoded = tokenizer.encode(sentence, add_special_tokens=False)
        if tokenizer.token_to_id("<unk>") not in encoded.ids:
            known += 1
            whole = len(sentence.encode("utf-8"))
            assert int(sizes[encoded.ids].sum()) - whole in (0, 1)  # a space may be put in front
    assert known > 3
    special = [token for token in ("<s>", "</s>", "<pad>") if tokenizer.token_to_id(token) is not None]
    assert all(int(sizes[tokenizer.token_to_id(token)]) == 0 for token in special)
