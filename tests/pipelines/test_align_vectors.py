from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from polycompress.embeddings.alignment import normalised
from polycompress.embeddings.vectors_directory import load_directory
from polycompress.errors import InputError
from polycompress.pipelines.align_vectors import align_vectors

N, WIDTH = 300, 12


def _word(code: str, number: int) -> str:
    return f"{code}{''.join(chr(97 + int(digit)) for digit in str(number))}"


def _write_vectors(path: Path, words: Sequence[str], matrix: np.ndarray) -> None:
    lines = [f"{word} {' '.join(map(str, row.tolist()))}\n" for word, row in zip(words, matrix, strict=True)]
    path.write_text(f"{len(words)} {matrix.shape[1]}\n" + "".join(lines), "utf-8")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English, and Yoruba that is English turned, with some noise; a lexicon, and sentences."""
    root = tmp_path_factory.mktemp("pack")
    random = np.random.default_rng(0)
    matrix = normalised(random.standard_normal((N, WIDTH)).astype(np.float32))
    turn = np.linalg.qr(random.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    noise = 0.05 * random.standard_normal(matrix.shape).astype(np.float32)
    english, yoruba = ([_word(code, number) for number in range(N)] for code in ("e", "y"))
    for number in range(0, 40):
        yoruba[number] = english[number]  # names and the like
    _write_vectors(root / "en.vec", english, matrix)
    _write_vectors(root / "yo.vec", yoruba, matrix @ turn + noise)
    pairs = [f"{one}\t{other}\n" for one, other in zip(english, yoruba, strict=True)]
    (root / "all.tsv").write_text("en\tyo\n" + "".join(pairs), "utf-8")
    (root / "train.tsv").write_text("en\tyo\n" + "".join(pairs[:150]), "utf-8")
    (root / "test.tsv").write_text("en\tyo\n" + "".join(pairs[150:]), "utf-8")
    wrong = [f"{english[number]}\t{yoruba[(number * 7 + 5) % N]}\n" for number in range(N)]
    (root / "wrong.tsv").write_text("en\tyo\n" + "".join(wrong), "utf-8")
    with (root / "pairs.tsv").open("w", encoding="utf-8") as file:
        for _ in range(400):
            chosen = random.choice(N - 30, 7, replace=False).tolist()
            file.write(" ".join(english[each] for each in chosen) + "\t")
            file.write(" ".join(yoruba[each] for each in reversed(chosen)) + "\n")
    return root


def _specs(pack: Path) -> list[str]:
    return [f"en={pack / 'en.vec'}", f"yo={pack / 'yo.vec'}"]


def test_a_lexicon_brings_a_turned_language_back(pack: Path, tmp_path: Path) -> None:
    done = align_vectors(
        _specs(pack),
        tmp_path / "out",
        to="en",
        lexicon=[str(pack / "train.tsv")],
        held_out=[str(pack / "test.tsv")],
    )
    judged = done.languages["yor-Latn"]["judged"]
    assert judged["before"]["csls"] < 0.1
    assert judged["after"]["csls"] > 0.9
    assert (judged["by"], judged["after"]["words"], done.languages["yor-Latn"]["anchors"]) == (
        "lexicon",
        150,
        150,
    )
    saved = load_directory(tmp_path / "out")
    own = saved.files["yor-Latn"]
    assert own.rotation is not None
    assert own.mean is not None
    assert np.allclose(own.rotation @ own.rotation.T, np.eye(WIDTH), atol=1e-5)
    rows = [float(value) for value in (pack / "yo.vec").read_text("utf-8").splitlines()[200].split()[1:]]
    again = normalised(np.array([rows], np.float32), own.mean) @ own.rotation
    place = saved.vectors.rows("yor-Latn")[199]
    assert np.allclose(again[0], saved.vectors.matrix[place], atol=1e-5)
    assert saved.record["to"] == "eng-Latn"


def test_a_tenth_of_the_lexicon_is_held_out_where_no_other_is_given(pack: Path, tmp_path: Path) -> None:
    done = align_vectors(_specs(pack), tmp_path / "out", to="en", lexicon=[f"yo={pack / 'all.tsv'}"])
    judged = done.languages["yor-Latn"]
    assert judged["anchors"] + judged["judged"]["after"]["words"] == N
    assert judged["judged"]["after"]["csls"] > 0.9


@pytest.mark.parametrize("refine", [False, True])
def test_identical_strings_alone_do_it(refine: bool, pack: Path, tmp_path: Path) -> None:
    done = align_vectors(
        _specs(pack),
        tmp_path / "out",
        to="en",
        method="identical",
        held_out=[str(pack / "all.tsv")],
        refine=refine,
    )
    own = done.languages["yor-Latn"]
    assert own["anchors"] == 40
    assert own["judged"]["after"]["words"] == N - 40
    assert own["judged"]["after"]["csls"] > 0.9
    assert ("refined" in own) == refine


def test_sentence_pairs_make_new_vectors_and_spread_them(pack: Path, tmp_path: Path) -> None:
    asked = {"to": "en", "pairs": [f"en-yo={pack / 'pairs.tsv'}"], "width": 40}
    done = align_vectors(_specs(pack), tmp_path / "out", lexicon=[str(pack / "all.tsv")], **asked)  # type: ignore[arg-type]
    own = done.languages["yor-Latn"]
    assert (done.method, own["pairs"], own["words_spread"]) == ("joint", 400, 30)
    assert own["judged"]["after"]["cosine"] > 0.8
    saved = load_directory(tmp_path / "out")
    assert (saved.vectors.width, len(saved.vectors)) == (40, 2 * N)
    assert saved.files["yor-Latn"].rotation is None
    by_sentences = align_vectors(_specs(pack), tmp_path / "other", **asked)  # type: ignore[arg-type]
    judged = by_sentences.languages["yor-Latn"]["judged"]
    assert judged["by"] == "sentences"
    assert judged["after"]["cosine"] > 0.9 > judged["before"]["cosine"]
    assert np.array_equal(load_directory(tmp_path / "other").vectors.matrix, saved.vectors.matrix)


def test_below_the_floor_nothing_is_written_unless_forced(pack: Path, tmp_path: Path) -> None:
    out, wrong = tmp_path / "out", [str(pack / "wrong.tsv")]
    with pytest.raises(
        InputError, match=r"yor-Latn: P@1 is 0\.\d+ on \d+ held-out words, below the floor of 0.5"
    ):
        align_vectors(_specs(pack), out, to="en", lexicon=wrong, floor=0.5)
    with pytest.raises(InputError, match="yor-Latn: nothing to judge by; give a lexicon with --held-out"):
        align_vectors(_specs(pack), out, to="en", method="identical")
    assert not out.exists()
    align_vectors(_specs(pack), out, to="en", lexicon=wrong, floor=0.5, force=True)
    record = load_directory(out).record
    assert record["forced"] is True


def test_what_is_asked_for_has_to_be_there(pack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for options, fault in (
        ({"to": "en"}, "the method lexicon needs one"),
        ({"to": "en", "method": "joint"}, "needs sentence pairs"),
        ({"to": "en", "method": "other", "floor": 3}, "no method 'other'.*--floor 3"),
        (
            {"to": "sw", "lexicon": [str(pack / "all.tsv")]},
            "no vectors of swh-Latn, only of eng-Latn, yor-Latn",
        ),
        ({"to": "en", "lexicon": [str(pack / "pairs.tsv")]}, "has no words of yor-Latn"),
        ({"to": "en", "method": "identical", "pairs": ["en-yo=x"]}, "reads no sentence pairs"),
        ({"to": "en", "width": 7, "lexicon": ["x"]}, "only the method joint"),
    ):
        with pytest.raises(InputError, match=fault):
            align_vectors(_specs(pack), out, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="alone, so there is nothing to align"):
        align_vectors(_specs(pack)[:1], out, to="en", lexicon=[str(pack / "all.tsv")])
    with pytest.raises(InputError, match="no such file or directory"):
        align_vectors(["en=none.vec"], out, to="en", lexicon=["x"])
