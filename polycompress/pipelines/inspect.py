"""What a multilingual model is made of, and how it serves some languages."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polycompress.corpora import Reading, corpus_arguments, parse_corpora
from polycompress.corpora.files import exists
from polycompress.errors import InputError
from polycompress.languages import Language, find_language, where_text_is
from polycompress.modeldir.axes import parameter_parts
from polycompress.modeldir.axes_table import is_moe
from polycompress.modeldir.directory import stale_files
from polycompress.moe.config import MoeConfig
from polycompress.pipelines.experts.opening import experts_of
from polycompress.pipelines.experts.sizes import met_parameters
from polycompress.pipelines.trimming.frontier import Frontier, measure_frontiers
from polycompress.pipelines.trimming.gathering import Evidence, Progress, counts_from_files, gather_evidence
from polycompress.pipelines.trimming.loading import OpenModel, architectures, asked_languages, open_model
from polycompress.pipelines.trimming.profile import LanguageProfile, measure_overlap, profile_languages
from polycompress.vocab.counts import load_counts
from polycompress.vocab.kinds import kind_of
from polycompress.vocab.profile import Overlap
from polycompress.vocab.splitting import word_rule

if TYPE_CHECKING:
    from polycompress.pipelines.mixture import MixtureReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """Everything found."""

    name: str
    model_type: str
    architectures: tuple[str, ...]
    dtypes: tuple[str, ...]
    parameters: Mapping[str, int]
    """By part; they add up to the whole."""
    bytes: int
    tokenizer_type: str
    vocab: int
    rows: int
    tied: bool
    oddities: tuple[str, ...]
    profiles: tuple[LanguageProfile, ...]
    """How well the vocabulary suits each language."""
    frontiers: tuple[Frontier, ...]
    """What each vocabulary size would buy, for the same languages."""
    overlap: Overlap | None
    """What they share of the vocabulary; None for fewer than two."""
    together: int | None
    """Tokens that trimming to all of them keeps by default; None without languages."""
    gaps: tuple[str, ...]
    """Languages asked for that nothing is known of, with what would help."""
    mixture: MixtureReport | None = None
    """Which languages a BPE tokenizer was trained on; None unless asked for."""
    experts: MoeConfig | None = None
    """Of language families; None: it has none."""
    active_parameters: int | None = None
    """Of a model with experts, those that one token meets."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        plain = {
            "name": self.name,
            "model_type": self.model_type,
            "architectures": list(self.architectures),
            "dtypes": list(self.dtypes),
            "parameters": dict(self.parameters),
            "bytes": self.bytes,
            "tokenizer": {"type": self.tokenizer_type, "vocab": self.vocab, "oddities": list(self.oddities)},
            "rows": self.rows,
            "together": self.together,
            "tied": self.tied,
            "gaps": list(self.gaps),
            "profiles": {profile.language.code: profile.as_dict() for profile in self.profiles},
            "overlap": None if self.overlap is None else self.overlap.as_dict(),
            "mixture": None if self.mixture is None else self.mixture.as_dict(),
            "experts": None if self.experts is None else self.experts.as_dict(),
            "active_parameters": self.active_parameters,
        }
        plain["frontiers"] = {
            frontier.language.code: {
                "points": [asdict(point) for point in frontier.points],
                "default": asdict(frontier.default),
                "unseen": frontier.unseen,
                "texts": frontier.texts,
                "texts_from": frontier.texts_from,
            }
            for frontier in self.frontiers
        }
        return plain


def inspect(
    model: str | os.PathLike[str],
    *,
    langs: str | Sequence[str] = (),
    corpus: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    field: str | None = None,
    counts: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    frequencies: bool = True,
    mixture: str | Sequence[str] = (),
    merges: int | None = None,
    plot: str | os.PathLike[str] | None = None,
    plot_overlap: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Look into a model, and measure how its vocabulary serves some languages.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]``.
        langs: Languages to look at. Those that a corpus names come after them; without any, those of the counts.
        corpus: ``[LANG=]PATTERN`` of text files.
        field: Column of the text in JSON lines, CSV, TSV and Parquet; by default ``text``.
        counts: Files that ``polycompress count`` wrote with this tokenizer, instead of text.
        frequencies: Use the built-in word frequencies too.
        mixture: Languages among which to find those that a BPE tokenizer was trained on.
        merges: How many of the tokenizer's first merges that is judged by; by default as many as take about a minute.
        plot: Also draw the frontier into this file (.png, .svg or .pdf; extra ``report``).
        plot_overlap: Also draw what the languages share of the vocabulary into this one.
        progress: Called as work goes on.

    Returns:
        What was found.

    Raises:
        InputError: The model, a corpus or a counts file cannot be read, a language is not known, or there is too
            little to draw.
        MissingExtraError: A picture was asked for without matplotlib.
    """
    specs = corpus_arguments(corpus)
    candidates = asked_languages(mixture) if mixture else ()
    asked = (*(asked_languages(langs) if langs else ()), *_named_by(specs, candidates))
    languages = tuple(dict.fromkeys(asked))
    named = [spec for spec in specs if _language_of(spec) in (None, *languages)]
    corpora = parse_corpora(named, languages, reading=Reading(field=field))
    paths = [counts] if isinstance(counts, str | os.PathLike) else list(counts)
    pictures = [Path(picture) for picture in (plot, plot_overlap) if picture is not None]
    if pictures:
        from polycompress.report.drawing import check_picture

        for picture in pictures:
            check_picture(picture)
    opened = open_model(model)
    if paths and not languages:
        codes = dict.fromkeys(code for path in paths for code in load_counts(Path(path)).languages)
        languages = tuple(map(find_language, codes))
    if plot_overlap is not None and len(languages) < 2:
        raise InputError(
            f"--plot-overlap compares languages and needs two at least, not {len(languages)}; add some to --langs"
        )
    mixed = _infer(model, candidates, specs, merges, progress) if candidates else None
    counted = counts_from_files(paths, opened.vocabulary, languages) if paths else {}
    covered = {spec.language for spec in corpora}
    known = [
        item
        for item in languages
        if item in covered or item.code in counted or (frequencies and item.wordfreq is not None)
    ]
    evidence: tuple[Evidence, ...] = ()
    if known:
        evidence = gather_evidence(
            opened.vocabulary, known, corpora, counts=counted, frequencies=frequencies, progress=progress
        )
    frontiers, together = measure_frontiers(opened, evidence)
    parts = parameter_parts(opened.config, opened.checkpoint.tensors, opened.axes)
    experts = active = None
    if is_moe(str(opened.config.get("model_type"))):
        experts = experts_of(opened.config, opened.source.path)
        active = met_parameters(sum(parts.values()), opened, experts)
    found = Inspection(
        name=opened.source.name,
        model_type=str(opened.config.get("model_type", "unknown")),
        architectures=tuple(architectures(opened.config)),
        dtypes=tuple(sorted({info.dtype for info in opened.checkpoint.tensors.values()})),
        parameters=parts,
        bytes=sum(info.nbytes for info in opened.checkpoint.tensors.values()),
        tokenizer_type=kind_of(opened.vocabulary.document).spelling,
        vocab=opened.vocabulary.size,
        rows=opened.axes.rows,
        tied=opened.axes.tied,
        oddities=tuple(oddities(opened)),
        profiles=profile_languages(opened.vocabulary, evidence, corpora) if evidence else (),
        frontiers=frontiers,
        overlap=measure_overlap(opened.vocabulary, evidence) if len(evidence) > 1 else None,
        together=together,
        gaps=tuple(_gap(item) for item in languages if item not in known),
        mixture=mixed,
        experts=experts,
        active_parameters=active,
    )
    _draw(found, plot, plot_overlap)
    return found


def oddities(opened: OpenModel) -> list[str]:
    """What about this tokenizer and its tables surprises people."""
    document = opened.vocabulary.document
    model: Mapping[str, Any] = document["model"]
    found: list[str] = []
    spare = opened.axes.rows - opened.vocabulary.size
    if spare:
        found.append(f"the tables have {spare:,} rows more than the tokenizer has tokens")
    added = [token for token in document.get("added_tokens") or () if not token.get("special")]
    if added:
        found.append(f"{len(added):,} added tokens that are not special, such as {added[0]['content']!r}")
    if model.get("byte_fallback"):
        found.append("byte fallback: characters without a piece become bytes, none is unknown")
    if model.get("ignore_merges"):
        found.append("ignore_merges: a whole word that is a token is taken as it is")
    rules = set(opened.vocabulary.special.values())
    if "minimum score" in rules:
        found.append("its piece of lowest score sets the price of unknown characters and is always kept")
    rule = word_rule(document)
    if not rule.independent:
        found.append(f"lines must be counted whole: {rule.reason}")
    for name in ("truncation", "padding"):
        if document.get(name):
            found.append(f"tokenizer.json switches {name} on")
    stale = stale_files(opened.source.path)
    if stale:
        found.append(f"files of a slow tokenizer that a trim leaves behind: {', '.join(stale)}")
    if opened.axes.heads and not opened.axes.tied:
        found.append(
            f"the output table is a tensor of its own ({', '.join(opened.axes.heads)}): both are cut"
        )
    return found


def _named_by(specs: Sequence[str], candidates: Sequence[Language]) -> list[Language]:
    """The languages that corpora name; those that are only to be told apart are not looked at for that."""
    named = (_language_of(spec) for spec in specs)
    return [language for language in named if language is not None and language not in candidates]


def _language_of(spec: str) -> Language | None:
    """The language before the equals sign of ``[LANG=]PATTERN``; None where there is none."""
    name, equals, _ = spec.partition("=")
    return find_language(name) if equals and os.sep not in name and not exists(Path(spec)) else None


def _gap(language: Language) -> str:
    """What is missing of a language, and what would help."""
    missing = (
        "no built-in word frequencies" if language.wordfreq is None else "word frequencies are switched off"
    )
    return (
        f"{language.name} ({language.code}): {missing} and no corpus; give --corpus {language.code}='FILES', or count "
        f"text once with polycompress count and give --counts FILE{where_text_is(language)}"
    )


def _infer(
    model: str | os.PathLike[str],
    candidates: Sequence[Language],
    specs: Sequence[str],
    merges: int | None,
    progress: Progress | None,
) -> MixtureReport:
    from polycompress.pipelines.mixture import infer_mixture

    return infer_mixture(
        model,
        langs=[language.code for language in candidates],
        corpus=[spec for spec in specs if _language_of(spec) in candidates],
        merges=merges,
        progress=progress,
    )


def _draw(
    found: Inspection, plot: str | os.PathLike[str] | None, plot_overlap: str | os.PathLike[str] | None
) -> None:
    if plot is not None and found.frontiers:
        from polycompress.report.plots import plot_frontier

        plot_frontier(
            {
                item.language.name: [(point.size, point.coverage, point.identical) for point in item.points]
                for item in found.frontiers
            },
            Path(plot),
            default_sizes={item.language.name: item.default.size for item in found.frontiers},
            unit="words" if all("words" in item.texts_from for item in found.frontiers) else "texts",
        )
    if plot_overlap is not None and found.overlap is not None:
        from polycompress.report import overlap

        overlap.plot_overlap(
            [profile.language.name for profile in found.profiles],
            found.overlap.jaccard,
            Path(plot_overlap),
            title="Shared use of the vocabulary (weighted Jaccard index)",
        )
