"""Train word vectors on text: fastText's skip-gram, whose vectors are made of those of character n-grams.

Reference:
    Bojanowski, Grave, Joulin and Mikolov, "Enriching Word Vectors with Subword Information", TACL 5, 2017,
    https://arxiv.org/abs/1607.04606.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from polycompress.embeddings.word_vectors import MAX_WIDTH
from polycompress.errors import InputError, MissingExtraError, PolycompressError

STEPS: Final = 1000
"""In which progress is told."""
_CHILD: Final = Path(__file__).with_name("fasttext_child.py")
_PROGRESS: Final = re.compile(rb"Progress:\s*([\d.]+)%")
_KEPT_OUTPUT: Final = 4000
_FAILED: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorTraining:
    """How vectors are trained."""

    width: int = 200
    """Values of a vector; 200 as OFA's."""
    epochs: int = 10
    """Passes over the text. Twice the library's: of little text more is learnt so."""
    min_count: int = 2
    """Occurrences of a word below which it gets no vector of its own."""
    min_gram: int = 3
    max_gram: int = 6
    """Characters of n-grams, word boundaries counted; 0 and 0: words only. The paper's 3 to 6."""
    buckets: int = 100_000
    """Of n-grams: those that fall into one share a vector. Each costs ``4 * width`` bytes of the model file."""
    window: int = 5
    """Words to each side at most, of which a word is to tell."""
    negatives: int = 5
    """Words drawn against each true one."""
    learning_rate: float = 0.05
    subsampling: float = 1e-3
    """Words of a larger share of the text are passed over now and then; 1e-4 drops too much of little text."""
    lower: bool = True
    """Whether words are lower-cased."""
    threads: int = 1
    """With one the result is the same again; with more they overwrite each other's work as they please."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: One cannot be; all such are named.
        """
        limits = {
            "width": (1, MAX_WIDTH),
            "epochs": (1, 10_000),
            "min_count": (1, 10**9),
            "min_gram": (0, 100),
            "max_gram": (0, 100),
            "buckets": (1, 10**8),
            "window": (1, 1000),
            "negatives": (1, 1000),
            "threads": (1, 1024),
            "seed": (0, 2**31 - 3),
        }
        faults = [
            f"{name} is {getattr(self, name)}, give {low} to {high}"
            for name, (low, high) in limits.items()
            if not low <= getattr(self, name) <= high
        ]
        if not 0 < self.learning_rate <= 10:
            faults.append(f"learning_rate is {self.learning_rate}, give more than 0 and at most 10")
        if not 0 < self.subsampling <= 1:
            faults.append(f"subsampling is {self.subsampling}, give more than 0 and at most 1")
        if self.max_gram and not 1 <= self.min_gram <= self.max_gram:
            faults.append(
                f"n-grams of {self.min_gram} to {self.max_gram} characters: give 1 to n, or 0 and 0 for none"
            )
        if faults:
            raise InputError("These vectors cannot be trained: " + "; ".join(faults) + ".")

    def as_dict(self) -> dict[str, Any]:
        """All of it, for the record."""
        return asdict(self)


def write_words(texts: Iterable[list[str]], out: IO[str]) -> int:
    """Write words as fastText reads them, a text a line.

    Returns:
        How many words.
    """
    count = 0
    for words in texts:
        if words:
            out.write(" ".join(words) + "\n")
            count += len(words)
    return count


def train_fasttext(
    text: Path, out: Path, options: VectorTraining, *, progress: Callable[[int], None] | None = None
) -> None:
    """Train on a file of words with blanks between, and save the library's own model.

    Args:
        text: As ``write_words`` writes it.
        out: The file to write, ``.bin``.
        options: How.
        progress: Told how many further of ``STEPS`` are done.

    Raises:
        MissingExtraError: fastText is not installed.
        InputError: No word is frequent enough, or the training diverges.
        PolycompressError: The library fails otherwise.
    """
    if importlib.util.find_spec("fasttext") is None:
        raise MissingExtraError("Training word vectors", "vectors")
    settings = {
        "text": str(text),
        "out": str(out),
        "seed": options.seed + 1,  # to the library 0 and 1 are one seed
        "options": _library_options(options),
    }
    # glibc fills what it allocates with the complement of this: zeros. The library trains with memory that it has not
    # written, which makes results differ from run to run, and small trainings fail now and then.
    environment = os.environ | {"MALLOC_PERTURB_": "255"}
    command = [sys.executable, "-P", str(_CHILD), json.dumps(settings)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        try:
            output = _follow(child, progress)
        finally:
            child.kill()  # where we were interrupted
    if child.returncode:
        raise _failure(child.returncode, output, options)


def _library_options(options: VectorTraining) -> dict[str, Any]:
    return {
        "model": "skipgram",
        "dim": options.width,
        "epoch": options.epochs,
        "minCount": options.min_count,
        "minn": options.min_gram if options.max_gram else 0,
        "maxn": options.max_gram,
        "bucket": options.buckets,
        "ws": options.window,
        "neg": options.negatives,
        "lr": options.learning_rate,
        "t": options.subsampling,
        "thread": options.threads,
        "verbose": 2,
    }


def _follow(child: subprocess.Popen[bytes], progress: Callable[[int], None] | None) -> bytes:
    """Read what the library says until it ends; the last of it."""
    assert child.stderr is not None
    output, told = b"", 0
    while block := os.read(child.stderr.fileno(), 1 << 12):
        output = (output + block)[-_KEPT_OUTPUT:]
        found = _PROGRESS.findall(output)
        done = min(STEPS, int(float(found[-1]) * STEPS / 100)) if found else 0
        if progress is not None and done > told:
            progress(done - told)
            told = done
    child.wait()
    if progress is not None and not child.returncode:
        progress(STEPS - told)
    return output


def _failure(code: int, output: bytes, options: VectorTraining) -> PolycompressError:
    said = output.decode("utf-8", "replace").rpartition("error: ")[2].strip()
    if "Empty vocabulary" in said:
        return InputError(
            f"No word occurs {options.min_count} times, so there is nothing to train. Give more text, or a lower "
            "--min-count."
        )
    if "NaN" in said:
        return InputError(
            "The training diverged (fastText met NaN). Give more text, or a --learning-rate below "
            f"{options.learning_rate}."
        )
    ended = said[-500:] if code == _FAILED else f"it ended with {code}: {said[-500:]}"
    return PolycompressError(f"fastText failed: {ended}")
