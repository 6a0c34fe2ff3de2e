from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from polycompress.corpora import LanguageFilter, Reading, parse_cleaning, read_shard
from polycompress.errors import InputError
from tests.corpora.helpers import shards_of, write


def test_a_reading_is_a_value() -> None:
    reading = Reading(field="satz", cleaning=("collapse", "nfc"), sample=0.5, seed=3)
    assert reading == Reading(field="satz", cleaning=("nfc", "collapse"), sample=0.5, seed=3)
    assert pickle.loads(pickle.dumps(reading)) == reading
    assert hash(reading) == hash(pickle.loads(pickle.dumps(reading)))
    assert reading.as_dict() == {
        "field": "satz",
        "cleaning": ["empty", "nfc", "collapse"],
        "sample": 0.5,
        "seed": 3,
        "identify": None,
    }
    assert json.loads(json.dumps(reading.as_dict())) == reading.as_dict()
    assert (Reading().column, reading.column) == ("text", "satz")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"cleaning": ("colapse",)},
            r"Unknown cleaning 'colapse'\. Did you mean collapse\? There are control, nfc",
        ),
        ({"cleaning": ("zzz",)}, r"Unknown cleaning 'zzz'\. There are control"),
        ({"sample": 0.0}, r"A sample of 0\.0 is no share"),
        ({"sample": 1.5}, r"A sample of 1\.5 is no share"),
        ({"sample": float("nan")}, "A sample of nan is no share"),
        ({"seed": -1}, "The seed -1 is not between 0 and"),
        ({"field": ""}, "The field's name is empty"),
    ],
)
def test_wrong_readings(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Reading(**values)  # type: ignore[arg-type]


def test_cleaning_as_written() -> None:
    assert parse_cleaning(" NFC , control,empty,") == ("control", "nfc")
    assert parse_cleaning("") == ()
    with pytest.raises(InputError, match="Unknown cleaning 'nfd'"):
        parse_cleaning("nfd")


def test_wrong_filters() -> None:
    with pytest.raises(InputError, match=r"The threshold 1\.5 is no probability"):
        LanguageFilter(model=Path("m"), language="deu-Latn", threshold=1.5)
    with pytest.raises(InputError, match="Unknown language 'xxyy'"):
        LanguageFilter(model=Path("m"), language="xxyy")


def test_what_is_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    lines = [f"Zeile {number}" for number in range(1000)] + ["", "  ", "\x00", "\ufeff", "\ufdd0"]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps({"text": line}) + "\n" for line in lines))
    (shard,) = shards_of([path])
    everything = read_shard(shard, Reading())
    assert len(list(everything)) == everything.texts_read == 1001
    assert everything.dropped == {"empty": 4}
    reader = read_shard(shard, Reading(cleaning=("control",), sample=0.25))
    texts = list(reader)
    assert reader.dropped["empty"] == 5
    assert reader.dropped["sample"] + len(texts) == 1000
    assert 200 < len(texts) < 300
    again = list(reader)
    assert again == texts
    assert reader.dropped["empty"] == 5
