"""Run a model with experts over text, and count what its routers do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch

from polycompress.evaluation.batches import pad_batch, plan_batches
from polycompress.evaluation.encoding import TaskEncoder
from polycompress.evaluation.model_settings import padding_id, text_length
from polycompress.evaluation.precision import choose_device
from polycompress.modeldir.directory import read_bytes, read_json
from polycompress.moe.config import MoeConfig
from polycompress.moe.routing_report import homes_of
from polycompress.moe.statistics import RoutingCounts, count_routing
from polycompress.pipelines.trimming.loading import OpenModel, make_tokenizer
from polycompress.training.language_ids import FIELD
from polycompress.training.model import load_encoder
from polycompress.vocab.document import MAX_DOCUMENT_BYTES

BATCH_TOKENS: Final = 2048
Tell = Callable[[str, int, int | None], None]


def see_routing(
    opened: OpenModel,
    moe: MoeConfig,
    texts: Mapping[str, Sequence[str]],
    *,
    max_length: int,
    device: str = "auto",
    tell: Tell | None = None,
) -> dict[int, RoutingCounts]:
    """Count by layer where the tokens of each language go, as at inference.

    The model is told each text's language, which has an effect where its configuration says ``forced``.

    Args:
        opened: A model with experts.
        moe: What its configuration says of them.
        texts: By the code of their language, which the model knows; rows of the counts are in this order.
        max_length: Tokens of a text at most, or fewer where the model has no positions for them; the rest is cut off.
        device: Where it computes.
        tell: Told how far it is.

    Raises:
        InputError: The model cannot be loaded, or the tokenizer refuses a text.
    """
    path = opened.source.path
    tokenizer = make_tokenizer(
        read_bytes(path, "tokenizer.json", max_bytes=MAX_DOCUMENT_BYTES)
    )  # shortens texts
    settings = read_json(path, "tokenizer_config.json", required=False) or {}
    model = load_encoder(path).model.to(choose_device(device)).eval()
    pad_id = padding_id(model.config, tokenizer, settings)
    encoder = TaskEncoder(tokenizer, max_length=text_length(model, None, max_length, settings), pad_id=pad_id)
    codes = [code for code, own in texts.items() for _ in own]
    encoded = encoder.encode_strings([text for own in texts.values() for text in own])
    homes = homes_of(moe, list(texts))
    row_of = np.full(len(moe.codes) + 1, -1)  # the last place is that of unknown languages, whose id is -1
    for row, code in enumerate(texts):
        row_of[moe.language_id(code)] = row
    found = {layer: RoutingCounts.none(*homes.shape) for layer in moe.layers}
    model.moe_context.collects = True
    for places in plan_batches([len(each) for each in encoded], BATCH_TOKENS):
        batch = pad_batch([encoded[place] for place in places], pad_id)
        batch[FIELD] = torch.tensor([moe.language_id(codes[place]) for place in places])
        with torch.inference_mode():
            model(**{name: each.to(model.device) for name, each in batch.items()})
        seen = model.moe_context.current
        languages = row_of[seen.languages.cpu().numpy()]
        for layer, record in seen.records.items():
            probabilities = record.probabilities.double().cpu().numpy()
            found[layer] += count_routing(probabilities, record.indices.cpu().numpy(), languages, homes)
        if tell is not None:
            tell("texts", len(places), len(codes))
    return found
