"""Write a trimmed model: tokenizer, configuration, weights, certificate, manifest and card, or nothing at all."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polycompress
from polycompress.errors import CertificateError, InputError
from polycompress.modeldir import ids as id_fields
from polycompress.modeldir.atomic import atomic_directory
from polycompress.modeldir.axes_table import FAMILIES
from polycompress.modeldir.card import render_card
from polycompress.modeldir.directory import copied_files, file_sha256, read_json, safe_file
from polycompress.modeldir.manifest import pack_ids, read_manifest, write_manifest
from polycompress.modeldir.rawio import copy_file
from polycompress.modeldir.tensors import open_checkpoint, write_sliced
from polycompress.modeldir.tokenizer_config import remap_special_tokens_map, remap_tokenizer_config
from polycompress.pipelines.trimming.certificate import (
    Certificate,
    certify_rows,
    certify_texts,
    kept_only,
    unknown_id,
)
from polycompress.pipelines.trimming.gathering import Evidence, Progress
from polycompress.pipelines.trimming.loading import OpenModel, architectures, make_tokenizer, naming
from polycompress.vocab.surgery import dump_document, trim_document

if TYPE_CHECKING:
    from polycompress.pipelines.trimming.planning import TrimPlan

logger = logging.getLogger(__name__)

MAX_CARD_BYTES: Final = 1 << 22
_TASK_CLASSES: Final = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


def apply_trim(
    opened: OpenModel,
    plan: TrimPlan,
    evidence: Sequence[Evidence],
    out: Path,
    record: Mapping[str, Any],
    *,
    full: bool = False,
    overwrite: bool = False,
    link: bool = False,
    hashes: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> tuple[Certificate, dict[str, Any]]:
    """Write the trimmed model, certified, or nothing at all.

    Raises:
        CertificateError: The result does not behave as its source.
    """
    with atomic_directory(out, overwrite=overwrite) as building:
        state = trim_document(opened.vocabulary.document, plan.keep_ids, opened.vocabulary.close)
        document = dump_document(state)
        (building / "tokenizer.json").write_bytes(document)
        with naming(opened.source.path):
            notes = write_configs(opened, plan, state, building)
        total = plan.sizes["after"]["bytes"]
        report = (lambda amount: progress("writing weights", amount, total)) if progress is not None else None
        write_sliced(opened.checkpoint, building, plan.slices, link=link, progress=report)
        copied = copied_files(opened.source.path)
        for name in copied:
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            copy_file(safe_file(opened.source.path, name), building / name)
        certificate = certify(opened, plan, evidence, building, document, full=full, progress=progress)
        if not certificate.passed:
            raise CertificateError(
                "The trimmed model failed its certificate: " + "; ".join(certificate.failures())
            )
        manifest = _manifest(
            opened, plan, record, certificate, notes, hashes or hash_source(opened, progress)
        )
        manifest["copied"] = copied
        write_manifest(building, manifest)
        (building / "README.md").write_text(render_card(manifest), encoding="utf-8")
    return certificate, manifest


def certify(
    opened: OpenModel,
    plan: TrimPlan,
    evidence: Sequence[Evidence],
    trimmed: Path,
    document: bytes,
    *,
    full: bool,
    progress: Progress | None = None,
) -> Certificate:
    """Check what was written against the source."""
    after = make_tokenizer(document)
    texts = {
        item.language.code: certify_texts(
            opened.vocabulary.tokenizer,
            after,
            plan.keep_ids,
            item.texts,
            unknown=unknown_id(opened.vocabulary.document),
            source=item.texts_from,
        )
        for item in evidence
    }
    rows = certify_rows(opened.checkpoint, open_checkpoint(trimmed), plan.slices)
    behaviour = None
    if full:
        from polycompress.pipelines.trimming.behaviour import compare_behaviour

        if progress is not None:
            progress("running both models", 0, None)
        lines = [text for item in evidence for text in item.texts]
        ids = kept_only(opened.vocabulary.tokenizer, plan.keep_ids, lines)
        behaviour = compare_behaviour(opened.source.path, trimmed, ids, plan.keep_ids)
    return Certificate(rows=rows, languages=texts, full=behaviour)


def write_configs(
    opened: OpenModel, plan: TrimPlan, document: Mapping[str, Any], building: Path
) -> list[str]:
    """Write configuration files with every token id translated; what could not be is returned as notes."""
    root = opened.source.path
    mapping = {int(old): new for new, old in enumerate(plan.keep_ids)}
    rows = len(plan.keep_ids) + plan.pad_rows
    config, notes = id_fields.remap_config(opened.config, mapping, rows)
    _write_json(building / "config.json", config)
    generation = read_json(root, "generation_config.json", required=False)
    if generation is None and plan.pad_rows and _unmasked_heads(opened):
        generation = {}
    if generation is not None:
        generation, more = id_fields.remap_generation_config(generation, mapping)
        notes += more
        if plan.pad_rows and _unmasked_heads(opened):
            padding = list(range(len(plan.keep_ids), rows))
            generation["suppress_tokens"] = sorted({*(generation.get("suppress_tokens") or ()), *padding})
            notes.append(
                f"{plan.pad_rows} rows pad the output table and have no bias to mask them: a softmax over all rows "
                "sees them; generation suppresses their ids"
            )
        _write_json(building / "generation_config.json", generation)
    special = read_json(root, "special_tokens_map.json", required=False)
    tokenizer_config, more = remap_tokenizer_config(
        read_json(root, "tokenizer_config.json", required=False),
        document,
        model_config=opened.config,
        special_tokens_map=special,
    )
    notes += more
    _write_json(building / "tokenizer_config.json", tokenizer_config)
    if special is not None:
        special, more = remap_special_tokens_map(special, document)
        notes += more
        _write_json(building / "special_tokens_map.json", special)
    return notes


def _unmasked_heads(opened: OpenModel) -> bool:
    """Whether logits of padding rows are computed with no bias to mask them; models without such a head have none."""
    if opened.axes.biases or opened.axes.heads:
        return not opened.axes.biases
    classes = architectures(opened.config)
    if classes and all(name.endswith(_TASK_CLASSES) for name in classes):
        return False
    # An encoder's output table always comes with a bias: where the file has neither, there is no head.
    return bool(opened.config.get("is_encoder_decoder")) or not FAMILIES[opened.config["model_type"]].biases


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    # Half a surrogate pair cannot be UTF-8, but its escape is what JSON would have written.
    path.write_bytes(text.encode("utf-8", "backslashreplace"))


def _manifest(
    opened: OpenModel,
    plan: TrimPlan,
    record: Mapping[str, Any],
    certificate: Certificate,
    notes: Sequence[str],
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "schema": 1,
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        **record,
        "seed": None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": {
            "spec": opened.source.spec,
            "name": opened.source.name,
            "revision": opened.source.revision,
            "model_type": plan.model_type,
            "architectures": architectures(opened.config) or None,
            "license": source_licence(opened.source.path),
            "files": dict(hashes),
        },
        "languages": [{"code": language.code, "name": language.name} for language in plan.languages],
        "sizes": {when: dict(size) for when, size in plan.sizes.items()},
        "coverage": dict(plan.coverage),
        "unseen": dict(plan.unseen),
        "kept_ids": pack_ids(plan.keep_ids),
        "kept_by": {rule: len(ids) for rule, ids in plan.rules.items()},
        "kept_rules": {
            rule: pack_ids(ids) for rule, ids in plan.rules.items() if rule != plan.limit.by.replace("_", " ")
        },
        "pad_rows": plan.pad_rows,
        "tensors": [{"name": name, "axis": cut.axis, "rows": cut.rows} for name, cut in plan.slices.items()],
        "certificate": certificate.as_dict(),
        "not_copied": list(plan.not_copied),
        "notes": list(notes),
        **_known_before(opened.source.path),
    }


def _known_before(root: Path) -> dict[str, Any]:
    """What the source's own manifest says that is true of the result as well: how it was tuned."""
    try:
        found = read_manifest(root) or {}
    except InputError as error:
        logger.warning("%s; what it says of the source is left out", error)
        return {}
    return {"finetuning": found["finetuning"]} if isinstance(found.get("finetuning"), dict) else {}


def hash_source(opened: OpenModel, progress: Progress | None = None) -> dict[str, str]:
    """SHA-256 of each file that a trim reads, by name."""
    if progress is not None:
        progress("hashing the source", 0, None)
    root = opened.source.path
    read = ["config.json", "tokenizer.json", *opened.checkpoint.files]
    return {name: file_sha256(root, name) for name in read if (root / name).exists()}


def source_licence(root: Path) -> str | None:
    """The licence that the source's own card names, if it does."""
    path = safe_file(root, "README.md")
    if not path.is_file() or path.stat().st_size > MAX_CARD_BYTES:
        return None
    head = path.read_text(encoding="utf-8", errors="replace").split("---", 2)
    found = (
        re.search(r"^license:[ \t]*([A-Za-z0-9.+-]{1,64})[ \t]*$", head[1], re.M) if len(head) == 3 else None
    )
    return found[1] if found and not head[0].strip() else None
