from __future__ import annotations

from typing import Any

import pytest

from polycompress.evaluation.records import Kind
from polycompress.pipelines.finetune import read_settings
from polycompress.pipelines.tuning.config import (
    FinetuneConfig,
    TrainingPlan,
    plan_training,
    training_config,
    usual_epochs,
    usual_rate,
)
from polycompress.training.errors import ConfigError


def planned(config: FinetuneConfig, kind: Kind, lengths: list[int]) -> TrainingPlan:
    return plan_training(config, kind, lengths, examples=len(lengths), width=384)


def test_every_wrong_setting_at_once() -> None:
    wrong: dict[str, Any] = {
        "steps": 0,
        "epochs": -1.0,
        "learning_rate": float("inf"),
        "head_learning_rate": 0.0,
        "warmup_share": 1.0,
        "weight_decay": -0.1,
        "max_grad_norm": -1.0,
        "batch_texts": 0,
        "batch_tokens": 0,
        "max_length": 4,
        "patience": -1,
        "evaluate_every": 0,
        "precision": "fp8",
        "freeze": "everything",
        "sed": 1,
        "seed": "one",
    }
    with pytest.raises(ConfigError) as caught:
        read_settings(wrong, seeds=0, limit=-3)
    message = str(caught.value)
    assert message.startswith("The configuration of finetune is wrong in")
    for part in ("steps is 0: give at least 1", "epochs is -1.0", "learning_rate is inf", "head_learning_rate is 0.0",
                 "warmup_share is 1.0: give 0 or more and less than 1", "weight_decay is -0.1",
                 "max_grad_norm is -1.0", "batch_texts is 0", "batch_tokens is 0", "max_length is 4",
                 "patience is -1", "evaluate_every is 0", "precision is 'fp8'", "freeze is 'everything'",
                 "sed is no field. Did you mean seed?", "seed is 'one': give a whole number", "seeds is 0",
                 "limit is -3", "epochs and steps are both given"):  # fmt: skip
        assert part in message, part


def test_what_contradicts() -> None:
    with pytest.raises(ConfigError, match="batch_texts and batch_tokens are both given: give one of them"):
        FinetuneConfig(batch_texts=8, batch_tokens=100)
    with pytest.raises(ConfigError, match="seeds is 0: give at least 1"):
        read_settings({}, seeds=0, limit=None)


@pytest.mark.parametrize(
    ("examples", "epochs"), [(1, 10), (701, 10), (1000, 4), (4439, 4), (6000, 3), (17000, 2)]
)
def test_few_examples_are_read_more_often(examples: int, epochs: float) -> None:
    assert usual_epochs(examples) == epochs


def test_wider_models_learn_more_slowly() -> None:
    assert [usual_rate(width) for width in (16, 384, 768, 1024)] == pytest.approx([3e-4, 1e-4, 5e-5, 3.75e-5])
    plan = plan_training(FinetuneConfig(), "text-classification", [20] * 100, examples=100, width=768)
    assert plan.learning_rate == pytest.approx(5e-5)


def test_windows_of_few_questions_are_read_as_often_as_few_examples() -> None:
    plan = plan_training(FinetuneConfig(), "question-answering", [50] * 3000, examples=500, width=384)
    assert plan.epochs == 10


def test_a_plan_from_the_data() -> None:
    lengths = [20, 30, 40, 30] * 100
    plan = planned(FinetuneConfig(), "text-classification", lengths)
    assert plan.batching.token_budget == 32 * 30
    assert plan.steps_per_epoch == 13
    assert plan.steps == 130
    assert plan.epochs == 10
    assert plan.warmup_steps == 13
    assert plan.evaluate_every == 13
    assert plan.batching.window <= plan.steps_per_epoch // 2
    assert plan.head_factor == pytest.approx(5.0)


def test_windows_of_contexts_come_in_smaller_batches() -> None:
    plan = planned(FinetuneConfig(), "question-answering", [384] * 50)
    assert plan.batching.token_budget == 16 * 384


def test_what_is_asked_for_is_done() -> None:
    config = FinetuneConfig(
        steps=50, batch_tokens=200, evaluate_every=7, learning_rate=1e-3, head_learning_rate=1e-2
    )
    plan = planned(config, "pair-classification", [20] * 100)
    assert (plan.steps, plan.batching.token_budget, plan.evaluate_every) == (50, 200, 7)
    assert plan.steps_per_epoch == 10
    assert plan.head_factor == pytest.approx(10)
    assert planned(FinetuneConfig(epochs=0.5, batch_tokens=200), "pair-classification", [20] * 100).steps == 5


def test_large_data_is_looked_at_more_often_than_once_an_epoch() -> None:
    plan = planned(FinetuneConfig(), "token-classification", [20] * 20000)
    assert plan.steps == 1250
    assert plan.evaluate_every == 156


def test_a_batch_holds_the_longest_example() -> None:
    assert planned(FinetuneConfig(batch_texts=1), "text-classification", [5, 90]).batching.token_budget == 90
    with pytest.raises(ConfigError, match="batch_tokens is 80, less than the longest example, 90 tokens"):
        planned(FinetuneConfig(batch_tokens=80), "text-classification", [5, 90])


def test_the_engine_s_settings() -> None:
    config = FinetuneConfig(learning_rate=3e-5, weight_decay=0.0, seed=4)
    plan = planned(config, "text-classification", [20] * 100)
    training = training_config(config, plan, config.seed, "bf16")
    assert (training.seed, training.precision, training.steps) == (4, "bf16", plan.steps)
    assert training.optimiser.learning_rate == 3e-5
    assert training.snapshots.metric == "dev_score"
    assert training.snapshots.higher_is_better
    assert training.snapshots.on_improvement
