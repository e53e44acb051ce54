"""LoRA on the LLM alone, with PEFT's own options under PEFT's names."""

import torch
from torch import nn
from transformers import PreTrainedModel

from fas_alm.training.arguments import ModelArguments
from fas_alm.training.options import one_line
from fas_core.errors import FASError, MissingDependencyError


def with_lora(llm: PreTrainedModel, parts: ModelArguments, seed: int) -> nn.Module:
    """The LLM with a new LoRA, whose first values follow the seed.

    Raises:
        FASError: PEFT cannot do it, e.g. no layer has a name that is asked for.
        MissingDependencyError: PEFT is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingDependencyError("stage 2 trains LoRA, which needs a package: pip install peft") from None
    torch.manual_seed(seed)
    targets = parts.lora_target_modules
    whole = "all-linear" if targets == ["all-linear"] else targets
    with one_line("--lora_*:"):
        adapted = get_peft_model(llm, LoraConfig(
            r=parts.lora_rank, lora_alpha=parts.lora_alpha, lora_dropout=parts.lora_dropout, target_modules=whole,
            use_dora=parts.use_dora, use_rslora=parts.use_rslora, init_lora_weights=parts.initialisation,
            task_type="CAUSAL_LM",
        ))  # fmt: skip
    _check_targets(adapted, targets)
    return adapted


def _check_targets(llm: nn.Module, targets: list[str]) -> None:
    """The vocabulary's tables stay as they are: what is saved goes without them, and they may be one."""
    tables = [llm.get_input_embeddings(), llm.get_output_embeddings()]
    if any(hasattr(table, "lora_A") for table in tables):
        raise FASError(
            f"--lora_target_modules {' '.join(targets)}: reaches the vocabulary's table, which is not trained; name linear layers"
        )
    layers = [name for name, module in llm.named_modules() if hasattr(module, "lora_A")]
    unknown = [t for t in targets if t != "all-linear" and not any(f".{name}".endswith(f".{t}") for name in layers)]
    if unknown:  # PEFT is content where one of several is there
        raise FASError(
            f"--lora_target_modules: the language model has no layer {', '.join(unknown)}; {_linear_names(llm)}"
        )


def _linear_names(llm: nn.Module) -> str:
    names = {
        name.removesuffix(".base_layer").rsplit(".", 1)[-1]
        for name, m in llm.named_modules()
        if isinstance(m, nn.Linear)
    }
    return f"it has {', '.join(sorted(n for n in names if not n.startswith('default')))}, or all-linear for all of them"
