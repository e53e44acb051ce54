"""What `fas adapter` can be told beside all that transformers' own trainer knows: fields, defaults and help texts.

They stand below `fas_alm`, whose import registers its model with transformers and so waits for torch: `--help` reads them here. What
is checked is in `fas_alm.training.arguments`, which adds to these classes.
"""

from dataclasses import dataclass

from fas_core.training.options import option


@dataclass
class AdapterData:
    """Which clips and conversations, and what is asked about the clips."""

    corpora: list[str] = option(
        [],
        "corpora as NAME=FOLDER, e.g. ravdess=data/ravdess, or any other NAME for a folder with a manifest; questions are drawn "
        "anew each epoch",
        metavar="NAME=FOLDER...",
    )
    conversations: list[str] = option(
        [], "JSONL files of conversations (`python -m fas_alm.conversations`), used as they are"
    )
    fold: int | None = option(None, "fold of corpora that have folds (RAVDESS: 1 to 6, the EmoBox speakers)")
    exclude: str | None = option(None, "exclusion list written by `python -m fas_core.data check`")
    exclude_labels: list[str] = option(
        [], "labels of the corpora whose clips are left out; '*': all that no table knows, which are an error otherwise"
    )
    cache_dir: str = option("~/.cache/fas_alm/features", "feature cache; features are extracted once", flag="cache")
    validation_fraction: float = option(
        0.15, "share of speakers kept for validation when no corpus has such a split; 0: train without validation"
    )
    max_train_clips: int = option(0, "train on this many clips of the corpora, drawn from the seed; 0: all")
    tasks: list[str] = option(
        [], "what is asked, drawn evenly; a name given twice is drawn twice as often; by default all that there is"
    )
    languages: list[str] = option([], "languages of the questions; validation asks in the first; by default en zh")
    shuffled_options: float = option(
        1.0, "share of the lettered questions of stage 2 whose options are shuffled; the others, and those of stage 1, have "
        "the order in which they are asked later. A small LLM learns letters that move slowly"
    )  # fmt: skip
    transcripts: str = option(
        "auto", "words that are told behind the audio of corpora's clips: auto (what FAS's own Whisper writes down, as in use; the "
        "corpora's texts where it has no decoder), corpus (their texts), none. Conversations hold their own"
    )  # fmt: skip
    transcript_dropout: float = option(
        0.1, "share of the questions about the tone alone that are asked without the transcript"
    )
    cues: bool = option(
        False, "tell six acoustic cues of eGeMAPS behind the audio of corpora's clips (extra egemaps); their statistics go into the model"
    )  # fmt: skip
    cue_statistics: str | None = option(
        None, "file of `python -m fas_core.cues statistics`, with --cues; default: those of the training clips"
    )
    cue_dropout: float = option(0.1, "share of the questions that are asked without the acoustic cues")
    no_audio: bool = option(False, "zeros instead of FAS's tokens: what the same training learns without hearing")


@dataclass
class AdapterParts:
    """The parts of the model, and what is added to the LLM. LoRA's defaults are C2SER's (Zhao et al. 2025)."""

    fas: str | None = option(
        None, "FAS checkpoint (directory, hub id, base or tiny.en); default: the shipped one", flag="checkpoint"
    )
    language_model: str = option("offline:smollm2", "hub id or directory of an instruct LLM, or offline:smollm2")
    revision: str | None = option(None, "of the LLM on the hub")
    dtype: str = option(
        "auto",
        "of the LLM's frozen weights: auto (bfloat16 with --bf16; else as they are, or float32 where bfloat16 is slow), "
        "float32, bfloat16",
    )
    attention: str | None = option(
        None,
        "transformers' attention implementation; default: its own choice, but eager in bf16 on a CPU, where it is faster",
    )
    audio_tokens: str = option(
        "fused",
        "what the LLM hears of a window: fused (N_q tokens), distilled (k_acoustic + k_semantic), frames (C2SER's connector over "
        "all patches of both streams), fused+frames",
    )
    connector_streams: list[str] = option(
        ["semantic", "acoustic"], "streams whose frames the connector reads, in order"
    )
    connector_joint: bool = option(True, "one Transformer over the frames of all streams; false: one for each")
    connector_layers: int = option(4, "layers of the connector's Transformer")
    connector_intermediate_size: int = option(2560, "width of the connector's feed-forward layers")
    connector_dropout: float = option(0.1, "dropout of the connector")
    quantization: str = option(
        "none",
        "of the LLM's frozen weights: none, 8bit or 4bit (QLoRA); FAS and the projector stay float32. Needs bitsandbytes",
    )
    lora_rank: int = option(8, "rank of LoRA")
    lora_alpha: int = option(32, "scale of LoRA")
    lora_dropout: float = option(0.1, "dropout of LoRA")
    lora_target_modules: list[str] = option(
        ["all-linear"],
        "layers that LoRA adapts, by the ends of their names, e.g. q_proj v_proj; all-linear: all but the head",
    )
    use_dora: bool = option(False, "DoRA: a magnitude beside each direction (Liu et al. 2024)")
    use_rslora: bool = option(False, "scale LoRA by alpha / sqrt(rank) (Kalajdzievski 2023)")
    init_lora_weights: str = option(
        "true", "first values of LoRA: true (it changes nothing at first), gaussian or orthogonal"
    )
    train_fas: bool = option(
        False, "train FAS too, in stage 2; otherwise it is frozen and its tokens are computed once"
    )


@dataclass
class AdapterTraining:
    """The course of the training."""

    output_dir: str = option(
        "runs/alm", "the adapter goes to its folder adapter, what a resumed run needs beside it", flag="output"
    )
    stage1_epochs: float = option(1.0, "epochs of the projector alone; 0: none")
    stage2_epochs: float = option(3.0, "epochs of projector and LoRA; 0: none")
    projector_learning_rate: float = option(1e-3, "peak learning rate of the projector")
    learning_rate: float = option(5e-5, "peak learning rate of LoRA")
    fas_learning_rate: float = option(5e-5, "peak learning rate of FAS, with --train_fas")
    option_smoothing: float = option(0.1, "share of a lettered answer's target that goes evenly to all seven letters")
    distil_options: bool = option(
        False,
        "the target of a lettered answer is what the frozen FAS says of the same tokens, calibrated; not the label",
    )
    token_mixup: float = option(
        0.0,
        "with --distil_options, Beta parameter of mixing the fused tokens of two clips: FAS says what the mixture is; 0: off",
    )
    weight_decay: float = option(0.01, "AdamW weight decay, of matrices")
    adam_beta2: float = option(0.99, "AdamW beta 2")
    warmup_steps: float = option(0.15, "steps with a rising learning rate; below 1 their share")
    lr_scheduler_type: str = option("cosine", "schedule after that")
    per_device_train_batch_size: int = option(32, "conversations of a forward pass, on each device")
    per_device_eval_batch_size: int = option(64, "the same, of validation")
    share_prefix: bool = option(
        True, "compute what all prompts of a batch begin with once a batch; off with gradient checkpointing and where weights "
        "are sharded"
    )  # fmt: skip
    bf16: bool | None = option(
        None, "compute in bfloat16; by default where the device has products for it, else in float32"
    )
    eval_strategy: str = option("epoch", "when validation clips are scored: epoch or steps (--eval_steps)")
    save_strategy: str = option("epoch", "when the state for --resume is written: epoch, steps (--save_steps) or no")
    save_total_limit: int | None = option(1, "states for --resume that are kept")
    logging_steps: float = option(10, "steps between two logged losses")
    logging_nan_inf_filter: bool = option(False, "a loss that is not finite is an error, and not hidden")
    report_to: str | None = option("none", "trackers: none, tensorboard, wandb, ...")
    remove_unused_columns: bool = option(False, "has to stay off: the batches are this project's own")
    num_train_epochs: float | None = option(None, "refused: --stage1_epochs and --stage2_epochs say it")
    label_smoothing_factor: float | None = option(None, "refused: --option_smoothing says it")
    data_seed: int | None = option(None, "seed of the order of batches and of what is asked; by default --seed")
    metric_for_best_model: str | None = option("accuracy", "validation metric whose best weights are kept")
    patience: int = option(
        0, "end a stage after this many validations without a better --metric_for_best_model; 0: never"
    )
    max_minutes: float = option(
        0.0, "limit of wall time from start to adapter, features and validation included; each stage gets its share by epochs, "
        "and its schedule ends with it; a resumed run goes on counting; 0: none"
    )  # fmt: skip
    resume: bool = option(False, "continue in output_dir; equal to no interruption")
