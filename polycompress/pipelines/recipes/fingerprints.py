"""What decides a stage's output: settings, and SHA-256 of everything that it reads."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polycompress
from polycompress.corpora import find_files
from polycompress.errors import InputError
from polycompress.evaluation.sources.templates import find_named
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.evaluation.tasks import find_task
from polycompress.modeldir.hashes import remembered_sha256
from polycompress.modeldir.sources import HUB_PATTERNS, resolve_model
from polycompress.pipelines.recipes.distillation import read_inner
from polycompress.pipelines.recipes.paths import split_text
from polycompress.pipelines.recipes.stages import Recipe, Source, Stage

MAX_FILES: Final = 100_000
"""Below a directory that an option names."""

Identity = Mapping[str, Any]
"""Parts of what decides a stage's output, as JSON has them."""


class Fingerprints:
    """Of what stages read from outside of the run, each looked at once."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._models: dict[str, dict[str, str]] = {}

    def identity(self, stage: Stage, keys: Mapping[str, str]) -> Identity:
        """What decides a stage's output.

        Args:
            stage: Which.
            keys: Of the stages before, by name.

        Raises:
            InputError: A model, text or another file is not there.
        """
        texts = [name for name in stage.options if self._reads(stage, name) == "text"]
        files = [name for name in stage.options if self._is_file(stage, name)]
        shown = {"shown": self._shown(stage)} if stage.kind.takes == "results" else {}
        return {
            **shown,
            "tool": polycompress.__version__,
            "do": stage.command.name,
            "models": [self._of_source(source, keys) for source in stage.sources],
            "named": {name: self._of_source(source, keys) for name, source in stage.models.items()},
            "options": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in stage.options.items()
                if name not in (*texts, *files)
            },
            "texts": {
                name: [self._text(stage, spec, name) for spec in _several(stage, name)] for name in texts
            },
            "files": {
                name: [_path(Path(spec)) for spec in _several(stage, name)]
                for name in files
                if name != "data"
            },
            "examples": _examples(stage),
            **({"recipe": self._recipe_read(stage)} if stage.kind.reads_recipe else {}),
        }

    def _recipe_read(self, stage: Stage) -> dict[str, Any]:
        """What a recipe of distillation reads besides the stage's models."""
        inner = read_inner(stage)
        return {
            "file": _hashed(inner.path, inner.path.name),
            "texts": [_text_hashed(code, files) for code, files in inner.texts],
            "models": [self._of_source(Source(name=name, is_stage=False), {}) for name in inner.models],
            "examples": [_examples_of(task, inner.data) for task in inner.tasks if inner.data is not None],
        }

    def _shown(self, stage: Stage) -> list[Any]:
        """What a report says besides what stages left: what all of it is called."""
        recipe = self._recipe
        before = [
            [each.folder, each.command.name, [source.name for source in each.inputs]]
            for each in recipe.stages
            if each.number < stage.number
        ]
        return [recipe.name, recipe.model, list(recipe.languages), stage.name, before]

    def path_of(self, source: Source) -> str:
        """A model from outside, as a command takes it."""
        return self._recipe.model if source.name == "model" else source.name

    def _is_file(self, stage: Stage, name: str) -> bool:
        if name in stage.kind.pictures:
            return False
        reads = self._reads(stage, name)
        return reads == "file" or (reads == "preset" and Path(str(stage.options[name])).is_absolute())

    def _text(self, stage: Stage, spec: str, name: str) -> list[Any]:
        is_language = stage.command.options[name].is_text_optional and "=" not in spec
        return [spec, []] if is_language else _text(spec, name)

    def _reads(self, stage: Stage, name: str) -> str:
        return stage.command.options[name].stands_for

    def _of_source(self, source: Source, keys: Mapping[str, str]) -> dict[str, Any]:
        if source.is_stage:
            return {"stage": source.name, "key": keys[source.name]}
        spec = self.path_of(source)
        if spec not in self._models:
            path = resolve_model(spec).path
            self._models[spec] = {
                file.relative_to(path).as_posix(): remembered_sha256(file) for file in _model_files(path)
            }
        return {"model": source.name if source.name == "model" else spec, "files": self._models[spec]}


def key_of(identity: Identity) -> str:
    """SHA-256 over an identity. What stages, models and directories are called does not count."""
    plain = {
        **identity,
        "models": [_nameless(each) for each in identity["models"]],
        "named": {name: _nameless(each) for name, each in identity["named"].items()},
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def changes(before: object, now: Identity) -> str:
    """What is other than it was, in words."""
    if not isinstance(before, Mapping):
        return "its record is damaged"
    if before.get("tool") != now["tool"]:
        return f"made by version {str(before.get('tool'))[:20]} of polycompress"
    if before.get("do") != now["do"]:
        return "another command"
    names = [
        f"another {name}"
        for part in ("options", "texts", "files")
        for name in _other(before.get(part), now[part])
    ]
    for source in (*now["models"], *now["named"].values()):
        old = (*_list(before.get("models")), *_dict(before.get("named")).values())
        if _nameless(source) not in [_nameless(each) for each in old if isinstance(each, dict)]:
            names.append(f"{source['stage']} changes" if "stage" in source else f"another {source['model']}")
    if before.get("shown") != now.get("shown"):
        names.append("other names")
    if before.get("examples") != now["examples"]:
        names.append("other examples")
    names += [
        f"other {name} of the distillation" for name in _other(before.get("recipe"), now.get("recipe", {}))
    ]
    return ", ".join(dict.fromkeys(names)) or "other inputs"


def _other(before: object, now: Mapping[str, Any]) -> list[str]:
    old = _dict(before)
    return [name for name in {**old, **now} if old.get(name) != now.get(name)]


def _nameless(source: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name not in ("stage", "model")}


def _several(stage: Stage, name: str) -> tuple[str, ...]:
    value = stage.options[name]
    return value if isinstance(value, tuple) else (str(value),)


def _text(spec: str, name: str) -> list[Any]:
    language, pattern = split_text(spec)
    if not pattern:
        raise InputError(f"--{name} {spec!r} names no file: write it like sw='texts/*.txt.gz'")
    return _text_hashed(language, find_files(pattern, f"--{name}"))


def _text_hashed(code: str, files: Sequence[Path]) -> list[Any]:
    return [code, [_hashed(path, path.name) for path in files]]


def _path(path: Path) -> list[list[str]]:
    """A file, or all files below a directory."""
    if path.is_file():
        return [_hashed(path, path.name)]
    if not path.is_dir():
        raise InputError(f"{path}: there is no such file or directory. Check its name.")
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    if len(files) > MAX_FILES:
        raise InputError(f"{path}: has more than {MAX_FILES:,} files. Name a smaller directory.")
    return [_hashed(file, file.relative_to(path).as_posix()) for file in files]


def _hashed(path: Path, name: str) -> list[str]:
    return [name, remembered_sha256(path)]


def _examples(stage: Stage) -> list[list[str]]:
    """The files of a stage's task in its data directory; what the hub holds is pinned."""
    if "task" not in stage.options:
        return []
    tasks = stage.options.get("tasks")
    task = find_task(str(stage.options["task"]), Path(str(tasks)) if tasks else None)
    data = stage.options.get("data")
    return [] if data is None else _examples_of(task, Path(str(data)))


def _examples_of(task: TaskSpec, root: Path) -> list[list[str]]:
    if task.local is None:
        return []
    if not root.is_dir():
        raise InputError(f"--data {root}: there is no such directory. Check the name.")
    found = {
        path
        for templates in task.local.files.values()
        for template in templates
        for files in find_named(template, root, task.local.codes).values()
        for path, _ in files
    }
    return [_hashed(path, path.relative_to(root).as_posix()) for path in sorted(found)]


def _model_files(path: Path) -> list[Path]:
    """What decides a model: settings, tokenizer, weights."""
    return [
        file
        for file in sorted(path.iterdir())
        if file.is_file()
        and not file.name.startswith(".")
        and any(fnmatch.fnmatch(file.name, pattern) for pattern in HUB_PATTERNS)
    ]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
