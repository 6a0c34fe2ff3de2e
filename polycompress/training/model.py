"""Language models for training: loaded from a directory, given a head where they have none, and looked at."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from polycompress.embeddings.module import FactorisedEmbedding, FactorisedHead
from polycompress.errors import InputError, MissingExtraError
from polycompress.kernels.embedding_gradient import SparseEmbedding
from polycompress.modeldir.axes_table import base_type
from polycompress.modeldir.directory import read_json
from polycompress.own_models import register_for
from polycompress.training.packing import additive_mask, block_mask

logger = logging.getLogger(__name__)

Kind = Literal["masked", "causal"]
_ENDINGS: Final[tuple[tuple[str, Kind], ...]] = (
    ("MaskedLM", "masked"),
    ("ForPreTraining", "masked"),
    ("CausalLM", "causal"),
    ("LMHeadModel", "causal"),
)
_PACKING_TOLERANCE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A language model in fp32, and how it differs from what its directory holds."""

    model: Any
    """Of transformers, with a head."""
    kind: Kind
    fresh: tuple[str, ...]
    """Parameters that the checkpoint lacks: a head that was made anew, tied to the table."""
    unused: tuple[str, ...]
    """Tensors of the checkpoint that the model has no place for."""
    dtype: torch.dtype
    """Of the checkpoint."""


def language_model_kind(config: Mapping[str, Any], where: Path) -> Kind:
    """Which language model a configuration is, or can become with a fresh head.

    Args:
        config: ``config.json``.
        where: The model directory, for messages.

    Raises:
        InputError: It is neither a masked nor a causal one.
    """
    model_type = str(config.get("model_type"))
    if config.get("is_encoder_decoder"):
        raise InputError(
            f"{where}: is an encoder-decoder ({model_type}), which masked and causal language modelling do not train. "
            "Give an encoder or a decoder."
        )
    if (named := named_head(config)) is not None:
        return named
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    plain = base_type(model_type)
    if plain in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder"):
        return "masked"
    if plain in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "causal"
    raise InputError(
        f"{where}: transformers has neither a masked nor a causal language model of the type {model_type!r}."
    )


def named_head(config: Mapping[str, Any]) -> Kind | None:
    """Which language model's head a configuration says that its checkpoint has; None: it names none."""
    names = config.get("architectures")
    for name in names if isinstance(names, list) else []:
        for ending, kind in _ENDINGS:
            if str(name).endswith(ending):
                return kind
    return None


def load_language_model(path: Path, config: Mapping[str, Any]) -> LoadedModel:
    """Load a model directory as a masked or causal language model, in fp32.

    A head that the checkpoint lacks is initialised as the library does it, from the global generator, with its output
    table tied to the input table. Only safetensors are read, and no code of the directory is run.

    Args:
        path: The model directory.
        config: Its ``config.json``.

    Raises:
        InputError: transformers cannot load it, or more than a head is missing.
        MissingExtraError: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("training", "train") from error
    kind = language_model_kind(config, path)
    register_for(config)
    loader = transformers.AutoModelForMaskedLM if kind == "masked" else transformers.AutoModelForCausalLM
    options: dict[str, Any] = {
        "local_files_only": True,
        "use_safetensors": True,
        "trust_remote_code": False,
        "output_loading_info": True,
        "dtype": torch.float32,
    }
    with quiet_transformers():
        try:
            settings = transformers.AutoConfig.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            )
            dtype = settings.dtype if isinstance(settings.dtype, torch.dtype) else torch.float32
            model, info = loader.from_pretrained(path, config=settings, **options)
            if _lacks_head(model, info["missing_keys"]) and not settings.tie_word_embeddings:
                settings.tie_word_embeddings = True
                model, info = loader.from_pretrained(path, config=settings, **options)
        except (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
            raise InputError(f"{path}: transformers cannot load this model: {error}") from error
    fresh = tuple(sorted(info["missing_keys"]))
    lost = [name for name in fresh if name.startswith(f"{model.base_model_prefix}.")]
    if lost:
        raise InputError(
            f"{path}: the checkpoint lacks {len(lost)} parameters of the model itself, such as {lost[0]}. Restore it."
        )
    return LoadedModel(model, kind, fresh, tuple(sorted(info["unexpected_keys"])), dtype)


def load_encoder(path: Path) -> LoadedModel:
    """Load a model directory without a head, in fp32.

    Only safetensors are read, and no code of the directory is run.

    Args:
        path: The model directory.

    Raises:
        InputError: transformers cannot load it, or parameters are missing.
        MissingExtraError: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("training", "train") from error
    register_for(read_json(path, "config.json") or {})
    with quiet_transformers():
        try:
            settings = transformers.AutoConfig.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            )
            dtype = settings.dtype if isinstance(settings.dtype, torch.dtype) else torch.float32
            model, info = transformers.AutoModel.from_pretrained(
                path,
                config=settings,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=torch.float32,
            )
        except (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
            raise InputError(f"{path}: transformers cannot load this model: {error}") from error
    missing = tuple(sorted(info["missing_keys"]))
    if lost := [name for name in missing if "pooler" not in name]:
        raise InputError(
            f"{path}: the checkpoint lacks {len(lost)} parameters of the model itself, such as {lost[0]}. Restore it."
        )
    kind: Kind = "causal" if getattr(settings, "is_decoder", False) else "masked"
    return LoadedModel(model, kind, missing, tuple(sorted(info["unexpected_keys"])), dtype)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No bars, no reports: what they would say is said by us."""
    import transformers

    level = transformers.logging.get_verbosity()
    bars = importlib.import_module("transformers.utils.logging")
    shown = bars.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if shown:
            bars.enable_progress_bar()


def make_table_sparse(model: Any) -> bool:
    """Put a ``SparseEmbedding`` in the place of the input table; both hold the same weight.

    The coordinates of a factorised table get sparse gradients in their own module.

    Returns:
        Whether it could be: the table's module has to be the plain one, or one that only scales what it looks up.
    """
    table = model.get_input_embeddings()
    if isinstance(table, FactorisedEmbedding):
        table.sparse = True
        return True
    if not isinstance(table, nn.Embedding) or table.max_norm is not None or table.scale_grad_by_freq:
        return False
    scale = None if type(table) is nn.Embedding else getattr(table, "embed_scale", None)
    sparse = SparseEmbedding.sharing(table)
    if type(table) is not nn.Embedding:
        if scale is None:
            return False
        sparse = _ScaledSparseEmbedding.of(sparse, scale)
    ids = torch.arange(min(8, table.num_embeddings), device=table.weight.device)
    with torch.no_grad():
        if not torch.equal(sparse(ids), table(ids)):
            return False
    model.set_input_embeddings(sparse)
    return True


def output_is_tied(model: Any) -> bool:
    """Whether a model's output table is its input table."""
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    if isinstance(head, FactorisedHead) or isinstance(table, FactorisedEmbedding):
        return getattr(head, "coordinates", None) is getattr(table, "coordinates", table)
    return head is not None and head.weight is table.weight


def first_position(model: Any) -> int:
    """The position of a text's first token: RoBERTa's family counts from the padding id on."""
    embeddings = getattr(model.base_model, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def longest_text(model: Any) -> int | None:
    """Tokens that the model has positions for, or None where nothing says so."""
    limit = getattr(model.config, "max_position_embeddings", None) or getattr(
        model.config, "n_positions", None
    )
    return None if limit is None else int(limit) - first_position(model)


def attention_is_additive(model: Any) -> bool:
    """Whether attention adds its mask to scores (eager) instead of taking a bool one (sdpa)."""
    return getattr(model.config, "_attn_implementation", None) == "eager"


def keeps_texts_apart(model: Any, kind: Kind, sizes: Sequence[int] = (3, 4)) -> bool:
    """Whether a row of packed texts gives what each gives alone; tried, since not every family takes such masks.

    Args:
        model: Of transformers, with or without a head.
        kind: Which.
        sizes: Tokens of the texts in the row that is tried. Short ones show whether texts see each other; one as long
            as any shows whether the mask of a packed row undoes the window that attention may be limited to.
    """
    if "position_ids" not in inspect.signature(model.base_model.forward).parameters:
        return False
    table = model.get_input_embeddings()
    device = next(table.parameters()).device
    # Padding has no position in some families.
    padding = getattr(model.config, "pad_token_id", None)
    ordinary = torch.tensor([each for each in range(min(table.num_embeddings, 64)) if each != padding])
    ids = ordinary[torch.arange(sum(sizes)) % len(ordinary)].unsqueeze(0).to(device)
    documents = (
        torch.repeat_interleave(torch.arange(1, len(sizes) + 1), torch.tensor(sizes)).unsqueeze(0).to(device)
    )
    positions = torch.cat([torch.arange(size, device=device) for size in sizes]).unsqueeze(0)
    mask = block_mask(documents, causal=kind == "causal")
    if attention_is_additive(model):
        mask = additive_mask(mask, torch.float32)
    training = model.training
    model.eval()

    def states(**inputs: Tensor) -> Tensor:
        found: Tensor = model.base_model(**inputs).last_hidden_state
        return found

    try:
        with torch.no_grad():
            together = states(
                input_ids=ids, attention_mask=mask, position_ids=positions + first_position(model)
            )
            apart = [states(input_ids=part) for part in ids.split(list(sizes), dim=1)]
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, AssertionError):
        return False
    finally:
        model.train(training)
    gap = (together - torch.cat(apart, dim=1)).abs().max()
    return bool(gap <= _PACKING_TOLERANCE * together.abs().max())


class _ScaledSparseEmbedding(SparseEmbedding):
    """A sparse table whose rows are scaled after the lookup, as Gemma's and BART's are."""

    scale: float | Tensor

    @classmethod
    def of(cls, table: SparseEmbedding, scale: float | Tensor) -> _ScaledSparseEmbedding:
        with torch.device("meta"):
            twin = cls(table.num_embeddings, table.embedding_dim, padding_idx=table.padding_idx)
        twin.weight = table.weight
        twin.train(table.training)
        if isinstance(scale, Tensor):
            twin.register_buffer("scale", scale.detach().clone(), persistent=False)
        else:
            twin.scale = scale
        return twin

    def forward(self, input: Tensor) -> Tensor:
        rows = super().forward(input)
        return rows * (self.scale.to(rows.dtype) if isinstance(self.scale, Tensor) else self.scale)


def _lacks_head(model: Any, missing: set[str]) -> bool:
    head = model.get_output_embeddings()
    if head is None:
        return False
    table = {id(parameter) for parameter in head.parameters() if parameter.ndim == 2}
    return any(id(parameter) in table and name in missing for name, parameter in model.named_parameters())
