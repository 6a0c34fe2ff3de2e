"""Models to be timed: loaded as their configuration says, counted, and given inputs of any size."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch import Tensor, nn

from polycompress.embeddings.module import FactorisedEmbedding
from polycompress.errors import InputError, PolycompressError
from polycompress.evaluation.model_settings import position_limit
from polycompress.evaluation.precision import Precision, cpu_multiplies_bf16
from polycompress.evaluation.pretrained import load_pretrained
from polycompress.modeldir.paths import read_json
from polycompress.moe.config import FIELD
from polycompress.own_models import model_class

DTYPES: Final[Mapping[Precision, torch.dtype]] = {"fp32": torch.float32, "bf16": torch.bfloat16}
_EXPERTS: Final = ("num_experts", "num_local_experts", "n_routed_experts")
_CHOSEN: Final = ("num_experts_per_tok", "top_k")
_SPECIAL: Final = ("pad", "bos", "eos", "cls", "sep", "mask", "unk", "decoder_start")
_MEMORY_SHARE: Final = 0.5
"""Of the free memory that one batch's output over the vocabulary may take."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many numbers a model has; tied tables count once."""

    total: int
    embedding: int | None
    """In its input table."""
    active: int | None
    """That one token's way through the model can touch: all but the experts it is not sent to."""

    def as_dict(self) -> dict[str, int | None]:
        """For JSON."""
        return {"total": self.total, "embedding": self.embedding, "active": self.active}


@dataclass(frozen=True, slots=True)
class TimedModel:
    """A model in evaluation mode, on its device."""

    path: Path
    module: Any
    parameters: Parameters
    device: torch.device

    def forward(self, batch: int, length: int, seed: int) -> Callable[[], None]:
        """A function that runs the model once on a batch of random tokens, and returns when it is done.

        Args:
            batch: Texts.
            length: Tokens of each.
            seed: Of the tokens.

        Raises:
            InputError: The model has no positions for so long a text, or its output would not fit into memory.
        """
        limit = longest_input(self.module)
        if limit is not None and length > limit:
            raise InputError(
                f"{self.path}: takes at most {limit} tokens, not {length}. Give --length up to {limit}."
            )
        inputs = self._inputs(batch, length, seed)
        self._check_output(batch, length, inputs)

        def run() -> None:
            with torch.inference_mode(), _refusals(self.path, batch, length):
                self.module(**inputs)
                if self.device.type == "cuda":
                    torch.cuda.synchronize(self.device)

        return run

    def _inputs(self, batch: int, length: int, seed: int) -> dict[str, Any]:
        known = inspect.signature(self.module.forward).parameters
        ids = random_ids(self.module, batch, length, seed).to(self.device)
        inputs: dict[str, Any] = {"input_ids": ids}
        if "attention_mask" in known:
            inputs["attention_mask"] = torch.ones_like(ids)
        if getattr(self.module.config, "is_encoder_decoder", False) and "decoder_input_ids" in known:
            inputs["decoder_input_ids"] = ids
        if "use_cache" in known:
            inputs["use_cache"] = False
        if "logits_to_keep" in known:
            inputs["logits_to_keep"] = 1  # as in writing: only the next token is asked for
        return inputs

    def _check_output(self, batch: int, length: int, inputs: Mapping[str, Any]) -> None:
        head = _call(self.module, "get_output_embeddings")
        if head is None or "logits_to_keep" in inputs:
            return
        rows, size = _vocabulary(head)
        needed = batch * length * rows * size
        free = _free_memory(self.device)
        if free is not None and needed > _MEMORY_SHARE * free:
            raise InputError(
                f"{self.path}: at batch {batch} and length {length} its head over {rows:,} tokens writes "
                f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free. Give --body to leave heads out, "
                "or a smaller --batch or --length."
            )


def load_timed_model(
    path: Path, *, precision: Precision, device: torch.device, body: bool = False
) -> TimedModel:
    """Load a model directory as the class that its configuration names, else as the plain model.

    Args:
        path: The directory. Only safetensors are read, and no code of it is run.
        precision: What the weights are converted to.
        device: Where to.
        body: Leave the head out, and do not count it.

    Raises:
        InputError: transformers cannot load it.
        PolycompressError: The device has no room for it.
    """
    config = read_json(path, "config.json")
    assert config is not None
    loader = transformers.AutoModel if body else _loader(config)
    model, lacking = load_pretrained(loader, path, DTYPES[precision])
    try:
        model = model.eval().to(device)
    except RuntimeError as error:
        raise PolycompressError(f"{path}: cannot be moved to {device}: {error}") from error
    _give_padding(model)
    counted = count_parameters(model, lacking)
    return TimedModel(path, model, counted, device)


def count_parameters(model: Any, fresh: frozenset[str] = frozenset()) -> Parameters:
    """Count a model's parameters.

    Args:
        model: Of transformers.
        fresh: Names of those that the checkpoint lacks; they are not counted.
    """
    named = [pair for pair in model.named_parameters(remove_duplicate=False) if pair[0] not in fresh]
    sizes = {name: each.numel() for name, each in {id(each): (name, each) for name, each in named}.values()}
    table = _call(model, "get_input_embeddings")
    embedding = _table_size(table)
    total = sum(sizes.values())
    routed = sum(size for name, size in sizes.items() if "experts" in name.split(".")[:-1])
    return Parameters(
        total=total,
        embedding=embedding,
        active=total - routed if not routed else _active(model.config, total, routed),
    )


def longest_input(model: Any) -> int | None:
    """Tokens that a model has positions for; None where nothing says so, or positions are relative as T5's."""
    has_table = getattr(model.config, "max_position_embeddings", None) or model.config.model_type.startswith(
        "gpt"
    )
    return position_limit(model) if has_table else None


def random_ids(model: Any, batch: int, length: int, seed: int) -> Tensor:
    """(batch, length) token ids, none of them special but the last, which ends a text where the model has such a token.

    Args:
        model: Whose vocabulary.
        batch: Rows.
        length: Columns.
        seed: The same gives the same ids.
    """
    table = _call(model, "get_input_embeddings")
    rows = _vocabulary(table)[0] if table is not None else int(model.config.vocab_size)
    special = {getattr(model.config, f"{name}_token_id", None) for name in _SPECIAL}
    plain = torch.tensor([row for row in range(rows) if row not in special] or [0])
    generator = torch.Generator().manual_seed(seed)
    ids = plain[torch.randint(len(plain), (batch, length), generator=generator)]
    end = getattr(model.config, "eos_token_id", None)
    if isinstance(end, int) and 0 <= end < rows:
        ids[:, -1] = end  # where classification heads of encoder-decoders read
    return ids


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bf16 itself, instead of going through fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and cpu_multiplies_bf16()


def _loader(config: Mapping[str, Any]) -> Any:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    kind = model_class(name, config) if isinstance(name, str) else None
    return transformers.AutoModel if kind is None else kind


@contextmanager
def _refusals(path: Path, batch: int, length: int) -> Iterator[None]:
    size = f"{path}: batch {batch}, length {length}"
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise PolycompressError(
            f"{size}: out of memory. Give a smaller --batch or --length, or --body to leave heads out."
        ) from error
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if "memory" in str(error) and "alloc" in str(error):
            raise PolycompressError(
                f"{size}: out of memory. Give a smaller --batch or --length, or --body to leave heads out."
            ) from error
        raise InputError(f"{size}: the model cannot be run: {error}") from error


def _give_padding(model: nn.Module) -> None:
    """Some classification heads take batches only where the configuration has a padding token."""
    config: Any = model.config
    if getattr(config, "pad_token_id", None) is None:
        end = getattr(config, "eos_token_id", None)
        config.pad_token_id = end if isinstance(end, int) else 0


def _table_size(table: Any) -> int | None:
    if isinstance(table, FactorisedEmbedding):
        return int(sum(parameter.numel() for parameter in table.parameters()))
    weight = getattr(table, "weight", None)
    return int(weight.numel()) if isinstance(weight, Tensor) else None


def _vocabulary(table: Any) -> tuple[int, int]:
    """Rows of a table, and bytes of one of its values."""
    parameter = next(each for each in table.parameters() if each.ndim == 2)
    return len(parameter), parameter.element_size()


def _active(config: Any, total: int, routed: int) -> int | None:
    own = getattr(config, FIELD, None)  # of our models with experts of language families
    if isinstance(own, dict):
        return total - routed * (int(own["experts"]) - int(own["top_k"])) // int(own["experts"])
    experts = next((value for name in _EXPERTS if isinstance(value := getattr(config, name, None), int)), 0)
    chosen = next((value for name in _CHOSEN if isinstance(value := getattr(config, name, None), int)), 0)
    if not 0 < chosen <= experts:
        return None
    return total - routed + math.ceil(routed * chosen / experts)


def _call(model: Any, name: str) -> Any:
    try:
        return getattr(model, name)()
    except (AttributeError, NotImplementedError, TypeError):
        return None


def _free_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
