"""How far a student is from its teacher in each language, on held-out text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from polycompress.distill.capture import Watched
from polycompress.distill.outputs import Needs
from polycompress.pipelines.distilling.held_out import HeldOutText, mean_loss
from polycompress.pipelines.distilling.running import Running
from polycompress.training.batches import Batch
from polycompress.training.masking import IGNORED
from polycompress.training.teachers import in_ids_of
from polycompress.vocab.document import parse_document
from polycompress.vocab.forms import token_forms


class LossByLanguage:
    """The loss of distillation: of students whose answers are not compared."""

    in_bits = False

    def __init__(self, running: Running, text: HeldOutText, batches: int) -> None:
        """Take the first batches of each language.

        Args:
            running: The run.
            text: Of every language.
            batches: At most so many of each.
        """
        self._running, self._text = running, text
        self._batches = {code: text.batches(batches, code) for code in text.examples.languages}

    def reference(self) -> Mapping[str, float]:
        """The student's as it is."""
        return self.student()

    def student(self) -> Mapping[str, float]:
        """The mean loss over each language's batches."""
        own = self._running
        task = own.task.with_inputs(self._text.inputs)
        with evaluating(own):
            return {
                code: mean_loss(task, own.optimiser, own.devices, batches)
                for code, batches in self._batches.items()
            }


class BitsByLanguage:
    """Bits a byte: of models with language models' heads, which say how probable each hidden or next token is."""

    in_bits = True

    def __init__(self, running: Running, text: HeldOutText, batches: int) -> None:
        """Take the first batches of each language.

        Args:
            running: The run.
            text: Of every language; its inputs say which tokens are answered for.
            batches: At most so many of each.
        """
        self._running, self._task = running, running.task.with_inputs(text.inputs)
        self._batches = {code: text.batches(batches, code) for code in text.examples.languages}
        self._bytes = token_bytes(text.student.tokenizer_json)
        distillation = running.task.distillation
        self._student = Watched(distillation.student, Needs(logits=True), "student", at_places=True)
        self._teacher = Watched(distillation.teacher, Needs(logits=True), "teacher", at_places=True)

    def reference(self) -> Mapping[str, float]:
        """The teacher's."""
        return self._bits_of(teacher=True)

    def student(self) -> Mapping[str, float]:
        """The student's."""
        return self._bits_of(teacher=False)

    def _bits_of(self, *, teacher: bool) -> Mapping[str, float]:
        with evaluating(self._running):
            return {code: self._bits(batches, teacher) for code, batches in self._batches.items()}

    def _bits(self, batches: Sequence[Batch], teacher: bool) -> float:
        """Bits a byte over the tokens of some batches that are answered for."""
        found = [self._one(batch, teacher) for batch in batches]
        return math.fsum(nats for nats, _ in found) / math.log(2) / max(1, sum(size for _, size in found))

    def _one(self, batch: Batch, teacher: bool) -> tuple[float, int]:
        """Of a batch, how improbable what is asked for is, in nats, and how many bytes that has."""
        own = self._running
        prepared = self._task.prepare(batch)
        told: Mapping[str, Any] = prepared.inputs
        labels, rows = told["labels"].reshape(-1), own.task.distillation.rows
        places = (labels != IGNORED).nonzero().squeeze(1)
        wanted = labels[places]
        size = int(self._bytes[wanted.cpu()].sum())
        shown = {**told["inputs"], **told.get("student_inputs", {})}
        if teacher:
            shown = dict(in_ids_of(told["inputs"], rows))
            wanted = wanted if rows is None else rows[wanted]
        watched = self._teacher if teacher else self._student
        table = own.optimiser.caught_up_within(prepared.rows) if prepared.rows is not None else nullcontext()
        with table, torch.no_grad(), own.devices.computing(own.task.module, last=True):
            logits = watched(shown, places).logits
            assert logits is not None
            return float(functional.cross_entropy(logits.float(), wanted, reduction="sum")), size


def token_bytes(tokenizer_json: str) -> Tensor:
    """How many bytes of text each token stands for, (V,); special and added tokens, and ids without one, for none."""
    forms = token_forms(parse_document(tokenizer_json.encode("utf-8")))
    return torch.tensor([0 if form is None else len(form) for form in forms])


@contextmanager
def evaluating(running: Running) -> Iterator[None]:
    """Without dropout, and afterwards as before."""
    module = running.task.module
    module.eval()
    try:
        yield
    finally:
        module.train()
        running.devices.settle(module)
