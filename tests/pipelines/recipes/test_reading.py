from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polycompress.cli.recipe_commands import recipe_command
from polycompress.pipelines.recipes.finding import find_recipe, own_recipes
from polycompress.pipelines.recipes.kinds import KINDS, RESERVED
from polycompress.pipelines.recipes.reading import read_recipe
from polycompress.pipelines.recipes.stages import Source
from polycompress.training.errors import ConfigError
from tests.pipelines.tiny_recipes import SMALL, read, recipe_of, write_recipe

TRAIN = {"options": {"task": "sib200", "steps": 2}}


@pytest.fixture(autouse=True)
def no_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYCOMPRESS_DATA", raising=False)


def faults(root: Path, *stages: Any, **fields: Any) -> list[str]:
    return read(root, *stages, **fields).faults


def only(found: list[str], *parts: str) -> None:
    assert len(found) == 1, found
    assert all(part in found[0] for part in parts), found


def test_stages_are_filled_up_with_what_the_recipe_says(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    found = read(
        tmp_path,
        SMALL,
        {"name": "student", "do": "bistil general", "options": {"steps": 4}},
        {"name": "ner", "do": "finetune", **TRAIN},
        {"name": "scores", "do": "eval", "options": {"task": "sib200"}},
        {"name": "speed", "do": "bench"},
        {"name": "check", "do": "verify", "models": ["model", "small"]},
        {"name": "page", "do": "report"},
    )
    assert found.faults == []
    small, student, ner, scores, speed, check, page = found.recipe.stages
    texts = tuple(f"{code}={tmp_path}/{name}.txt" for code, name in (("eng-Latn", "en"), ("deu-Latn", "de")))
    assert found.recipe.model == str(tmp_path / "model")
    assert small.sources == (Source(name="model", is_stage=False),)
    assert small.options["langs"] == "eng-Latn,deu-Latn"
    assert small.options["corpus"] == student.options["corpus"] == texts
    assert (student.options["source"], student.options["target"]) == ("eng-Latn", "deu-Latn")
    assert student.sources == (Source(name="small", is_stage=True),)
    assert ner.options["train-langs"] == "eng-Latn"
    assert ner.options["data"] == scores.options["data"] == str(tmp_path / "data")
    assert scores.sources == speed.sources[1:] == (Source(name="ner", is_stage=True),)
    assert [source.name for source in check.sources] == ["model", "small"]
    assert [source.name for source in page.sources] == ["small", "student", "ner", "scores", "speed", "check"]
    assert page.folder == "7-page"


def test_a_stage_with_other_languages_takes_their_text_alone(tmp_path: Path) -> None:
    stage = {**SMALL, "options": {"langs": ["German"], "min-count": 2}}
    (small,) = read(tmp_path, stage).recipe.stages
    assert small.options["langs"] == "German"
    assert small.options["corpus"] == (f"deu-Latn={tmp_path}/de.txt",)


def test_what_was_settled_is_a_recipe_that_says_the_same(tmp_path: Path) -> None:
    first = read(
        tmp_path,
        SMALL,
        {"name": "student", "do": "mlm", "options": {"steps": 4, "learning-rate": 1e-5}},
        {"name": "curve", "do": "report", "model": "student"},
    )
    assert first.faults == []
    (tmp_path / "run").mkdir()
    again = read_recipe(write_recipe(tmp_path / "run", first.recipe.settled()), recipe_command)
    assert again.faults == []
    assert again.recipe.settled() == first.recipe.settled()


def test_every_fault_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "name: Bad name\n"
        "models: demo\n"
        "languages: [en, klingon]\n"
        "stages:\n"
        "  - name: small\n"
        "    do: trimm\n"
        "  - name: small\n"
        "    do: trim\n"
        "    options:\n"
        "      coverrage: 0.9\n"
        "      size: many\n"
        "      out: here\n"
        "      each: all\n"
        "    modell: demo\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        read_recipe(path, recipe_command).report()
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    starts = [
        "line 1: name is 'Bad name': give small letters",
        "line 1: model is missing",
        "line 2: models is no field. Did you mean model?",
        "line 3: languages:",
        "line 6: stages[1].do is 'trimm': give one of trim",
        "line 7: stages[2].name is 'small', as of a stage before",
        "line 10: stages[2].options.coverrage is no option of trim. Did you mean coverage?",
        "line 11: stages[2].options.size is 'many': give a whole number",
        "line 12: stages[2].options.out is given, but that is for the run to say",
        "line 13: stages[2].options.each is given, but a stage cannot take it",
        "line 14: stages[2].modell is no field. Did you mean model?",
    ]
    assert len(lines) == len(starts), lines
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start), line


def test_languages_without_word_frequencies_are_verified_on_the_corpora(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    check = {"name": "check", "do": "verify", "models": ["model", "small"]}
    corpora = ["en=en.txt", "jv=jv.txt"]
    found = read(tmp_path, SMALL, check, languages=["en", "jv"], corpora=corpora)
    assert found.faults == []
    assert found.recipe.stages[1].options["text"] == (
        f"eng-Latn={tmp_path}/en.txt",
        f"jav-Latn={tmp_path}/jv.txt",
    )
    english = read(tmp_path, SMALL, check, languages=["en"], corpora=corpora[:1])
    assert "text" not in english.recipe.stages[1].options
    own = check | {"options": {"text": ["jv=other.txt"]}}
    given = read(tmp_path, SMALL, own, languages=["en", "jv"], corpora=corpora).recipe.stages[1]
    assert given.options["text"] == (f"jv={tmp_path}/other.txt",)


@pytest.mark.parametrize(
    ("stages", "parts"),
    [
        ([{"name": "ner", "do": "finetune", "options": {"steps": 2}}], ("task is missing: give text",)),
        ([{"name": "model", "do": "inspect"}], ("name is 'model'",)),
        ([{"name": "../x", "do": "inspect"}], ("name is '../x': give small letters",)),
        (
            [SMALL, {"name": "look", "do": "inspect"}, {"name": "b", "do": "inspect", "model": "look"}],
            ("model is 'look': that stage (inspect) makes no model",),
        ),
        (
            [
                {"name": "ner", "do": "finetune", "options": {**TRAIN["options"], "seeds": 2}},
                {"name": "b", "do": "inspect"},
            ],
            ("makes a model of each seed",),
        ),
        ([{"name": "page", "do": "report"}], ("there is nothing to report",)),
        ([{"name": "check", "do": "verify"}], ("models is missing",)),
        ([{"name": "check", "do": "verify", "models": ["model"]}], ("there are 1; give two",)),
        ([{**SMALL, "models": ["model"]}], ("takes one: give model",)),
        ([{"name": "s", "do": "bench", "model": "model"}], ("takes several: give models",)),
        ([{**SMALL, "options": {"no-frequencies": "yes"}}], ("give true or false",)),
        ([{**SMALL, "options": {"keep": "../up.txt"}}], ("leads out of the recipe's directory",)),
        ([{**SMALL, "options": {"corpus": "de=../../de.txt"}}], ("leads out of the recipe's directory",)),
        ([{**SMALL, "model": "../model"}], ("leads out of the recipe's directory",)),
        ([], ("there are 0; give 1 to 100",)),
        ([SMALL, 7], ("line 16: stages[2] is 7: give fields, such as name and do",)),
        ([{**SMALL, "model": "small"}], ("stages[1].model is 'small': that is this stage itself",)),
        (
            [{**SMALL, "model": "more"}, {"name": "more", "do": "trim"}],
            ("stages[1].model is 'more': that stage comes later: move it up",),
        ),
        (
            [SMALL, {"name": "check", "do": "verify", "models": ["model", "smal"]}],
            (
                "stages[2].models is 'smal': no stage before is called so, and no directory. Did you mean small?",
            ),
        ),
        (
            [SMALL, {"name": "b", "do": "eval", "options": {"task": "sib200", "teacher": "nirvana"}}],
            ("stages[2].options.teacher is 'nirvana': no stage before is called so, and no directory",),
        ),
    ],
)
def test_what_a_stage_cannot_be_told(tmp_path: Path, stages: list[Any], parts: tuple[str, ...]) -> None:
    only(faults(tmp_path, *stages), *parts)


def test_stages_that_are_no_list_are_one_fault(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, {**recipe_of(), "stages": {"small": "trim"}})
    only(read_recipe(path, recipe_command).faults, "stages is {'small': 'trim'}: give a list of tables")


def test_a_directory_may_be_called_like_a_later_stage(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    found = read(tmp_path, {**SMALL, "model": "more"}, {"name": "more", "do": "trim"})
    assert found.faults == []
    assert found.recipe.stages[0].sources == (Source(name=str(tmp_path / "more"), is_stage=False),)


@pytest.mark.parametrize(
    ("corpora", "part"),
    [("en.txt", "does not say its language"), ("fr=fr.txt", "is fra-Latn, which is not among languages")],
)
def test_corpora_say_their_language(tmp_path: Path, corpora: str, part: str) -> None:
    only(faults(tmp_path, {"name": "look", "do": "inspect"}, corpora=corpora), part)


def test_a_path_of_an_option_is_from_the_recipe_and_one_that_was_set_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    stage = {**SMALL, "options": {"keep": "keep.txt", "size": 20}}
    path = write_recipe(tmp_path, recipe_of(stage, data="../elsewhere"))
    recipe = read_recipe(path, recipe_command).recipe
    assert recipe.stages[0].options["keep"] == str(tmp_path / "keep.txt")
    assert recipe.data == tmp_path.parent / "elsewhere"
    settings = ["stages.small.options.keep=../up.txt", "data=pack", "corpora=[en=a/*.txt]"]
    recipe = read_recipe(path, recipe_command, settings).recipe
    assert recipe.stages[0].options["keep"] == str(tmp_path / "up.txt")
    assert recipe.data == tmp_path / "here" / "pack"
    assert recipe.corpora == (f"eng-Latn={tmp_path}/here/a/*.txt",)


def test_the_data_directory_is_what_was_set_else_the_environments_else_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = {**SMALL, "options": {"corpus": "de={data}/de.txt"}}
    path = write_recipe(tmp_path, recipe_of(stage, data="pack"))

    def corpus(*settings: str) -> object:
        return read_recipe(path, recipe_command, settings).recipe.stages[0].options["corpus"]

    assert corpus() == (f"de={tmp_path}/pack/de.txt",)
    monkeypatch.setenv("POLYCOMPRESS_DATA", "/env")
    assert corpus() == ("de=/env/de.txt",)
    assert corpus("data=/set") == ("de=/set/de.txt",)
    monkeypatch.delenv("POLYCOMPRESS_DATA")
    only(faults(tmp_path, stage, data=None), "there is no data directory: give one, such as --set data=DIR")
    up = {**SMALL, "options": {"corpus": "de={data}/../de.txt"}}
    only(faults(tmp_path, up), "leads out of the data directory")


@pytest.mark.parametrize("name", ["new-languages", "swahili-ner", "two-languages"])
def test_the_recipes_that_come_along_have_no_faults(name: str) -> None:
    found = read_recipe(find_recipe(name), recipe_command, ["data=/data"])
    assert found.faults == []
    assert found.recipe.name == name
    assert name in own_recipes()


def test_recipes_of_distillation_are_not_among_them() -> None:
    assert {"ernie-tiny", "bilingual-student"}.isdisjoint(own_recipes())


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_is_a_command_whose_options_are_known(name: str) -> None:
    command, kind = recipe_command(name), KINDS[name]
    assert command.arguments
    assert "json" in command.options
    assert ("out" in command.options) == (kind.leaves != "nothing")
    assert ("resume" in command.options) == (kind.leaves == "run")
    known = {*command.options, "compare"}  # a pair of files, which no recipe can write
    assert known.issuperset({*kind.languages, *kind.refused})
    assert not kind.reads_text or command.options["corpus"].stands_for == "text"
    free = [option for option in command.options.values() if option.name not in RESERVED]
    assert all(option.stands_for != "model" or option.type is str for option in free)


def test_pictures_of_a_stage_are_names_of_files(tmp_path: Path) -> None:
    def look(value: Any) -> list[str]:
        return faults(tmp_path, {"name": "look", "do": "inspect", "options": {"plot": value}})

    assert look("frontier.png") == look("a-b_c.1.svg") == []
    for wrong in ("../frontier.png", "/tmp/frontier.png", "sub/frontier.png", "frontier.txt", ".png", 3, ""):
        only(
            look(wrong), "options.plot is", "give the name of a file in the stage's output, such as plot.png"
        )


def test_languages_to_check_need_no_text(tmp_path: Path) -> None:
    stage = {"name": "plus", "do": "ofa", "options": {"extend": "de", "check": ["en", "de=de.txt"]}}
    (plus,) = read(tmp_path, stage).recipe.stages
    assert plus.options["check"] == ("en", f"de={tmp_path}/de.txt")
