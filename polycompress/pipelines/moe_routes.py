"""Show where a model with experts of language families sends the tokens of each language."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.corpora import CorpusSpec, Reading, is_held_out, parse_corpora, read_texts
from polycompress.errors import InputError, MissingExtraError
from polycompress.languages import find_languages
from polycompress.modeldir.paths import user_path
from polycompress.moe.config import MoeConfig
from polycompress.moe.places import expert_networks
from polycompress.moe.routing_report import RoutingReport, by_family, read_shares, report_routing
from polycompress.pipelines.experts.opening import open_moe
from polycompress.pipelines.experts.sizes import active_size
from polycompress.pipelines.factorising.writing import model_size
from polycompress.pipelines.tokenizers.text import corpus_languages
from polycompress.pipelines.trimming.loading import OpenModel
from polycompress.pipelines.tuning.text import find_text
from polycompress.vocab.held_out import HELD_OUT_SHARE

TEXTS: Final = 200
"""Of each language, where nothing else is asked for."""
_MAX_REPORT: Final = 1 << 28
Tell = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutesResult:
    """What was seen."""

    model: str
    report: RoutingReport
    texts: Mapping[str, int]
    """Read of each language."""
    drift: Mapping[int, Mapping[str, float]] | None
    """By layer and language, how far routing has moved since the older report; None: there is none."""
    parameters: int
    active_parameters: int
    """That one token meets."""
    plot: Path | None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``; ``--against`` reads it."""
        moved = None if self.drift is None else {str(layer): dict(own) for layer, own in self.drift.items()}
        return {
            "model": self.model,
            **self.report.as_dict(),
            "texts": dict(self.texts),
            "drift": moved,
            "parameters": self.parameters,
            "active_parameters": self.active_parameters,
            "plot": None if self.plot is None else str(self.plot),
        }


def moe_routes(
    model: str | os.PathLike[str],
    *,
    corpus: str | Sequence[str],
    langs: str = "",
    texts: int = TEXTS,
    held_out_only: bool = False,
    max_length: int = 128,
    against: str | os.PathLike[str] | None = None,
    plot: str | os.PathLike[str] | None = None,
    field: str | None = None,
    device: str = "auto",
    tell: Tell | None = None,
) -> RoutesResult:
    """Read some text of each language, run the model over it, and say which experts its tokens reach.

    Args:
        model: With experts: a directory, or ``owner/name[@revision]`` on the Hugging Face hub.
        corpus: ``[LANG=]PATTERN`` of text files.
        langs: Codes or names joined by commas, each of which has text; empty: the languages that the corpora name.
        texts: The first so many of each language.
        held_out_only: Whether only those texts are read that counting (``polycompress count``) leaves out.
        max_length: Tokens of a text at most; the rest is cut off.
        against: An older report (``--json``) or another state of the model, to say how far routing has moved.
        plot: A picture to draw: .png, .svg or .pdf.
        field: Column of the text in files that have columns.
        device: ``auto`` or ``cpu``.
        tell: Told how far it is.

    Raises:
        InputError: The model has no experts, it does not know a language (all such are named), there is no text, or
            the older report is of another model.
        MissingExtraError: torch is not installed, or matplotlib where a picture is asked for.
        StorageError: The picture cannot be written.
    """
    if texts < 1:
        raise InputError(f"--texts {texts}: give at least 1.")
    if max_length < 16:
        raise InputError(f"--max-length {max_length}: give at least 16.")
    picture = None if plot is None else _checked_picture(plot)
    opened, moe = open_moe(model)
    corpora = _find_corpora([corpus] if isinstance(corpus, str) else list(corpus), langs, field)
    families = by_family(moe, _known(moe, corpora, opened.source.path))
    older = None if against is None else _open_older(against)
    read = {code: _read(corpora, code, texts, held_out_only) for code in families}
    report = _see(opened, moe, read, max_length, device, tell)
    drift = None
    if older is not None:
        drift = report.drift(_older_shares(older, moe.experts, read, max_length, device, tell))
    if picture is not None:
        from polycompress.report.routing import plot_routing

        plot_routing(report, picture)
    networks = expert_networks(opened.config, opened.checkpoint.tensors, moe)
    size = active_size(model_size(opened), opened.checkpoint, networks, moe.experts, moe.top_k)
    return RoutesResult(
        model=opened.source.name,
        report=report,
        texts={code: len(own) for code, own in read.items()},
        drift=drift,
        parameters=size["parameters"],
        active_parameters=size["active_parameters"],
        plot=picture,
    )


def _see(
    opened: OpenModel,
    moe: MoeConfig,
    read: Mapping[str, Sequence[str]],
    max_length: int,
    device: str,
    tell: Tell | None,
) -> RoutingReport:
    try:
        from polycompress.pipelines.experts_training.seeing import see_routing
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress moe routes", "train") from error
    families = by_family(moe, list(read))
    ordered = {code: read[code] for code in families}
    counts = see_routing(opened, moe, ordered, max_length=max_length, device=device, tell=tell)
    return report_routing(moe, families, counts)


def _find_corpora(corpus: Sequence[str], langs: str, field: str | None) -> tuple[CorpusSpec, ...]:
    reading = Reading(field=field)
    if langs.strip():
        return find_text(corpus, find_languages(langs), reading, asked_with="--langs")
    return parse_corpora(corpus, corpus_languages(corpus), reading=reading)


def _known(moe: MoeConfig, corpora: Sequence[CorpusSpec], root: Path) -> list[str]:
    languages = dict.fromkeys(spec.language for spec in corpora)
    unknown = [each for each in languages if each.code not in moe.languages]
    if unknown:
        raise InputError(
            f"{root}: its map of families has no {', '.join(f'{each.name} ({each.code})' for each in unknown)}. Leave "
            f"them out; the map has {', '.join(moe.codes)}."
        )
    return [each.code for each in languages]


def _read(corpora: Sequence[CorpusSpec], code: str, limit: int, held_out_only: bool) -> list[str]:
    """The first texts of a language.

    Raises:
        InputError: There is none.
    """
    own = [spec for spec in corpora if spec.language.code == code]

    def every() -> Iterator[str]:
        for text in itertools.chain.from_iterable(map(read_texts, own)):
            if text.strip() and not (held_out_only and not is_held_out(text, HELD_OUT_SHARE)):
                yield text

    found = list(itertools.islice(every(), limit))
    if not found:
        what = "no held-out text" if held_out_only else "no text"
        raise InputError(f"--corpus {code}={own[0].pattern}: holds {what}. Give more of it, or leave it out.")
    return found


def _open_older(against: str | os.PathLike[str]) -> tuple[str, Any] | tuple[OpenModel, MoeConfig]:
    """An older report as it was parsed and its name, or another model."""
    path = user_path(os.fspath(against))
    if not path.is_file():
        return open_moe(against)
    try:
        if path.stat().st_size > _MAX_REPORT:
            raise ValueError("too large")
        return str(path), json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read as a report of routing ({error}). Give a file that `polycompress moe routes "
            "--json` wrote, or a model."
        ) from error


def _older_shares(
    older: tuple[str, Any] | tuple[OpenModel, MoeConfig],
    experts: int,
    read: Mapping[str, Sequence[str]],
    max_length: int,
    device: str,
    tell: Tell | None,
) -> dict[int, dict[str, list[float]]]:
    first, second = older
    if not isinstance(first, OpenModel):
        return read_shares(second, experts, first)
    common = {code: own for code, own in read.items() if code in second.languages}
    if not common:
        raise InputError(f"{first.source.path}: knows none of these languages, so nothing can be compared.")
    return read_shares(
        _see(first, second, common, max_length, device, tell).as_dict(), experts, str(first.source.path)
    )


def _checked_picture(plot: str | os.PathLike[str]) -> Path:
    from polycompress.report.drawing import check_picture

    path = Path(plot)
    check_picture(path)
    return path
