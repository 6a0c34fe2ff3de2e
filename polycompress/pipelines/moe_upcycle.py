"""Give a plain model experts: in its last layers, each family of languages gets a copy of the feed-forward network.

Method: Komatsuzaki et al., "Sparse Upcycling: Training Mixture-of-Experts from Dense Checkpoints" (ICLR 2023), with the
last layers only and an expert for each family of languages as in Zheng et al., "Efficiently Democratizing Medical LLMs
for 50 Languages via a Mixture of Language Family Experts" (ICLR 2025); on files instead of models.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.languages import find_language
from polycompress.modeldir.atomic import check_apart, check_output
from polycompress.modeldir.moe_card import render_upcycled_card
from polycompress.modeldir.rewriting import Entry
from polycompress.moe.config import MoeConfig
from polycompress.moe.families import FamilyTable
from polycompress.moe.places import LayerTensors, count_layers, place_of, plain_networks
from polycompress.moe.planning import ExpertPlan, plan_experts
from polycompress.pipelines.experts.configs import expert_config
from polycompress.pipelines.experts.families import (
    Paths,
    asked_families,
    count_tokens,
    find_corpora,
    language_records,
    load_families,
    path_list,
)
from polycompress.pipelines.experts.opening import open_plain
from polycompress.pipelines.experts.request import ExpertSettings
from polycompress.pipelines.experts.sizes import grown_size, plain_size
from polycompress.pipelines.experts.tensors import NOISE, check_floats, expert_entry, router_entry
from polycompress.pipelines.factorising.writing import base_manifest, model_size, write_rewritten
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import OpenModel, naming


@dataclass(frozen=True, kw_only=True, slots=True)
class UpcycleResult:
    """A model with experts, or a dry run's plan."""

    out: Path | None
    """The directory written; None after a dry run."""
    source: str
    plan: ExpertPlan
    moe: MoeConfig
    noise: float
    seed: int
    sizes: Mapping[str, Mapping[str, int]]
    """``before`` and ``after``: tokens, parameters, those that one token meets, those in the table, bytes."""
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "out": None if self.out is None else str(self.out),
            "source": self.source,
            **self.facts(),
            "sizes": {when: dict(size) for when, size in self.sizes.items()},
            "notes": list(self.notes),
        }

    def facts(self) -> dict[str, Any]:
        """What was done, without sizes."""
        return {
            "moe": self.moe.as_dict(),
            "plan": self.plan.as_dict(),
            "noise": self.noise,
            "seed": self.seed,
        }


def moe_upcycle(
    model: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    langs: str | Sequence[str] = (),
    families: str | os.PathLike[str] = "glottolog-branch",
    unknown: str | None = None,
    experts: int | None = None,
    corpus: str | Sequence[str] = (),
    counts: Paths = (),
    field: str | None = None,
    settings: ExpertSettings | None = None,
    noise: float = NOISE,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> UpcycleResult:
    """Write a model whose last layers have experts; torch is not needed.

    Every expert is a copy of the layer's network with a little noise, so the model computes nearly what it did. Without
    noise and with weights that sum to 1 it computes the same, whatever the router chooses.

    Args:
        model: A plain model: a directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub.
        out: The directory to write; not needed for a dry run.
        langs: Languages that it is to serve: codes, names and families, as a list or joined by commas. None: all of a
            table of one's own.
        families: A preset of ``polycompress.languages``, or a file of a language and its family a line with a tab
            between.
        unknown: The family of languages that this puts into none; None: they are an error.
        experts: How many; None: one for each family. See ``plan_experts``.
        corpus: ``[LANG=]PATTERN`` of text files, whose tokens say how much an expert has to do.
        counts: Counts files of ``polycompress count``, instead or besides. Without either all languages count alike.
        field: Column of the text in JSON lines, CSV, TSV and Parquet.
        settings: Layers, experts of a token, routing, seed.
        noise: Of each expert, as a share of a tensor's standard deviation, 0 to 1; 0: bit copies, whose router learns
            nothing unless it is told the families.
        overwrite: Replace an existing output.
        dry_run: Plan only.
        progress: Called as work goes on.
        command: What to record as the command.

    Raises:
        InputError: The model has experts already or networks that are not understood, a language is in no family or in
            two, or the request is wrong otherwise; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    asked = settings or ExpertSettings()
    if not (math.isfinite(noise) and 0 <= noise <= 1):
        raise InputError(f"--noise {noise}: give a share of the weights' standard deviation, from 0 to 1.")
    place = None if dry_run or out is None else Path(out)
    if place is None and not dry_run:
        raise InputError("no output directory was given; name one with --out, or plan only with --dry-run")
    if place is not None:
        check_output(place, overwrite=overwrite)
    groups = load_families(families)
    assigned = asked_families(langs, groups, unknown)
    languages = [find_language(code) for code in assigned]
    corpora = find_corpora(languages, corpus, field)
    opened = open_plain(model)
    if place is not None:
        check_apart(place, opened.source.path)
    with naming(opened.source.path):
        tokens = count_tokens(opened.vocabulary, languages, corpora, path_list(counts), progress)
        plan = plan_experts(assigned, experts=experts, tokens=tokens)
        layers = count_layers(opened.config, place_of(opened.config["model_type"]))
        moe = asked.settle(plan, layers, None if isinstance(groups, FamilyTable) else groups)
        networks = plain_networks(opened.config, opened.checkpoint.tensors, moe.layers)
        if noise:
            _check_noise(opened, networks)
        result = UpcycleResult(
            out=place,
            source=opened.source.name,
            plan=plan,
            moe=moe,
            noise=noise,
            seed=asked.seed,
            sizes=_sizes(opened, networks, moe),
            notes=tuple(_notes(moe, noise)),
        )
    if place is not None:
        record = {
            "langs": list(assigned),
            "families": os.fspath(families),
            "unknown": unknown,
            "experts": experts,
            "corpus": [corpus] if isinstance(corpus, str) else list(corpus),
            "counts": path_list(counts),
            "field": field,
            "noise": noise,
            **asked.as_dict(),
        }
        _write(opened, networks, result, place, record, command, overwrite, progress)
    return result


def _write(
    opened: OpenModel,
    networks: Sequence[LayerTensors],
    result: UpcycleResult,
    place: Path,
    record: Mapping[str, Any],
    command: Sequence[str],
    overwrite: bool,
    progress: Progress | None,
) -> None:
    config = expert_config(opened.config, result.moe)
    manifest = base_manifest(opened, config, command, record, progress)
    manifest["seed"] = result.seed
    manifest["sizes"] = {when: dict(size) for when, size in result.sizes.items()}
    manifest["languages"] = language_records(result.plan.languages)
    manifest["experts"] = result.facts()
    manifest["notes"] = list(result.notes)
    with naming(opened.source.path):
        write_rewritten(
            opened,
            place,
            _exchanged(opened, networks, result),
            config,
            manifest,
            render_upcycled_card,
            overwrite=overwrite,
            progress=progress,
        )


def _exchanged(
    opened: OpenModel, networks: Sequence[LayerTensors], result: UpcycleResult
) -> dict[str, dict[str, Entry]]:
    """What stands for each tensor of a network: all experts' copies of it, and for the first the router besides."""
    exchanged: dict[str, dict[str, Entry]] = {}
    for each in networks:
        for part, (old, new) in enumerate(zip(each.plain, each.experts, strict=True)):
            stored = (opened.checkpoint, opened.checkpoint.tensors[old])
            seed = (result.seed, each.layer, part)
            copies = expert_entry([stored] * result.moe.experts, noise=result.noise, seed=seed)
            exchanged[old] = {new: copies}
        router = router_entry(result.moe.experts, each.hidden, seed=(result.seed, each.layer))
        exchanged[next(iter(each.plain))][each.router] = router
    return exchanged


def _check_noise(opened: OpenModel, networks: Sequence[LayerTensors]) -> None:
    tensors = opened.checkpoint.tensors
    stored = [(opened.checkpoint, tensors[name]) for each in networks for name in each.plain]
    check_floats(stored, "Noise is added to the experts (--noise 0 leaves it out)")


def _sizes(opened: OpenModel, networks: Sequence[LayerTensors], moe: MoeConfig) -> dict[str, dict[str, int]]:
    before = plain_size(model_size(opened))
    after = grown_size(before, opened.checkpoint, networks, moe.experts, moe.top_k)
    return {"before": before, "after": after}


def _notes(moe: MoeConfig, noise: float) -> list[str]:
    notes = []
    if not noise and moe.experts > 1 and moe.normalise:
        notes.append(
            "all experts are the same, so the router's gradient is exactly 0 until they differ: let training tell it "
            "the families (supervision or forced routing)"
        )
    if not moe.normalise and moe.top_k < moe.experts:
        notes.append(
            f"the weights of a token's {moe.top_k} experts do not sum to 1, so that the networks with experts begin "
            "with a fraction of their output: train before use"
        )
    return notes
