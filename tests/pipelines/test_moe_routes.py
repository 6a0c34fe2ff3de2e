"""Where tokens of each language go, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polycompress.corpora import is_held_out
from polycompress.errors import InputError
from polycompress.pipelines.moe_routes import RoutesResult, moe_routes
from polycompress.pipelines.trimming.loading import open_model
from polycompress.vocab.held_out import HELD_OUT_SHARE
from tests.moe.tiny_moe import make_moe, settings
from tests.pipelines.tiny_runs import write_corpora
from tests.tiny_models import make_tiny

CONFIG = settings(3, 1, layers=(0, 1))
"""German has expert 0, French and Italian have 1, Swahili has 2."""


class Place:
    """A model with experts, the same with other routers, and text."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plain = make_tiny("xlm-roberta", "mlm", root / "plain", vocab_size=350, num_hidden_layers=2)
        self.moe = make_moe(self.plain, root / "moe", CONFIG, noise=0.1)
        self.other = make_moe(self.plain, root / "other", CONFIG, noise=0.1, seed=1)
        self.forced = make_moe(self.plain, root / "forced", settings(3, 1, layers=(0, 1), routing="forced"))
        self.corpus = write_corpora(root, {"sw": 12, "de": 30})

    def routes(self, model: Path | None = None, **options: Any) -> RoutesResult:
        given = {"corpus": self.corpus, "device": "cpu", "texts": 10, **options}
        return moe_routes(model or self.moe, **given)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def found(place: Place) -> RoutesResult:
    return place.routes()


def test_counts_are_what_the_model_does_with_each_text_alone(place: Place, found: RoutesResult) -> None:
    """Without padding, text by text, through the model as anyone would call it."""
    from tokenizers import Tokenizer
    from transformers import AutoModel

    import polycompress.auto  # noqa: F401

    model = AutoModel.from_pretrained(place.moe).eval()
    tokenizer = Tokenizer.from_file(str(place.moe / "tokenizer.json"))
    model.moe_context.collects = True
    texts = (place.root / "de.txt").read_text(encoding="utf-8").splitlines()[:10]
    chosen, tokens = np.zeros((2, 3)), 0
    for text in texts:
        ids = tokenizer.encode(text).ids
        tokens += len(ids)
        with torch.no_grad():
            model(input_ids=torch.tensor([ids]))
        for layer, record in model.moe_context.current.records.items():
            chosen[layer] += np.bincount(record.indices.reshape(-1).numpy(), minlength=3)
    assert found.texts == {"deu-Latn": 10, "swh-Latn": 10}
    for layer in (0, 1):
        seen = found.report.layers[layer]
        assert seen.tokens[0] == tokens
        np.testing.assert_allclose(seen.shares[0], chosen[layer] / tokens)
        np.testing.assert_allclose(seen.at_home[0], chosen[layer][0] / tokens)


def test_forced_routing_is_shown_as_it_is_used(place: Place) -> None:
    report = place.routes(place.forced).report
    for seen in report.layers.values():
        assert seen.shares.tolist() == [[1, 0, 0], [0, 0, 1]]  # German, Swahili; k is 1
        assert seen.at_home.tolist() == [1, 1]
    assert report.mean_overlap == {0: 0.0, 1: 0.0}


def test_drift_from_a_report_and_from_the_model_it_is_of(
    place: Place, found: RoutesResult, tmp_path: Path
) -> None:
    written = tmp_path / "older.json"
    written.write_text(json.dumps(place.routes(place.other).as_dict()), encoding="utf-8")
    first, second = place.routes(against=written), place.routes(against=place.other)
    assert first.drift == second.drift
    moved = {layer: set(own) for layer, own in (first.drift or {}).items()}
    assert moved == {0: {"deu-Latn", "swh-Latn"}, 1: {"deu-Latn", "swh-Latn"}}
    assert any(value > 0.05 for own in (first.drift or {}).values() for value in own.values())
    same = place.routes(against=place.moe)
    assert all(value == 0 for own in (same.drift or {}).values() for value in own.values())
    assert found.drift is None


def test_parameters_of_all_and_of_one_token(place: Place, found: RoutesResult) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(place.moe / "model.safetensors")
    experts = sum(each.size for name, each in tensors.items() if ".moe.experts." in name)
    assert found.parameters == sum(each.size for each in tensors.values())
    assert found.active_parameters == found.parameters - experts // 3 * 2


def test_languages_can_be_chosen_and_texts_held_out(place: Place) -> None:
    few = place.routes(langs="sw", corpus=f"{place.root}/sw.txt", texts=3)
    assert few.texts == {"swh-Latn": 3}
    assert few.as_dict()["mean_overlap"] == {}
    lines = (place.root / "de.txt").read_text(encoding="utf-8").splitlines()
    held_out = sum(is_held_out(line, HELD_OUT_SHARE) for line in lines)
    assert 0 < held_out < 10
    assert place.routes(held_out_only=True, corpus=place.corpus[1]).texts == {"deu-Latn": held_out}
    (place.root / "one.txt").write_text("habari", encoding="utf-8")
    with pytest.raises(InputError, match="holds no held-out text"):
        place.routes(held_out_only=True, corpus=[f"sw={place.root}/one.txt"])


def test_a_picture_is_drawn(place: Place, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")
    result = place.routes(plot=tmp_path / "routes.svg")
    text = (tmp_path / "routes.svg").read_text(encoding="utf-8")
    assert result.plot == tmp_path / "routes.svg"
    assert text.startswith("<?xml") and "layer 1" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "plain"}, r"plain: has no experts \(model_type 'xlm-roberta'\).*polycompress moe upcycle"),
        (
            {"languages": ("tr", "de", "fi")},
            r"has no Turkish \(tur-Latn\), Finnish \(fin-Latn\)\. Leave them out",
        ),
        ({"texts": 0}, "--texts 0: give at least 1"),
        ({"max_length": 3}, "--max-length 3: give at least 16"),
        ({"plot": "routes.txt"}, r"cannot draw a '\.txt' file"),
        ({"against": "odd.json"}, r"odd\.json: cannot be read as a report of routing"),
        ({"against": "text.json"}, r"text\.json: is no report of routing"),
        ({"languages": ("empty",)}, r"empty\.txt: no text in it"),
    ],
)
def test_what_cannot_be_shown_is_refused(place: Place, options: dict[str, Any], message: str) -> None:
    contents = {"odd.json": "{", "text.json": "[1]", "tr.txt": "bir", "fi.txt": "yksi", "empty.txt": "\n"}
    for name, content in contents.items():
        (place.root / name).write_text(content, encoding="utf-8")
    given = dict(options)
    languages = given.pop("languages", ("de",))
    corpus = [f"{'sw' if code == 'empty' else code}={place.root / code}.txt" for code in languages]
    if "against" in given:
        given["against"] = place.root / given["against"]
    model = place.root / given.pop("model", "moe")
    with pytest.raises(InputError, match=message):
        place.routes(model, corpus=corpus, **given)


def test_a_tokenizer_that_surgery_shares_is_left_as_it_was(place: Place) -> None:
    """Else whoever trims the same model next, in this process, would see long texts shortened."""
    opened = open_model(place.moe)
    place.routes(max_length=16)
    assert opened.vocabulary.tokenizer.truncation is None
    assert open_model(place.moe).vocabulary is opened.vocabulary
