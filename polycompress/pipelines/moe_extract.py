"""Take one family's model out of one with experts: a plain model that needs no polycompress, trimmed if asked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polycompress.corpora import CorpusSpec
from polycompress.errors import InputError
from polycompress.languages import Language, find_language
from polycompress.modeldir.atomic import check_apart, check_output, scratch_directory
from polycompress.modeldir.moe_card import render_extracted_card
from polycompress.moe.config import MoeConfig
from polycompress.moe.families import nearest_family
from polycompress.moe.places import LayerTensors, expert_networks
from polycompress.pipelines.experts.dense_view import dense_view, slice_entries
from polycompress.pipelines.experts.families import find_corpora, language_records
from polycompress.pipelines.experts.opening import open_moe
from polycompress.pipelines.experts.sizes import active_size, plain_size
from polycompress.pipelines.factorising.writing import base_manifest, model_size, write_rewritten
from polycompress.pipelines.trim import TrimResult, trim_opened
from polycompress.pipelines.trimming.gathering import Evidence, Progress, gather_evidence
from polycompress.pipelines.trimming.loading import OpenModel, naming, open_model
from polycompress.pipelines.trimming.request import TrimSettings
from polycompress.pipelines.trimming.writing import hash_source


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractResult:
    """One family's model, or a dry run's plan."""

    out: Path | None
    """The directory written; None after a dry run."""
    source: str
    family: str
    expert: int
    layers: tuple[int, ...]
    """Those that had experts."""
    languages: tuple[Language, ...]
    """The family's."""
    sizes: Mapping[str, Mapping[str, int]]
    """``before`` and ``after``: tokens, parameters, those that one token meets, those in the table, bytes; before
    trimming."""
    trim: TrimResult | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "out": None if self.out is None else str(self.out),
            "source": self.source,
            **self.facts(),
            "sizes": {when: dict(size) for when, size in self.sizes.items()},
            "trim": None if self.trim is None else self.trim.as_dict(),
            "notes": list(self.notes),
        }

    def facts(self) -> dict[str, Any]:
        """What was taken out."""
        return {
            "family": self.family,
            "expert": self.expert,
            "layers": list(self.layers),
            "languages": [language.code for language in self.languages],
        }


def moe_extract(
    model: str | os.PathLike[str],
    *,
    family: str,
    out: str | os.PathLike[str] | None = None,
    expert: int | None = None,
    trim: bool = False,
    corpus: str | Sequence[str] = (),
    field: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> ExtractResult:
    """Write the plain model that one expert makes of a model with experts; torch is not needed.

    It computes what the source does where every token goes to that expert alone, with weight 1. Names, shapes and
    configuration are those of a plain model, and every weight is the source's, bit for bit.

    Args:
        model: A model with experts: a directory, or ``owner/name[@revision]`` on the Hugging Face hub.
        family: One of its families, by its name or an everyday one.
        out: The directory to write; not needed for a dry run.
        expert: Which of the family's, where it has several.
        trim: Trim the vocabulary to the family's languages as well, as ``polycompress trim`` does. Until that is done
            the whole plain model lies beside the output.
        corpus: ``[LANG=]PATTERN`` of text files for trimming; languages without use the built-in word frequencies.
        field: Column of the text in JSON lines, CSV, TSV and Parquet.
        overwrite: Replace an existing output.
        dry_run: Plan only.
        progress: Called as work goes on.
        command: What to record as the command.

    Raises:
        InputError: The model has no experts or no such family, the family has several experts and none was chosen, or
            there is neither text nor a word list of a language to trim to; nothing was written.
        CertificateError: The trimmed model does not behave as the extracted one; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    place = None if dry_run or out is None else Path(out)
    if place is None and not dry_run:
        raise InputError("no output directory was given; name one with --out, or plan only with --dry-run")
    if corpus and not trim:
        raise InputError("--corpus says what the vocabulary is trimmed to: add --trim, or leave it out.")
    if place is not None:
        check_output(place, overwrite=overwrite)
    opened, moe = open_moe(model)
    root = opened.source.path
    if place is not None:
        check_apart(place, root)
    with naming(root):
        name = nearest_family(family, moe.families, "its families")
        chosen = _choose(moe, name, expert)
        languages = tuple(map(find_language, moe.family_languages(name)))
        corpora = find_corpora(languages, corpus, field, asked_with="the family")
        networks = expert_networks(opened.config, opened.checkpoint.tensors, moe)
        view = dense_view(opened, networks, chosen)
    result = ExtractResult(
        out=place,
        source=opened.source.name,
        family=name,
        expert=chosen,
        layers=moe.layers,
        languages=languages,
        sizes={
            "before": active_size(model_size(opened), opened.checkpoint, networks, moe.experts, moe.top_k),
            "after": plain_size(model_size(view)),
        },
        trim=None,
        notes=tuple(_notes(moe, name, chosen)),
    )
    record = {
        "family": family,
        "expert": expert,
        "trim": trim,
        "corpus": [corpus] if isinstance(corpus, str) else list(corpus),
        "field": field,
    }
    making = _Making(opened, networks, view, result, {"command": list(command), "config": record}, progress)
    if not trim:
        if place is not None:
            making.write(place, overwrite=overwrite)
        return result
    if not languages:
        raise InputError(f"{root}: the family {name} has no languages to trim to. Leave --trim out.")
    return replace(result, trim=making.trim(corpora, place, overwrite=overwrite))


@dataclass(frozen=True, slots=True)
class _Making:
    """What both ways of writing need."""

    opened: OpenModel
    networks: Sequence[LayerTensors]
    view: OpenModel
    result: ExtractResult
    record: Mapping[str, Any]
    progress: Progress | None

    def write(self, place: Path, *, overwrite: bool = False) -> None:
        """The plain model."""
        manifest = base_manifest(
            self.opened, self.view.config, self.record["command"], self.record["config"], self.progress
        )
        manifest["sizes"] = {when: dict(size) for when, size in self.result.sizes.items()}
        manifest["languages"] = language_records(language.code for language in self.result.languages)
        manifest["extraction"] = self.result.facts()
        manifest["notes"] = list(self.result.notes)
        write_rewritten(
            self.opened,
            place,
            slice_entries(self.opened, self.networks, self.result.expert),
            self.view.config,
            manifest,
            render_extracted_card,
            overwrite=overwrite,
            progress=self.progress,
        )

    def trim(self, corpora: Sequence[CorpusSpec], place: Path | None, *, overwrite: bool) -> TrimResult:
        """The plain model with the vocabulary of the family's languages; without a place the plan of it."""
        evidence = gather_evidence(
            self.opened.vocabulary, self.result.languages, corpora, progress=self.progress
        )
        if place is None:
            return self._trimmed(self.view, evidence, None, overwrite=False)
        with scratch_directory(place) as scratch:
            self.write(scratch / "plain")
            return self._trimmed(open_model(scratch / "plain"), evidence, place, overwrite=overwrite)

    def _trimmed(
        self, dense: OpenModel, evidence: Sequence[Evidence], place: Path | None, *, overwrite: bool
    ) -> TrimResult:
        """The result's source is the model with experts, whatever directory the plain one lies in."""
        name = f"{self.opened.source.name}, its {self.result.family} expert"
        source = replace(self.opened.source, name=name, path=dense.source.path)
        sizes = {when: dict(size) for when, size in self.result.sizes.items()}
        notes = list(self.result.notes)
        return trim_opened(
            replace(dense, source=source),
            evidence,
            {},
            TrimSettings(overwrite=overwrite),
            out=place,
            record={**self.record, "extraction": {**self.result.facts(), "sizes": sizes, "notes": notes}},
            hashes=None if place is None else hash_source(self.opened, self.progress),
            progress=self.progress,
        )


def _choose(moe: MoeConfig, family: str, expert: int | None) -> int:
    """The one expert that is taken.

    Raises:
        InputError: The family has several and none was named, or has not the one that was.
    """
    own = moe.families[family]
    shown = ", ".join(map(str, sorted(own)))
    if expert is None and len(own) > 1:
        raise InputError(
            f"the family {family} has {len(own)} experts ({shown}), and one plain model holds one of them: choose with "
            "--expert N. Which of them tokens go to, polycompress moe routes shows."
        )
    if expert is not None and expert not in own:
        raise InputError(f"--expert {expert}: is none of the family {family}, which has {shown}.")
    return own[0] if expert is None else expert


def _notes(moe: MoeConfig, family: str, expert: int) -> list[str]:
    others = [name for name, own in moe.families.items() if expert in own and name != family]
    if not others:
        return []
    return [f"the source's expert {expert} serves other families as well: {', '.join(others)}"]
