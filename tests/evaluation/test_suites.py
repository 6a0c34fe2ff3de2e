from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.evaluation.suites import ALL, SuiteEntry, all_suites, find_suite, read_suite
from polycompress.evaluation.tasks import find_task


def test_the_suites_that_ship() -> None:
    assert [suite.id for suite in all_suites()] == ["cross-lingual", "quick", "translate-train"]
    for suite in all_suites():
        assert suite.description
        for entry in suite.entries:
            kinds = {find_task(task).kind for task in (entry.task, entry.train_task) if task}
            assert len(kinds) == 1, "a model is judged on the kind of task that it was tuned for"
            if entry.train_task is not None:
                assert find_task(entry.task).labels == find_task(entry.train_task).labels
            assert (entry.train_task is None) == (not entry.train_languages)


def test_cross_lingual_is_tuned_in_english_only() -> None:
    suite = find_suite("cross-lingual")
    assert {entry.train_languages for entry in suite.entries} == {("eng-Latn",), ()}
    assert {entry.test_languages for entry in suite.entries} == {(ALL,)}
    named = [entry for entry in suite.entries if entry.train_task == "ner-wikiann"]
    assert [entry.task for entry in named] == ["ner-wikiann", "ner-masakhaner", "ner-uner"]
    assert len({entry.tuned for entry in named}) == 1  # one model for all three


def test_the_quick_suite_has_what_it_trains_on(data_dir: Path) -> None:
    for entry in find_suite("quick").entries:
        task = find_task(entry.task)
        assert entry.limit is not None
        there = {part.language for part in task.languages("test", data_dir)}
        assert there.issuperset(entry.test_languages)
        if entry.train_languages:
            assert {part.language for part in task.languages("train", data_dir)}.issuperset(
                entry.train_languages
            )


def test_no_such_suite() -> None:
    with pytest.raises(
        InputError, match=r"There is no suite 'quik'. Did you mean quick. Suites: cross-lingual, quick"
    ):
        find_suite("quik")


GOOD = """
id = "mine"
name = "Mine"
description = "Some."

[[entry]]
task = "xnli"
train_languages = ["en", "German"]
train_limit = 5
epochs = 1
test_languages = "all"
limit = 3

[[entry]]
task = "retrieval-pud"
"""


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    first, second = read_suite(path).entries
    assert first == SuiteEntry(
        task="xnli",
        train_task="xnli",
        train_languages=("eng-Latn", "deu-Latn"),
        train_limit=5,
        epochs=1,
        test_languages=(ALL,),
        limit=3,
    )
    assert (second.train_task, second.train_languages, second.test_languages) == (None, (), (ALL,))


def test_all_faults_at_once(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text(
        GOOD.replace('"xnli"', '"xnlj"')
        .replace("limit = 3", "limit = 0")
        .replace('["en", "German"]', '["en", "all", "xq"]')
        .replace('task = "retrieval-pud"', 'task = "retrieval-pud"\nepochs = 2\ntrain = "en"')
    )
    with pytest.raises(InputError) as caught:
        read_suite(path)
    message = str(caught.value)
    for fault in (
        "id is 'mine': give the file's name without .toml",
        "entry[0].task is 'xnlj': no task has that id. Did you mean xnli?",
        "entry[0].limit is 0: give a whole number of at least 1",
        "entry[0].train_languages: 'all' is no language of the registry",
        "entry[0].train_languages: 'xq' is no language of the registry",
        "entry[1].epochs without train_languages: name the languages to train in",
        "entry[1].train is no field. Did you mean train_",
    ):
        assert fault in message
