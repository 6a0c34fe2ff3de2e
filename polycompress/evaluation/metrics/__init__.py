"""Scores as pure functions of predictions: classes, entities, answers, retrieval, intervals and averages."""

from polycompress.evaluation.metrics.answers import answer_scores
from polycompress.evaluation.metrics.averages import average_scores, over_seeds
from polycompress.evaluation.metrics.classification import accuracy, macro_f1
from polycompress.evaluation.metrics.entities import entity_counts, entity_f1
from polycompress.evaluation.metrics.intervals import bootstrap_interval, paired_bootstrap
from polycompress.evaluation.metrics.retrieval import (
    cosine_nearest,
    csls,
    precision_at_1,
    retrieval_accuracy,
)

__all__ = [
    "accuracy",
    "answer_scores",
    "average_scores",
    "bootstrap_interval",
    "cosine_nearest",
    "csls",
    "entity_counts",
    "entity_f1",
    "macro_f1",
    "over_seeds",
    "paired_bootstrap",
    "precision_at_1",
    "retrieval_accuracy",
]
