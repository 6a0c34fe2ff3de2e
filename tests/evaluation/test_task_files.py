"""Files of tasks: those that ship, and everything that can be wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.evaluation.tasks import METRICS, all_tasks, find_task, read_task
from polycompress.resources import data_path
from tests.evaluation.task_data import nli_file

IDS = """
xnli nli-sick nli-americas nli-indonli nli-ocnli nli-farstail nli-jnli ner-wikiann ner-masakhaner ner-uner sib200 xquad
xquad-squad retrieval-sib200 retrieval-pud retrieval-tatoeba word-translation
""".split()
GOOD = """
id = "my-task"
name = "Mine"
kind = "pair-classification"
labels = ["entailment", "neutral", "contradiction"]
metric = "accuracy"
chance = 0.3333
parallel = false
protocol = "trained on this, tested on that"
train_from = "this"
comparable = true
licence = "CC0"
citation = "nobody"

[local]
format = "tsv"

[local.files]
test = "mine/{language}.tsv"

[local.columns]
text = "sentence1"
second = "sentence2"
label = "gold_label"

[hub]
dataset = "owner/name"
revision = "0123456789abcdef0123456789abcdef01234567"
config = "{language}"
configs = ["de", "en"]
names = ["neutral", "yes"]

[hub.splits]
test = ["test", "more"]

[hub.columns]
text = "a"
second = "b"
label = "c"

[hub.rename]
yes = "entailment"
"""


def written(directory: Path, text: str, name: str = "my-task.toml") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_tasks_that_ship() -> None:
    tasks = all_tasks()
    assert sorted(IDS) == [task.id for task in tasks]
    for task in tasks:
        assert task.metric == METRICS[task.kind]
        assert task.licence
        assert task.citation
        assert task.local is not None
        assert (task.hub is None) == (task.no_hub is not None)
        if task.hub is not None:
            assert len(task.hub.revision or "") == (0 if task.id == "nli-americas" else 40)
            assert len(task.languages("test", None)) == len(task.hub.configs) - (
                task.id == "retrieval-sib200"
            )


def test_the_file_beside_the_tasks_names_every_field() -> None:
    text = (data_path("eval") / "tasks" / "README.md").read_text(encoding="utf-8")
    for field in (
        "split_by",
        "comparable",
        "no_hub",
        "train_from",
        "[local.where]",
        "[local.codes]",
        "[hub.splits]",
    ):
        assert f"`{field}" in text


def test_a_task_of_your_own(tmp_path: Path) -> None:
    task = read_task(written(tmp_path, GOOD))
    assert find_task("my-task", tmp_path) == task
    assert [each.id for each in all_tasks(tmp_path)] == sorted([*IDS, "my-task"])
    assert [str(part) for part in task.languages("test", None)] == ["deu-Latn", "eng-Latn"]
    assert task.languages("train", None) == []
    assert task.protocol_at(None) == task.protocol_at(tmp_path) == "trained on this, tested on that"
    nli_file(tmp_path / "mine" / "tur.tsv.gz", [("neutral", "a", "b")])
    assert [str(part) for part in task.languages("test", tmp_path)] == ["tur-Latn"]
    written(tmp_path, GOOD.replace("my-task", "sib200"), "sib200.toml")
    assert find_task("sib200", tmp_path).name == "Mine"  # in place of ours
    assert find_task("sib200").name == "SIB-200"


def test_protocols_of_the_two_doors() -> None:
    task = find_task("xnli")
    assert task.protocol_at(Path()) == task.protocol
    assert task.protocol_at(None) == "trained on English MNLI, tested on XNLI test"
    assert "MNLI" in task.train_from_at(None)
    assert "WikiNLI" in task.train_from_at(Path())
    assert task.as_dict()["hub"]["dataset"] == "facebook/xnli"


def test_no_such_task(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"There is no task 'ner-wikian'. Did you mean ner-wikiann. Tasks: ner-"
    ):
        find_task("ner-wikian")
    with pytest.raises(InputError, match="no such directory of task files"):
        all_tasks(tmp_path / "nowhere")


def test_all_faults_at_once(tmp_path: Path) -> None:
    text = (
        GOOD.replace('name = "Mine"', "")
        .replace('"neutral", "contradiction"]', '"neutral", "neutral"]')
        .replace("chance = 0.3333", "chance = 33.3")
        .replace("parallel = false", 'parallel = "no"')
        .replace('licence = "CC0"', 'license = "CC0"')
        .replace('label = "gold_label"\n', 'lable = "gold_label"\n')
        .replace('"mine/{language}.tsv"', '["../{language}.tsv", "mine/all.tsv"]')
        .replace('["de", "en"]', '["de", "xq"]')
        .replace('0123456789abcdef01234567"', 'main"')
        .replace('names = ["neutral", "yes"]', 'names = ["neutral", "maybe"]')
        .replace('yes = "entailment"', 'yes = "entailments"')
    )
    with pytest.raises(InputError) as caught:
        read_task(written(tmp_path, text))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'my-task.toml'}: 14 faults:\n  ")
    for fault in (
        "name is missing: give text.",
        "labels: 'neutral' is listed 2 times.",
        "chance is 33.3: give a share from 0 to 1.",
        "parallel is 'no': give true or false.",
        "licence is missing: give text.",
        "license is no field. Did you mean licence?",
        "local.columns.lable is no value of the kind pair-classification. Did you mean label?",
        "local.columns: label is missing: name the column.",
        "local.files: '../{language}.tsv': give a path below the data directory, without .. and wildcards.",
        "local.files: 'mine/all.tsv': {language} must be in it once, {subset} at most once.",
        "hub.configs: 'xq' holds no known language (template {language}).",
        "hub.revision is '0123456789abcdefmain': give a commit, 40 hexadecimal digits.",
        "hub.rename.yes is 'entailments': none of the labels. Did you mean entailment?",
        "hub.names: maybe: none of the labels (entailment, neutral, neutral), nor under rename.",
    ):
        assert fault in message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "pair-classification"', 'kind = "pair-clasification"', "Did you mean pair-classification?"),
        ('metric = "accuracy"', 'metric = "squad-f1"', "that of the kind pair-classification is accuracy"),
        ('metric = "accuracy"', 'metric = "acuracy"', "Did you mean accuracy?"),
        ('id = "my-task"', 'id = "other"', "id is 'other': give the file's name without .toml"),
        ("comparable = true", "comparable = false", "comparable is False: give text"),
        ('citation = "nobody"', 'citation = "x"\npivot = "eng-Latn"', "pivot: a task of the kind pair-class"),
        ('citation = "nobody"', 'citation = "x"\nsplit_by = "paragraph"', "pair-classification has no paragraphs"),
        ('format = "tsv"', 'format = "xlsx"', "local.format is 'xlsx': give one of tsv, conll, squad"),
        ('format = "tsv"', 'format = "conll"', "local.columns: only a tsv file has them"),
        ('test = "mine/{language}.tsv"', 'dev = "mine/{language}.tsv"', "local.files.test is missing"),
        ('test = "mine/{language}.tsv"', 'test = "mine/{language}*.tsv"', "without .. and wildcards"),
        ('dataset = "owner/name"', 'dataset = "../name"', "hub.dataset is '../name': give owner/name"),
        ("[local.columns]", '[local.where]\ncolumn = "split"\n\n[local.columns]', "local.where.test is missing"),
        ("[local.columns]", '[local.codes]\nsr = "serbian"\n\n[local.columns]', "local.codes.sr is 'serbian'"),
        ("[hub.splits]", "[hub.spilts]", "hub.spilts is no field. Did you mean splits?"),
        ('id = "my-task"', "id = ", "not TOML"),
    ],
)  # fmt: skip
def test_one_fault(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        read_task(written(tmp_path, GOOD.replace(old, new, 1)))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ('["B-PER", "I-PER", "O"]', "labels: B-PER: give IOB2 tags, O first"),
        ('["O", "B-PER", "I-LOC"]', "labels: I-LOC: give IOB2 tags"),
        ('["O", "PER"]', "labels: PER: give IOB2 tags"),
        ("[]", "labels is []: give text or a list of texts"),
    ],
)
def test_tags(tmp_path: Path, labels: str, message: str) -> None:
    text = (data_path("eval") / "tasks" / "ner-uner.toml").read_text(encoding="utf-8")
    text = "\n".join(
        f"labels = {labels}" if line.startswith("labels") else line for line in text.splitlines()
    )
    with pytest.raises(InputError) as caught:
        read_task(written(tmp_path, text, "ner-uner.toml"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('pivot = "eng-Latn"', "", "pivot is missing: give the code of the language"),
        ('pivot = "eng-Latn"', 'pivot = "en"', "pivot is 'en': give a code of languages/registry.tsv"),
        (
            "parallel = true",
            'parallel = true\nlabels = ["a"]',
            "labels: a task of the kind retrieval has none",
        ),
    ],
)
def test_retrieval(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (data_path("eval") / "tasks" / "retrieval-pud.toml").read_text(encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_task(written(tmp_path, text.replace(old, new), "retrieval-pud.toml"))
    assert message in str(caught.value)


def test_a_file_without_doors_or_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither .local. nor .hub.: say where the examples come from"):
        read_task(written(tmp_path, GOOD.split("[local]")[0]))
    with pytest.raises(InputError, match=r"cannot be read .No such file"):
        read_task(tmp_path / "nothing.toml")
    with pytest.raises(InputError, match="more than 131072 bytes"):
        read_task(written(tmp_path, "#" * 2**18))
    with pytest.raises(
        InputError, match=r"not TOML .more than 500 dots in line 2: write it on several lines"
    ):
        read_task(written(tmp_path, "\na" + ".a" * 60_000 + "=1"))
    only_hub = GOOD.split("[local]")[0] + "[hub]" + GOOD.split("[hub]")[1]
    task = read_task(written(tmp_path, only_hub))
    with pytest.raises(InputError, match="Task my-task has no layout of a data directory; leave --data out"):
        task.languages("test", tmp_path)
    assert not task.has_door(tmp_path)
