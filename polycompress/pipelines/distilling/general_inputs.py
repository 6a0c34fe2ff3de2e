"""What ``bistil general`` works on: models and text, found and checked before anything is loaded."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from polycompress.corpora import CorpusSpec, Reading, parse_corpora
from polycompress.distill.layer_map import LayerMap, make_layer_map
from polycompress.errors import InputError
from polycompress.languages import Language, find_language
from polycompress.pipelines.distilling.faults import Gathered
from polycompress.pipelines.distilling.general_config import GeneralConfig, Shape, layers_asked
from polycompress.pipelines.sft import check_diffs
from polycompress.pipelines.trimming.loading import asked_languages
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.pipelines.tuning.text import check_texts, files_of, find_held_out, find_text

if TYPE_CHECKING:
    from polycompress.pipelines.distilling.given_student import Given

_ASKED_WITH: Final = "--source or --target"
_CORPUS: Final = "--corpus"
_WITHOUT_EFFECT: Final = ("log_every", "evaluate_every", "snapshots")


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneralInputs:
    """Teacher and text, found and checked; nothing is loaded yet."""

    model: SourceModel
    languages: tuple[Language, ...]
    """Source, then target."""
    corpora: tuple[CorpusSpec, ...]
    held_out: tuple[CorpusSpec, ...]
    reading: Reading
    layer_map: LayerMap
    language_sfts: Mapping[str, Path]
    """By code: files of sparse differences."""
    student: SourceModel | None = None
    """That is there already; None: it is made out of the teacher."""
    shares_tokens: bool = True
    """Whether the teacher can be shown its tokens."""


def find_inputs(
    model: str | os.PathLike[str],
    langs: Sequence[str],
    corpus: str | Sequence[str],
    held_out: str | Sequence[str],
    language_sft: str | Sequence[str],
    reading: Reading,
    config: GeneralConfig | None,
    shape: Shape | None,
    out: Path,
    student: str | os.PathLike[str] | None,
    faults: Gathered,
) -> GeneralInputs | None:
    """Find the teacher, the text and perhaps the student; none is loaded.

    Args:
        model: The teacher.
        langs: Source and target.
        corpus: ``[LANG=]PATTERN`` of text files.
        held_out: Likewise.
        language_sft: ``LANG=FILE``.
        reading: How files become texts.
        config: The settings; None: they are wrong, and of what follows from them the layers alone are looked at.
        shape: Of those settings; None: it is wrong itself.
        out: The run's directory.
        student: As it begins; None: it is made.
        faults: What is missing or wrong is added.

    Returns:
        None where there are faults.
    """
    asked = [faults.tried(functools.partial(asked_languages, name)) for name in langs]
    named = [language for some in asked if some is not None for language in some]
    languages = tuple(dict.fromkeys(named))
    found = faults.tried(lambda: find_source_model(model, out))
    corpora, measured, language_sfts = None, None, None
    if None in asked:
        corpus, held_out = (_of_languages(each, languages) for each in (corpus, held_out))
        _patterns(faults, _CORPUS, corpus, languages, reading)
        _patterns(faults, "--held-out", held_out, languages, reading)
    else:
        corpora = _text(faults, _CORPUS, corpus, languages, reading)
        measured = _text(faults, "--held-out", held_out, languages, reading)
        language_sfts = faults.tried(lambda: _language_sfts(language_sft, languages))
    if corpora is not None:
        faults.tried(lambda: check_texts(corpora))
    if found is not None and language_sfts:
        faults.tried(lambda: check_diffs(list(language_sfts.values()), of=found.source))
    given = None
    if found is not None and config is not None:
        given = faults.tried(lambda: _student(student, found, config, corpora or (), out))
    elif found is not None and shape is not None and student is None:
        faults.tried(lambda: layer_map_of(found, shape))
    if found is None or corpora is None or measured is None or language_sfts is None or given is None:
        return None
    return GeneralInputs(
        model=found,
        languages=languages,
        corpora=corpora,
        held_out=measured,
        reading=reading,
        layer_map=given.layer_map,
        language_sfts=language_sfts,
        student=None if student is None else given.model,
        shares_tokens=given.shares_tokens,
    )


def _text(
    faults: Gathered, option: str, given: str | Sequence[str], languages: Sequence[Language], reading: Reading
) -> tuple[CorpusSpec, ...] | None:
    """The text of all patterns together, once each of them is right by itself."""
    patterns = [given] if isinstance(given, str) else list(given)
    if not _patterns(faults, option, patterns, languages, reading):
        return None
    whole = find_text if option == _CORPUS else find_held_out
    return faults.tried(lambda: whole(patterns, languages, reading, asked_with=_ASKED_WITH))


def _patterns(
    faults: Gathered, option: str, patterns: Sequence[str], languages: Sequence[Language], reading: Reading
) -> bool:
    """Whether each pattern is right by itself."""
    find = functools.partial(
        parse_corpora, languages=languages, option=option, asked_with=_ASKED_WITH, reading=reading
    )
    found = [faults.tried(functools.partial(find, [each])) for each in patterns]
    return None not in found


def _of_languages(given: str | Sequence[str], languages: Sequence[Language]) -> list[str]:
    """The patterns that name one of some languages: of others nothing can be said while one is unknown."""

    def is_known(pattern: str) -> bool:
        try:
            return find_language(pattern.partition("=")[0]) in languages
        except InputError:
            return False

    return list(filter(is_known, [given] if isinstance(given, str) else given))


def _student(
    student: str | os.PathLike[str] | None,
    teacher: SourceModel,
    config: GeneralConfig,
    corpora: Sequence[CorpusSpec],
    out: Path,
) -> Given:
    """The student that is there, or the one that will be made, checked without weights."""
    from polycompress.distill.layers import count_layers
    from polycompress.pipelines.distilling.general_student import find_general_student, plan_general_student

    if student is not None:
        return find_general_student(student, teacher, config, corpora, out)
    faults = Gathered()
    # Where the layers do not fit, one of all layers shows what else is wrong.
    every = layer_map_of(teacher, Shape(layers=count_layers(teacher.config)))
    layer_map = faults.tried(lambda: layer_map_of(teacher, config.shape)) or every
    given = faults.tried(lambda: plan_general_student(teacher, layer_map, config))
    faults.report(f"A student of {teacher.source.name}")
    assert given is not None
    return given


def identity_of(inputs: GeneralInputs, config: GeneralConfig) -> dict[str, Any]:
    """What decides the weights that come out, for the snapshots: another value of any, another run."""
    settings = asdict(config)
    for name in _WITHOUT_EFFECT:
        settings["text"]["training"].pop(name)
    settings["text"].pop("device")
    return {
        "model": dict(inputs.model.hashes),
        "languages": [language.code for language in inputs.languages],
        "corpora": files_of(inputs.corpora),
        "held_out": files_of(inputs.held_out),
        "reading": inputs.reading.as_dict(),
        "layers": list(inputs.layer_map.layers),
        **({"student": dict(inputs.student.hashes)} if inputs.student is not None else {}),
        "language_sfts": {
            code: hashlib.sha256(path.read_bytes()).hexdigest() for code, path in inputs.language_sfts.items()
        },
        **json.loads(json.dumps(settings)),
    }


def layer_map_of(model: SourceModel, shape: Shape) -> LayerMap:
    """The layers of a teacher that a shape asks for.

    Raises:
        InputError: They do not fit; or nothing says how many layers the teacher has.
    """
    from polycompress.distill.layers import count_layers

    layers = layers_asked(shape)
    return make_layer_map(count_layers(model.config), layers, shape.strategy, shape.layer_map)


def _language_sfts(given: str | Sequence[str], languages: Sequence[Language]) -> dict[str, Path]:
    """``LANG=FILE`` by the language's code.

    Raises:
        InputError: It is written otherwise, there is no such file, or a language is not asked for or comes twice.
    """
    found: dict[str, Path] = {}
    for each in [given] if isinstance(given, str) else given:
        name, equals, file = each.partition("=")
        if not equals or not file:
            raise InputError(f"--language-sft {each!r}: write LANG=FILE, such as sw=swahili.diff")
        (language,) = asked_languages(name)
        if language not in languages or language.code in found:
            why = "comes twice" if language.code in found else "is neither --source nor --target"
            raise InputError(f"--language-sft {each!r}: {language.name} {why}.")
        if not Path(file).is_file():
            raise InputError(
                f"--language-sft {each!r}: there is no such file. Check the name, or make one with: polycompress sft "
                "diff A B --out FILE"
            )
        found[language.code] = Path(file)
    return found
