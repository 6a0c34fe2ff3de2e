"""What inspect finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polycompress import inspect, trim
from tests.tiny_models import TEXTS, make_tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(
        "xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400, padding_rows=7
    )


def test_parts_add_up(source: Path) -> None:
    found = inspect(source)
    assert sum(found.parameters.values()) * 4 == found.bytes
    assert found.parameters["embeddings"] > 0
    assert found.tokenizer_type == "Unigram"
    assert any("7 rows more" in oddity for oddity in found.oddities)
    assert any("lowest score" in oddity for oddity in found.oddities)
    json.dumps(found.as_dict())


def test_the_frontier_rises_and_holds_the_default(source: Path, tmp_path: Path) -> None:
    text = tmp_path / "de.txt"
    text.write_text("\n".join(f"{line} {n}" for n in range(60) for line in TEXTS[:4]), encoding="utf-8")
    found = inspect(source, langs="de,tr", corpus=f"de={text}", plot=tmp_path / "frontier.svg")
    german, turkish = found.frontiers
    for frontier in (german, turkish):
        coverage = [point.coverage for point in frontier.points]
        identical = [point.identical for point in frontier.points if point.identical is not None]
        assert coverage == sorted(coverage)
        assert identical == sorted(identical)
        assert coverage[-1] == pytest.approx(1.0)
    assert german.unseen is not None
    assert turkish.unseen is None
    alone = trim(source, langs="de", corpus=f"de={text}", dry_run=True)
    both = trim(source, langs="de,tr", corpus=f"de={text}", dry_run=True)
    assert german.default.size == len(alone.plan.keep_ids)
    assert found.together == len(both.plan.keep_ids)
    assert (tmp_path / "frontier.svg").stat().st_size > 1000
    json.dumps(found.as_dict())


def test_gaps_are_shown_not_raised(source: Path) -> None:
    found = inspect(source, langs="de,sw")
    assert [frontier.language.code for frontier in found.frontiers] == ["deu-Latn"]
    assert found.gaps[0].startswith("Swahili (swh-Latn): no built-in word frequencies and no corpus")
