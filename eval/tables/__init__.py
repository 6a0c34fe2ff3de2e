"""The tables of README.md, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from eval.tables import experts, new_subwords, students, training, trimming

TABLES: Mapping[str, Callable[[], str]] = {
    "german": trimming.german,
    "english": trimming.english,
    "defaults": trimming.defaults,
    "trim speed": trimming.trim_speed,
    "bench": trimming.bench,
    "count speed": trimming.count_speed,
    "trimming curve": trimming.curve,
    "training speed": training.training_speed,
    "distillation speed": training.distillation_speed,
    "scores": training.scores,
    "bilingual students": students.bilingual,
    "bilingual students, against": students.against,
    "bilingual students, others": students.others,
    "bilingual students, tried": students.tried,
    "students untrained": students.untrained,
    "initialisations": new_subwords.initialisations,
    "fertility": new_subwords.fertility,
    "ranks": new_subwords.ranks,
    "decoder": new_subwords.decoder,
    "experts": experts.against_dense,
    "experts, entities": experts.entities,
    "experts, one family": experts.one_family,
    "experts, routes": experts.routes,
    "experts, speed": experts.speed,
}

PICTURES: Sequence[Callable[[], None]] = (new_subwords.draw_curves,)
"""Draw what README shows besides what its commands draw."""
