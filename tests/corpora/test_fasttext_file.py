from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import pytest

from polycompress.corpora.fasttext_file import check_model_file
from polycompress.errors import InputError
from tests.corpora.fasttext_models import train_model
from tests.corpora.helpers import write


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Tiny models of every layout, as the library writes them."""
    root = tmp_path_factory.mktemp("models")
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefgh", k=5)) for _ in range(400)]
    lines = (
        f"__label__{draw.choice(['de', 'sw'])} {' '.join(draw.choices(words, k=8))}\n" for _ in range(300)
    )
    text = write(root / "train.txt", "".join(lines))
    grams: dict[str, Any] = {"bucket": 700, "minn": 2, "maxn": 3}
    recipes: dict[str, dict[str, Any]] = {
        "softmax": grams,
        "softmax.ftz": grams | {"quantize": {"qnorm": False, "cutoff": 500}},
        "hs": {"loss": "hs"},
        "hs.ftz": {"loss": "hs", "quantize": {"qnorm": True}},
        "vectors": {"kind": "unsupervised", "minCount": 1},
    }
    return {
        name: train_model(text, root / name, dim=5, epoch=1, **recipe).read_bytes()
        for name, recipe in recipes.items()
    }


LAYOUTS = ["softmax", "softmax.ftz", "hs", "hs.ftz"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_whole_models_pass(tmp_path: Path, models: dict[str, bytes], name: str) -> None:
    check_model_file(write(tmp_path / "m", models[name]))


@pytest.mark.parametrize("name", LAYOUTS)
def test_models_that_are_cut_off_or_too_long_are_refused(
    tmp_path: Path, models: dict[str, bytes], name: str
) -> None:
    data = models[name]
    for size in {8, 20, 64, 90, len(data) // 3, len(data) // 2, len(data) - 5, len(data) - 1}:
        with pytest.raises(
            InputError, match=r"m: not a whole fastText model \(byte \d+: .*\)\. Give a whole"
        ):
            check_model_file(write(tmp_path / "m", data[:size]))
    with pytest.raises(InputError, match="there is something behind its end"):
        check_model_file(write(tmp_path / "m", data + b"x"))


@pytest.mark.parametrize(
    ("offset", "layout", "value", "problem"),
    [
        (4, "<i", 13, "version 13; 11 and 12 can be read"),
        (8, "<i", 0, "settings that cannot be"),
        (8, "<i", 6, "a matrix of the wrong size"),
        (32, "<i", 9, "settings that cannot be"),
        (40, "<i", 0, "n-grams without buckets"),
        (40, "<i", 701, "a matrix of the wrong size"),
        (72, "<i", 2**31 - 1, "numbers of words and labels that do not add up"),
        (68, "<i", -1, "numbers of words and labels that do not add up"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    tmp_path: Path, models: dict[str, bytes], offset: int, layout: str, value: int, problem: str
) -> None:
    data = bytearray(models["softmax"])
    struct.pack_into(layout, data, offset, value)
    with pytest.raises(InputError, match=problem):
        check_model_file(write(tmp_path / "m", bytes(data)))


def test_other_files_are_refused(tmp_path: Path, models: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match=r"m: not a fastText model\. Give a whole supervised model"):
        check_model_file(write(tmp_path / "m", "Guten Tag"))
    with pytest.raises(InputError, match="m: not a fastText model"):
        check_model_file(write(tmp_path / "m", b""))
    with pytest.raises(InputError, match="it is not supervised, so it has no labels"):
        check_model_file(write(tmp_path / "m", models["vectors"]))
    with pytest.raises(InputError, match="is a directory"):
        check_model_file(tmp_path)
