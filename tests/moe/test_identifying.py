from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.moe.identifying import identified
from tests.corpora.fasttext_models import train_model
from tests.moe.tiny_moe import settings

GERMAN = (
    "der Hund und die Katze schlafen",
    "das Haus steht nicht weit von hier",
    "wir gehen morgen in die Stadt",
)
SWAHILI = ("mbwa na paka wanalala", "nyumba iko karibu na hapa", "tutakwenda mjini kesho asubuhi")
TURKISH = ("köpek ve kedi uyuyor", "ev buradan uzak değil", "yarın şehre gideceğiz")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tells three languages apart, of which the experts know two."""
    root = tmp_path_factory.mktemp("model")
    texts = {"de": GERMAN, "swh_Latn": SWAHILI, "tur": TURKISH}
    lines = [f"__label__{label} {text}" for label, own in texts.items() for text in own] * 20
    (root / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {"dim": 8, "epoch": 20, "lr": 0.5, "minn": 1, "maxn": 3, "bucket": 5000}
    return train_model(root / "train.txt", root / "lid.bin", **options)


def test_texts_get_the_ids_that_a_model_with_experts_takes(model: Path) -> None:
    config = settings(3, 1)
    texts = [GERMAN[0], f"{SWAHILI[0]}\n{SWAHILI[1]}", TURKISH[2], GERMAN[2]]
    assert identified(config, texts, model).tolist() == [0, 3, -1, 0]
    assert identified(config, [], model).tolist() == []
    assert identified(config, [" "], model, threshold=1.0).tolist() == [-1]


def test_a_model_that_knows_none_of_the_languages_is_refused(model: Path) -> None:
    config = settings(3, 1, languages={"jpn-Jpan": "A", "kor-Hang": "B", "zho-Hans": "C"})
    with pytest.raises(InputError, match=r"none of its 3 labels means one of jpn-Jpan, kor-Hang, zho-Hans"):
        identified(config, ["x"], model)
