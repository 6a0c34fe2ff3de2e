"""Recipes as they are read: what is wrong in them, all at once, by the line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from polycompress.pipelines.distil import make_plan
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.losses import OBJECTIVES
from polycompress.pipelines.distilling.recipe import find_recipe
from polycompress.pipelines.distilling.recipe_settings import SETTINGS
from polycompress.pipelines.mlm import MlmConfig
from polycompress.pipelines.tuning.config import FinetuneConfig
from polycompress.training.errors import ConfigError
from tests.pipelines.tiny_pack import make_pack
from tests.tiny_models import TEXTS, make_tiny

HEAD = "teacher: @TEACHER\nstudent: {layers: 2}\nlanguages: {source: en, target: sw}\ncorpora: [@CORPORA]\n"
GENERAL = "  - {name: general, losses: [hidden-mse], steps: 2}\n"
TUNED = "  - {name: tuned, kind: tune, task: sib200}\n"


class Kitchen:
    """A tiny teacher, text and tasks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.teacher = make_tiny("xlm-roberta", "base", root / "teacher", vocab_size=350, num_hidden_layers=4)
        self.data = make_pack(root / "data")
        for code in ("en", "sw"):
            (root / f"{code}.txt").write_text("\n".join(TEXTS), encoding="utf-8")
        self.corpora = [f"{code}={root / code}.txt" for code in ("en", "sw")]

    def recipe(self, stages: str, head: str = HEAD) -> Path:
        """A file."""
        path = self.root / "recipe.yaml"
        head = head.replace("@TEACHER", str(self.teacher)).replace("@CORPORA", ", ".join(self.corpora))
        path.write_text(head + "stages:\n" + stages, encoding="utf-8")
        return path

    def faults(self, stages: str, head: str = HEAD, settings: tuple[str, ...] = ()) -> tuple[str, ...]:
        """What is wrong."""
        with pytest.raises(ConfigError) as caught:
            make_plan(self.recipe(stages, head), settings, self.data)
        return caught.value.faults


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    yield Kitchen(tmp_path_factory.mktemp("kitchen"))


def only(faults: tuple[str, ...], part: str) -> None:
    assert len(faults) == 1, faults
    assert part in faults[0]


@pytest.mark.parametrize("name", ["ernie-tiny", "well-read-students"])
def test_our_own_recipes_plan(kitchen: Kitchen, name: str) -> None:
    settings = [f"teacher={kitchen.teacher}", f"corpora=[{', '.join(kitchen.corpora)}]"]
    settings += ["training.max_length=48"]
    plan = make_plan(find_recipe(name), settings, kitchen.data)
    assert plan.recipe.name == name
    assert plan.models.layer_map.layers == (0, 1, 2, 3)
    stages = {stage.name: stage for stage in plan.recipe.stages}
    if name == "ernie-tiny":
        latent = {"hidden-mse", "attention-mse"}
        asked = {
            stage.name: (stage.data, stage.teacher, {loss.name for loss in stage.losses})
            for stage in stages.values()
            if stage.kind == "distil"
        }
        assert asked == {
            "general": ("text", "teacher", latent),
            "general-enhanced": ("text", "tuned-teacher", latent),
            "task-adaptive": ("task", "tuned-teacher", latent),
            "task-specific": ("task", "tuned-teacher", latent | {"divergence", "gold"}),
        }
        assert not stages["task-adaptive"].trains_head
    else:
        assert [stage.kind for stage in plan.recipe.stages] == ["mlm", "tune", "distil", "distil"]
        assert stages["distillation"].has_transfer
        assert stages["fine-tuning"].teacher is None
    assert len(plan.as_dict()["stages"]) == len(stages)


def test_our_recipe_of_parallel_sentences(kitchen: Kitchen) -> None:
    pairs = kitchen.data / "parallel" / "tatoeba" / "swh-eng.tsv"
    settings = [f"teacher={kitchen.teacher}", f"corpora=[{', '.join(kitchen.corpora)}]", "student.layers=2"]
    settings += ["training.max_length=48"]
    with pytest.raises(
        ConfigError,
        match=r"stages\[2\]\.pairs is \[\]: give sentence pairs .* such as - en-yo=pairs\.tsv\.gz",
    ):
        make_plan(find_recipe("parallel-sentences"), settings, kitchen.data)
    plan = make_plan(
        find_recipe("parallel-sentences"), [*settings, f"stages.parallel.pairs=[en-sw={pairs}]"], kitchen.data
    )
    _, stage = plan.recipe.stages
    assert (stage.data, stage.teacher, [loss.name for loss in stage.losses]) == (
        "parallel", "teacher", ["sentence-vectors"],
    )  # fmt: skip
    assert [spec.name for spec in stage.pairs] == ["eng-Latn-swh-Latn"]


def test_our_recipe_of_new_subwords(kitchen: Kitchen) -> None:
    """Its student has tokens of its own in both stages."""
    student = make_tiny("bert", "base", kitchen.root / "alien", vocab_size=250, num_hidden_layers=2)
    pairs = kitchen.data / "parallel" / "tatoeba" / "swh-eng.tsv"
    settings = [
        f"teacher={kitchen.teacher}",
        f"corpora=[{', '.join(kitchen.corpora)}]",
        "languages.target=sw",
    ]
    settings += ["training.max_length=48", f"stages.parallel.pairs=[en-sw={pairs}]"]
    plan = make_plan(find_recipe("new-subwords"), [*settings, f"student.directory={student}"], kitchen.data)
    assert [stage.data for stage in plan.recipe.stages] == ["text", "parallel"]
    assert plan.models.layer_map.layers == (1, 3)
    with pytest.raises(ConfigError, match=r"student\.directory: .*nothing"):
        make_plan(
            find_recipe("new-subwords"),
            [*settings, f"student.directory={kitchen.root}/nothing"],
            kitchen.data,
        )


def test_a_recipe_is_a_file_or_one_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("ernie-tiny").is_file()
    assert find_recipe("mine") == Path("mine")
    Path("ernie-tiny").write_text("")
    assert find_recipe("ernie-tiny") == Path("ernie-tiny"), "what lies here comes first"


def test_settings_by_one_name_whatever_trains(kitchen: Kitchen) -> None:
    stages = (
        "  - {name: a, losses: [hidden-mse], steps: 30, learning_rate: 3e-4, masked: false}\n"
        "  - {name: b, kind: mlm, steps: 4}\n"
        "  - {name: c, kind: tune, task: sib200, epochs: 2}\n"
        "  - {name: d, task: sib200, teacher: c, losses: [{name: divergence, weight: 2}], steps: 5, batch_texts: 8}\n"
    )
    head = HEAD + "training: {seed: 7, batch_tokens: 300, max_length: 40, steps: 9, masked: true}\n"
    plan = make_plan(kitchen.recipe(stages, head), (), kitchen.data)
    a, b, c, d = (stage.settings for stage in plan.recipe.stages)
    assert isinstance(a, TextConfig) and isinstance(b, MlmConfig)
    assert isinstance(c, FinetuneConfig) and isinstance(d, FinetuneConfig)
    assert (a.training.steps, a.training.optimiser.learning_rate, a.masked) == (30, 3e-4, False)
    assert a.training.schedule.warmup_steps == 3
    assert (b.training.seed, b.batching.token_budget, b.max_length) == (7, 300, 40)
    assert (c.epochs, c.steps, c.seed, c.batch_tokens) == (2.0, None, 7, 300)
    assert (d.steps, d.batch_texts, d.batch_tokens) == (5, 8, None)
    assert plan.recipe.stages[3].losses[0].weight == 2


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (GENERAL.replace("hidden-mse", "divergence"), "line 7: stages[1].losses: divergence on text compares"),
        (GENERAL.replace("hidden-mse", "unequal"), "polycompress mlm"),
        (TUNED + GENERAL.replace("hidden-mse", "taid").replace("2}", "2, teacher: tuned}"), "learns a task, but"),
        (GENERAL.replace("hidden-mse", "gold"), "gold compares answers of a task's head"),
        ("  - {name: a, task: sib200, losses: [divergence], epochs: 1}\n", "has no head for task sib200"),
        ("  - {name: a, task: sib200, losses: [gold], teacher: teacher}\n", "gold asks none"),
        ("  - {name: a, task: sib200, losses: [hidden-mse], teacher: none}\n", "there is gold alone"),
        ("  - {name: a, losses: [hidden-mse], teacher: none, steps: 2}\n", "text alone teaches nothing"),
        (GENERAL + "  - {name: b, losses: [hidden-mse], steps: 2, teacher: general}\n", "trains the student"),
        (GENERAL + TUNED, "no later stage has 'tuned' as its teacher"),
        ("  - {name: a, losses: [hidden-mse, hidden-mse], steps: 2}\n", "for the second time"),
        ("  - {name: a, losses: [], steps: 2}\n", "losses is empty"),
        ("  - {name: a, steps: 2}\n", "losses is missing"),
        ("  - {name: a, losses: [hidden-mse]}\n", "steps is missing"),
        ("  - {name: a, kind: mlm, data: task, steps: 2}\n", "a stage of the kind mlm is trained on text"),
        ("  - {name: a, kind: mlm, steps: 2, losses: [hidden-mse]}\n", "has none: leave it out"),
        ("  - {name: a, losses: [hidden-mse], steps: 2, task: sib200, data: text}\n", "task is given"),
        ("  - {name: a, losses: [hidden-mse], steps: 2, transfer: corpora}\n", "transfer is given"),
        ("  - {name: a, losses: [hidden-mse], steps: 2, class_weights: true}\n", "class_weights is nothing"),
        ("  - {name: a, losses: [{name: minilmv2, options: {relation_heads: 5}}], steps: 2}\n", "5 relation heads"),
        ("  - {name: a, losses: [hidden-mse], steps: 2, max_length: 100}\n", "positions for 70 tokens"),
        ("  - {name: a, losses: [hidden-mse], steps: 2, batch_tokens: 9}\n", "batch_tokens is 9, less than"),
        ("  - {name: a, task: nli-sick, losses: [gold], train_langs: [sw]}\n", "no training examples in swh-Latn"),
        ("  - {name: a, task: word-translation, losses: [gold]}\n", "is not trained for"),
        ("  - {name: A b, losses: [hidden-mse], steps: 2}\n", "name is 'A b': give small letters"),
        ("  - {name: a, losses: [hidden-mse], steps: 2, lr: 1}\n", "lr is no field"),
        ("  - {name: a, losses: 3, steps: 2}\n", "losses is 3: give a list of tables"),
    ],
)  # fmt: skip
def test_one_fault(kitchen: Kitchen, stages: str, message: str) -> None:
    head = HEAD + "training: {max_length: 48}\n"
    only(kitchen.faults(stages, head), message)


def test_unequal_is_for_text_and_its_options_are_checked(kitchen: Kitchen) -> None:
    task = "  - {name: a, task: sib200, losses: [unequal, gold], epochs: 1}\n"
    assert "classes are the same for both models" in kitchen.faults(task)[0]
    cold = GENERAL.replace("hidden-mse", "{name: unequal, options: {temperature: 0}}")
    assert any("temperature=0.0 has to be above 0" in fault for fault in kitchen.faults(cold))


@pytest.mark.parametrize("name", ["gold", "dkd"])
def test_labels_that_transfer_has_none_of(kitchen: Kitchen, name: str) -> None:
    stage = (
        f"  - {{name: a, task: sib200, teacher: tuned, transfer: corpora, losses: [divergence, {name}]}}\n"
    )
    only(kitchen.faults(TUNED + stage), f"{name} asks for labels, but the texts of transfer have none")


def test_transfer_to_a_task_that_texts_are_no_examples_of(kitchen: Kitchen) -> None:
    stages = (
        "  - {name: t, kind: tune, task: xquad-squad}\n"
        "  - {name: a, task: xquad-squad, teacher: t, transfer: corpora, losses: [divergence]}\n"
    )
    assert any("texts alone are no examples" in fault for fault in kitchen.faults(stages))


def test_a_teacher_of_another_task(kitchen: Kitchen) -> None:
    stages = (
        "  - {name: tuned, kind: tune, task: nli-sick}\n"
        "  - {name: a, task: sib200, teacher: tuned, losses: [divergence]}\n"
    )
    only(kitchen.faults(stages), "learns nli-sick, but the answers of sib200 are asked of it")
    latent = stages.replace("divergence", "hidden-mse")
    assert make_plan(kitchen.recipe(latent), (), kitchen.data).recipe.stages[1].teacher == "tuned"


def test_a_teacher_that_is_called_otherwise(kitchen: Kitchen) -> None:
    stages = TUNED + "  - {name: a, task: sib200, losses: [divergence], teacher: tned}\n"
    unused, unknown = kitchen.faults(stages)
    assert "no later stage has 'tuned' as its teacher" in unused
    assert (
        "'tned', which no stage is called: give teacher, none, tuned, or a model directory. Did you "
        "mean tuned?" in unknown
    )


def test_a_teacher_that_comes_later(kitchen: Kitchen) -> None:
    stages = "  - {name: a, task: sib200, teacher: tuned, losses: [divergence]}\n" + TUNED
    faults = kitchen.faults(stages)
    assert any("that stage comes later: move it up" in fault for fault in faults)


def test_no_text_and_no_student(kitchen: Kitchen) -> None:
    head = HEAD.replace("[@CORPORA]", "[]")
    (fault,) = kitchen.faults(GENERAL.replace("2}", "2, max_length: 48}"), head)
    assert "no text of English and Swahili, which stage general and trimming the student need:" in fault
    faults = kitchen.faults(TUNED)
    assert any("stages: none trains the student" in fault for fault in faults)


def test_files_without_text(kitchen: Kitchen) -> None:
    empty = kitchen.root / "blank.txt"
    empty.write_text(" \n\n", encoding="utf-8")
    head = HEAD.replace("@CORPORA", f"{kitchen.corpora[0]}, 'sw={empty}'").replace("layers: 2", "layers: 3")
    faults = kitchen.faults(GENERAL.replace("2}", "0}"), head)
    assert len(faults) == 3, "with the layers and the steps"
    assert any(fault.startswith(f"line 4: corpora: {empty}: no text in it") for fault in faults), faults


def test_many_faults_at_once_by_line_and_option(kitchen: Kitchen) -> None:
    head = HEAD.replace("layers: 2", "layers: 3, lairs: 4").replace("source: en", "source: xq")
    stages = (
        "  - name: general\n    losses: [atention-mse]\n    steps: 0\n"
        "  - name: general\n    task: sib20\n    losses: [{name: dkd, options: {alfa: 1}}]\n    teacher: none\n"
    )
    faults = kitchen.faults(stages, head, ("training.sead=1", "stages.2.limit=0"))
    wanted = {
        "line 2: student.lairs is no field. Did you mean layers?",
        "line 2: student.layers: 3 layers do not divide",
        "line 3: languages.source: Unknown language 'xq'",
        "line 7: stages[1].losses[1].name: unknown objective 'atention-mse'. Did you mean attention-mse?",
        "line 8: stages[1].steps is 0: give at least 1",
        "line 9: stages[2].name is 'general', as is that of stage 1",
        "line 10: stages[2].task: There is no task 'sib20'. Did you mean sib200?",
        "line 11: stages[2].losses[1].name: dkd: alfa is no field. Did you mean alpha?",
        "--set training.sead: training.sead is no field. Did you mean seed?",
        "--set stages.2.limit: stages[2].limit is 0",
    }
    for part in wanted:
        assert any(fault.startswith(part) for fault in faults), (part, faults)


def test_several_languages_are_a_list(kitchen: Kitchen) -> None:
    stages = GENERAL.replace("steps: 2", "steps: 2, max_length: 48")
    head = HEAD.replace("target: sw", "target: [sw, German, sw]")
    only(kitchen.faults(stages, head), "corpora: there is no text of German")
    (kitchen.root / "de.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    head = head.replace("@CORPORA", f"@CORPORA, de={kitchen.root / 'de.txt'}")
    plan = make_plan(kitchen.recipe(stages, head), (), kitchen.data)
    assert plan.as_dict()["languages"] == ["eng-Latn", "swh-Latn", "deu-Latn"]
    only(
        kitchen.faults(stages, HEAD.replace("target: sw", "target: [sw, 5]")), "give text or a list of texts"
    )
    only(kitchen.faults(stages, HEAD.replace("target: sw", "target: [sw, xq]")), "Unknown language 'xq'")


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ("{layers: 2, layer_map: [0, 9]}", "names layer 9, but the teacher has the layers 0 to 3"),
        ("{layers: 3, layer_map: [0, 1]}", "layers is 3, but layer_map names 2"),
        ("{layer_map: [0, x]}", "give a list of layers of the teacher"),
        ("{layers: 2, strategy: top}", "strategy is 'top': give one of every-nth, bottom"),
        ("{layers: 2, trim: false, min_share: 1e-5}", "min_share is given, but trim is false"),
        ("{layers: 0}", "layers is 0: give at least 1"),
    ],
)
def test_students_that_cannot_be(kitchen: Kitchen, student: str, message: str) -> None:
    head = HEAD.replace("{layers: 2}", student)
    faults = kitchen.faults(GENERAL.replace("2}", "2, max_length: 48}"), head)
    assert any(message in fault for fault in faults), faults


def student_at(path: Path) -> str:
    return HEAD.replace("{layers: 2}", f"{{directory: {path}}}")


def test_a_student_that_is_there(kitchen: Kitchen, tmp_path: Path) -> None:
    from polycompress.distill.layer_map import every_nth
    from polycompress.pipelines.distilling.student_files import write_student

    write_student(kitchen.teacher, every_nth(4, 2), tmp_path / "student", {"command": []})
    stages = GENERAL.replace("2}", "2, max_length: 48}")
    plan = make_plan(kitchen.recipe(stages, student_at(tmp_path / "student")), (), kitchen.data)
    assert plan.models.layer_map.layers == (1, 3)
    assert not plan.recipe.student.trim
    other = make_tiny("bert", "base", tmp_path / "other", vocab_size=300, num_hidden_layers=2)
    task = "  - {name: b, task: sib200, losses: [hidden-mse], steps: 1}\n"
    faults = kitchen.faults(stages + task, student_at(other))
    assert len(faults) == 2
    for part in (
        "but the teacher has others: write masked: false. The",
        "teacher, but hidden-mse compares tokens",
    ):
        assert any(part in fault for fault in faults), faults
    assert all("tudent's tokenizer is not that of teacher" in fault for fault in faults)
    assert all("lacks" in fault and "of the student's" in fault for fault in faults)
    only(kitchen.faults(stages, student_at(tmp_path / "none")), "student.directory: ")


def test_families_that_cannot_show_what_is_asked_for(tmp_path: Path, kitchen: Kitchen) -> None:
    model = make_tiny("mpnet", "base", tmp_path / "m", vocab_size=350, num_hidden_layers=4)
    stages = "  - {name: a, losses: [attention-mse], steps: 2, max_length: 48}\n"
    only(kitchen.faults(stages, settings=(f"teacher={model}",)), "match relations instead of attention maps")
    causal = make_tiny("gpt2", "clm", tmp_path / "g", vocab_size=350, n_layer=4)
    faults = kitchen.faults(
        "  - {name: a, kind: mlm, steps: 2, max_length: 48}\n", settings=(f"teacher={causal}",)
    )
    assert any("causal language model" in fault or "mask_token" in fault for fault in faults), faults


def test_masks_go_with_the_kind_of_language_model(tmp_path: Path, kitchen: Kitchen) -> None:
    causal = make_tiny("gpt2", "clm", tmp_path / "g", vocab_size=350, n_layer=4)
    masked = make_tiny("bert", "mlm", tmp_path / "m", vocab_size=350, num_hidden_layers=4)
    stages = "  - {name: a, losses: [divergence], steps: 2, max_length: 48, masked: MASKED}\n"
    for model, wrong, word in (
        (causal, "true", "write masked: false"),
        (masked, "false", "write masked: true"),
    ):
        only(kitchen.faults(stages.replace("MASKED", wrong), settings=(f"teacher={model}",)), word)
        right = "false" if wrong == "true" else "true"
        make_plan(kitchen.recipe(stages.replace("MASKED", right)), (f"teacher={model}",), kitchen.data)


def test_a_teacher_that_is_not_there_is_looked_for_last(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polycompress.pipelines import distil

    def never(*arguments: Any) -> None:
        raise AssertionError("nothing is fetched for a recipe that is wrong")

    monkeypatch.setattr(distil, "find_models", never)
    only(
        kitchen.faults(GENERAL.replace("steps: 2", "steps: -2"), settings=("teacher=owner/name",)),
        "steps is -2",
    )


def test_the_demo_model_is_looked_at_beside_other_faults(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polycompress.modeldir.demo.cached_demo", lambda: kitchen.teacher)
    other = make_tiny("bert", "base", tmp_path / "other", vocab_size=300, num_hidden_layers=2)
    head = HEAD.replace("{layers: 2}", f"{{directory: {other}, layers: 2}}")
    stages = GENERAL.replace("steps: 2", "steps: -2").replace("hidden-mse", "attention-mse")
    faults = kitchen.faults(stages, head, ("teacher=demo",))
    assert len(faults) == 3, faults
    for part in ("layers is for a student that is made", "steps is -2", "tokenizer is not that of"):
        assert any(part in fault for fault in faults), faults


def test_the_readme_names_every_objective_and_every_setting() -> None:
    text = find_recipe("ernie-tiny").with_name("README.md").read_text(encoding="utf-8")
    missing = [name for name in (*OBJECTIVES, *SETTINGS) if f"`{name}`" not in text]
    assert not missing


def test_files_of_ours_are_plain_yaml() -> None:
    for name in ("ernie-tiny", "new-subwords", "parallel-sentences", "well-read-students"):
        assert yaml.safe_load(find_recipe(name).read_text(encoding="utf-8"))["name"] == name
