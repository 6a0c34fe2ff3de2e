from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.corpora import parse_pairs, read_pairs
from polycompress.errors import InputError
from polycompress.languages import find_languages

LANGUAGES = find_languages("en,yo")


def _pairs(tmp_path: Path, first: str, second: str) -> list[tuple[str, str]]:
    (tmp_path / "a.tsv").write_text(first, "utf-8")
    (tmp_path / "b.tsv").write_text(second, "utf-8")
    (spec,) = parse_pairs([f"en-yo={tmp_path / 'a.tsv'}+{tmp_path / 'b.tsv'}"], LANGUAGES)
    return list(read_pairs(spec))


def test_rows_of_the_training_split_join_by_their_ids(tmp_path: Path) -> None:
    first = "index_id\tsplit\tcategory\ttext\n7\ttrain\tx\tseven\n8\ttest\tx\teight\n9\ttrain\tx\tnine\n"
    second = "split\ttext\tindex_id\ntrain\tmẹ́sàn-án\t9\ntest\tmẹ́jọ\t8\ntrain\tméje\t7\ntrain\tmẹ́wàá\t10\n"
    assert _pairs(tmp_path, first, second) == [("nine", "mẹ́sàn-án"), ("seven", "méje")]


def test_tables_without_a_split_are_read_whole(tmp_path: Path) -> None:
    found = _pairs(tmp_path, "sent_id\ttext\nn1\tone\nn2\t \n", "sent_id\ttext\nn2\tejì\nn1\tọ̀kan\n")
    assert found == [("one", "ọ̀kan")]


def test_other_files_still_go_line_by_line(tmp_path: Path) -> None:
    assert _pairs(tmp_path, "text\none\n", "text\nọ̀kan\n") == [("text", "text"), ("one", "ọ̀kan")]


def test_faults_name_lines(tmp_path: Path) -> None:
    sound = "id\ttext\n1\tx\n"
    with pytest.raises(InputError, match=r"b.tsv: line 3 has 1 columns"):
        _pairs(tmp_path, sound, "id\ttext\n1\tx\n2\n")
    with pytest.raises(InputError, match=r"a.tsv: line 3: the id '1' comes a second time"):
        _pairs(tmp_path, "id\ttext\n1\tx\n1\ty\n", sound)
