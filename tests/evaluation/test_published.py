from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.evaluation.published import published_scores, read_published
from polycompress.evaluation.records import Part
from polycompress.evaluation.tasks import find_task


def test_xnli() -> None:
    found = {each.model: each for each in published_scores("xnli")}
    assert list(found) == [
        "mBERT",
        "XLM-R base",
        "mMiniLMv1 12x384",
        "mMiniLMv2 12x384 (from XLM-R large)",
        "mMiniLMv2 6x384 (from XLM-R large)",
    ]
    assert found["mBERT"].scores[Part("swh-Latn")] == 0.504
    assert [each.average for each in found.values()] == [0.663, 0.745, 0.711, 0.729, 0.693]
    for each in found.values():
        assert each.source.startswith("https://")
        if each.scores:  # what is reported of single languages adds up to the average that is reported
            assert len(each.scores) == each.average_over == 15
            assert sum(each.scores.values()) / 15 == pytest.approx(each.average, abs=0.00051)


def test_they_are_of_the_hub_protocol_only() -> None:
    task = find_task("xnli")
    for each in published_scores("xnli"):
        assert each.protocol == task.protocol_at(None)
        assert each.protocol != task.protocol_at(Path("data"))
    assert published_scores("sib200") == ()


def test_all_faults_at_once(tmp_path: Path) -> None:
    path = tmp_path / "published.toml"
    path.write_text(
        """
[[published]]
task = "xnli"
model = "a"
protocol = "b"
source = "a book"
average = 66.3
[published.scores]
xq = 0.5
deu-Latn = 50

[[published]]
task = "xnli"
model = "a"
protcol = "b"
source = "https://example.org"
"""
    )
    with pytest.raises(InputError) as caught:
        read_published(path)
    message = str(caught.value)
    for fault in (
        "published[0].average is 66.3: give a share from 0 to 1",
        "published[0].source is 'a book': give an address that begins with https://",
        "published[0].scores.xq is no language of the registry",
        "published[0].scores.deu-Latn is 50.0: give a share from 0 to 1",
        "published[1].protcol is no field. Did you mean protocol?",
        "published[1].protocol is missing",
        "published[1].neither scores nor average: give at least one",
    ):
        assert fault in message
