"""What `train/alm_adapter.py` can be told, by flags or YAML, beside all that transformers' own trainer knows."""

import json
import logging
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import transformers

from fas_alm.configuration import AUDIO_TOKENS
from fas_alm.connector import ConnectorConfig
from fas_alm.conversations.questions import TASKS, check_names
from fas_alm.prompts import LANGUAGES
from fas_alm.training.options import check_options, one_line
from fas_alm.training.transcripts import SOURCES
from fas_core.cli.adapter_options import AdapterData, AdapterParts, AdapterTraining
from fas_core.errors import FASError
from fas_core.precision import has_bf16

log = logging.getLogger(__name__)
FOLLOWING = ("reduce_lr_on_plateau", "greedy")  # schedules that go by validation
STAGES = ("stage1", "stage2")


@dataclass
class DataArguments(AdapterData):
    """Which clips and conversations, and what is asked about the clips."""

    def __post_init__(self):
        if not self.corpora and not self.conversations:
            raise FASError("--corpora and --conversations are empty: give corpora as NAME=FOLDER, or JSONL files")
        self.tasks, self.languages = self.tasks or list(TASKS), self.languages or list(LANGUAGES)
        check_names("--tasks", self.tasks, TASKS)
        check_names("--languages", self.languages, LANGUAGES)
        check_names("--transcripts", [self.transcripts], SOURCES)
        for name in ("validation_fraction", "shuffled_options", "transcript_dropout", "cue_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise FASError(f"--{name} {getattr(self, name)}: expected a share, from 0 to 1")
        if self.cue_statistics and not self.cues:
            raise FASError("--cue_statistics without --cues: nothing would be told; expected --cues true with it")
        if self.max_train_clips < 0:
            raise FASError(f"--max_train_clips {self.max_train_clips}: expected 0 (all) or more")


@dataclass
class ModelArguments(AdapterParts):
    """The parts of the model, and what is added to the LLM. LoRA's defaults are C2SER's (Zhao et al. 2025)."""

    INITIALISATIONS: ClassVar[dict[str, bool | str]] = {
        "true": True,
        "gaussian": "gaussian",
        "orthogonal": "orthogonal",
    }

    def __post_init__(self):
        check_names("--audio_tokens", [self.audio_tokens], AUDIO_TOKENS)
        check_names("--quantization", [self.quantization], ("none", "4bit", "8bit"))
        check_names("--dtype", [self.dtype], ("auto", "float32", "bfloat16"))
        if self.init_lora_weights.lower() not in self.INITIALISATIONS:
            raise FASError(
                f"--init_lora_weights {self.init_lora_weights}: expected one of {', '.join(self.INITIALISATIONS)}; those that change the "
                "LLM's own weights (pissa, olora, loftq, ...) would need them saved beside the adapter"
            )
        if self.train_fas and self.audio_tokens == "frames":
            raise FASError("--train_fas: the LLM hears frames alone, none of FAS; expected --audio_tokens fused+frames")
        ConnectorConfig.from_dict(self.connector)
        if not self.lora_target_modules:
            raise FASError("--lora_target_modules is empty: name layers, or all-linear")
        if self.lora_rank < 1 or self.lora_alpha < 1 or not 0 <= self.lora_dropout < 1:
            raise FASError("--lora_rank and --lora_alpha: expected at least 1; --lora_dropout: at least 0 and below 1")

    @property
    def connector(self) -> dict | None:
        """`FASAudioConfig.connector`, where frames are heard."""
        if "frames" not in self.audio_tokens:
            return None
        return {
            "streams": self.connector_streams,
            "joint": self.connector_joint,
            "num_layers": self.connector_layers,
            "intermediate_size": self.connector_intermediate_size,
            "dropout": self.connector_dropout,
        }

    @property
    def initialisation(self) -> bool | str:
        """`init_lora_weights` as PEFT takes it."""
        return self.INITIALISATIONS[self.init_lora_weights.lower()]


@dataclass
class TrainingArguments(AdapterTraining, transformers.TrainingArguments):
    """Those of transformers, with this project's defaults, and one schedule a stage."""

    _OWN: ClassVar[tuple[str, ...]] = (
        "stage1_epochs",
        "stage2_epochs",
        "projector_learning_rate",
        "fas_learning_rate",
        "max_minutes",
        "patience",
    )

    def __post_init__(self):
        for name in self._OWN:
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise FASError(f"--{name} {value}: expected at least 0")
        if not 0 <= self.option_smoothing < 1:
            raise FASError(f"--option_smoothing {self.option_smoothing}: expected at least 0 and below 1")
        if not 0 <= self.token_mixup < math.inf:
            raise FASError(f"--token_mixup {self.token_mixup}: expected at least 0")
        if self.token_mixup and not self.distil_options:
            raise FASError("--token_mixup: a mixture has no label; expected --distil_options true with it")
        if self.stage1_epochs + self.stage2_epochs == 0:
            raise FASError("--stage1_epochs 0 and --stage2_epochs 0: nothing to train")
        if self.patience and self.eval_strategy == "no":
            raise FASError(
                "--patience with --eval_strategy no: without validation nothing ends early; expected epoch or steps"
            )
        check_options(self)
        if self.bf16 is None:
            self.bf16 = not self.fp16 and has_bf16("cpu" if self.use_cpu or not torch.cuda.is_available() else "cuda")
        self._prepare_schedule()
        self._prepare_sharding()
        with one_line():
            super().__post_init__()
        self._use_one_device()
        self.num_train_epochs = self.stage1_epochs + self.stage2_epochs

    def _prepare_schedule(self) -> None:
        """Schedules that follow validation follow a score, which is better when greater."""
        self.label_smoothing_factor = 0.0  # the trainer's own, of the whole vocabulary
        if self.lr_scheduler_type in FOLLOWING:
            with one_line("--lr_scheduler_kwargs"):
                given = self.lr_scheduler_kwargs or {}
                self.lr_scheduler_kwargs = {"mode": "max"} | (json.loads(given) if isinstance(given, str) else given)
            if self.eval_strategy == "no":
                raise FASError(
                    f"--lr_scheduler_type {self.lr_scheduler_type} follows validation; expected --eval_strategy epoch or steps"
                )

    def _prepare_sharding(self) -> None:
        """FSDP's state is kept in shards unless told otherwise: gathered, it can be written and not be read again."""
        if str(self.fsdp).lower() in ("true", "false"):  # as a flag has it
            self.fsdp = str(self.fsdp).lower() == "true"
        if self.fsdp and (self.fsdp_config is None or str(self.fsdp_config).startswith("{")):
            with one_line("--fsdp_config"):
                given = json.loads(self.fsdp_config) if isinstance(self.fsdp_config, str) else self.fsdp_config or {}
            self.fsdp_config = {"state_dict_type": "SHARDED_STATE_DICT"} | given

    def _use_one_device(self) -> None:
        """DataParallel, into which transformers falls where one process sees several GPUs, would cut the shared prefix of a batch
        and most of its rows with it.
        """
        if self.n_gpu > 1:
            idle, self._n_gpu = self.n_gpu - 1, 1
            log.warning(
                f"one process trains on one GPU, {idle} more stay idle: start one process for each with `accelerate launch "
                f"--num_processes {idle + 1} train/alm_adapter.py ...`"
            )
