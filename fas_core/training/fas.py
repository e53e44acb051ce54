"""The training command: arguments, clips, model, loop, calibration, checkpoint, table."""

import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import is_tensorboard_available, set_seed
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sklearn.metrics import f1_score, recall_score

from fas_core.calibration import apply_temperature, expected_calibration_error, fit_temperature
from fas_core.cli import from_dataclasses
from fas_core.cli.train import CLASSES, main
from fas_core.configuration_fas import TRAINED, UNTRAINED
from fas_core.discriminant import SPLITS, fit_with_held_out, within_emotion_directions
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import FASError, MissingDependencyError
from fas_core.familiarity import fit_familiarity, groups_of
from fas_core.inference import HEADS, predict_logits
from fas_core.model_files import read_object
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.provenance import provenance
from fas_core.training.arguments import DataArguments, ModelArguments, TrainingArguments, fas_config, stream_config
from fas_core.training.clips import UNKNOWN, Clips, concatenate
from fas_core.training.corpora import corpus_names, discriminant_corpora, held_out_groups
from fas_core.training.data import load_clips
from fas_core.training.loop import Trainer
from fas_core.training.residual import keep_tone_logits
from fas_core.training.resume import clear_resume_state
from fas_core.training.saving import save_checkpoint
from fas_core.training.words import find_teacher, fit_words_head, tell_untrained, why_untrained

MAX_STATISTICS = 50_000  # clips, variants counted, that the discriminant is fitted on: they are held in memory

console = Console()


def parse(argv: list[str]) -> tuple[DataArguments, ModelArguments, TrainingArguments]:
    """YAML file first (optional), then flags, with the paper's defaults. Raises as `from_dataclasses.parse`."""
    return from_dataclasses.parse(CLASSES, argv, "train/fas.py")


def train(data: DataArguments, model_arguments: ModelArguments, arguments: TrainingArguments) -> dict:
    """Run a whole training; returns the summary that is also written to `training.json`."""
    start = time.time()
    accelerator = _accelerator(arguments)
    set_seed(arguments.seed)
    accelerator.init_trackers("fas", config=_flat(asdict(arguments)))
    streams = stream_config(data, model_arguments)
    extractor = FeatureExtractor.from_config(streams, device=accelerator.device)
    process = (accelerator.process_index, accelerator.num_processes)
    wait = accelerator.wait_for_everyone
    clips, validation, account = load_clips(
        data, arguments.seed, extractor, process, wait, augment_validation=arguments.refit,
        teacher_for=lambda cache: find_teacher(data, extractor, streams, cache, process, wait),
    )  # fmt: skip
    if validation is None and (given := [n for n in ("patience", "refit") if getattr(arguments, n)]):
        raise FASError(
            f"--{given[0]}: there are no validation clips to go by; drop it, or give --validation_fraction above 0"
        )
    config = fas_config(model_arguments, extractor.dimensions, streams, extractor.digest)
    wordless = why_untrained(clips) if config.pathway_heads else None
    config.semantic_head = UNTRAINED if wordless else TRAINED
    if wordless and accelerator.is_main_process:
        tell_untrained(wordless)
    model = new_model(config, clips, arguments.seed, arguments)
    trainer = Trainer(model, arguments, clips, validation, accelerator)
    if (finished := _finished(trainer)) is not None:
        return finished
    history, again = trainer.fit(), None
    calibrated = calibrated_heads(config, clips, arguments)
    summary = calibrate(model, validation, calibrated) if validation is not None else {}
    if arguments.refit and validation is not None:
        model, again = refit(model.config, arguments, trainer, concatenate([clips, validation]), accelerator)
    model = model.to("cpu")
    result = dict(
        best_epoch=trainer.best_epoch, fingerprint=trainer.fingerprint_digest(), validation=summary, history=history, data=account,
        semantic_head=config.semantic_head, wordless=wordless,
        arguments=dict(data=asdict(data), model=asdict(model_arguments), training=asdict(arguments)),
        parameters=model.num_parameters(), streams=extractor.identity(), provenance=provenance(),
        seconds=round(time.time() - start, 1),
    )  # fmt: skip
    if accelerator.is_main_process:
        save_checkpoint(model, extractor, Path(arguments.output_dir), result)
        _print_table(result)
        for done in (again, trainer):
            if done is not None:
                done.finish()
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return result


def _finished(trainer: Trainer) -> dict | None:
    """What the same run left behind, if it is resumed after its end; None where there is something to do."""
    output = trainer.output
    complete = (output / "config.json").is_file() and (output / "training.json").is_file()
    if not trainer.arguments.resume or not complete:
        return None
    result = read_object(output / "training.json")
    if result.get("fingerprint") != trainer.fingerprint_digest():
        return None
    if trainer.accelerator.is_main_process:
        console.print(f"{escape(str(output))}: finished already, there is nothing to resume")
        for folder in (output / "refit", output):
            clear_resume_state(folder)
    return result


def _accelerator(arguments: TrainingArguments) -> Accelerator:
    if arguments.tracker == "tensorboard" and not is_tensorboard_available():
        raise MissingDependencyError("--tracker tensorboard needs a package: pip install 'fas-alm[trackers]'")
    # accelerate sees one process on a machine without a GPU unless it is told that this is meant.
    cpu = arguments.cpu or not torch.cuda.is_available()
    if cpu and arguments.mixed_precision == "fp16":
        raise FASError("--mixed_precision fp16 needs a GPU; on the CPU no or bf16")
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=arguments.mixed_precision,
        log_with=None if arguments.tracker == "none" else arguments.tracker,
        project_dir=arguments.output_dir,
    )
    if accelerator.num_processes == 1 and not cpu and (gpus := torch.cuda.device_count()) > 1:
        console.print(
            f"one process trains on one GPU; `accelerate launch --num_processes {gpus} train/fas.py ...` uses all {gpus}"
        )
    return accelerator


def calibrated_heads(config, clips: Clips, arguments: TrainingArguments) -> tuple[str, ...]:
    """Heads that validation voices make no surer: the discriminant has its temperature from corpora that it had not met, and so has
    the fused answer where it has a share of it.
    """
    several = len(set(corpus_names(clips)[clips.labels >= 0])) > 1
    if arguments.temperature_on != "corpora" or not several or not config.head_shrinkage:
        return ()
    return ("fused", "acoustic") if config.ensemble or config.residual else ("acoustic",)


def new_model(
    config, clips: Clips, seed: int, arguments: TrainingArguments | None = None
) -> FASForEmotionClassification:
    """A model initialised from the seed, with the training set's feature statistics where it standardises.

    Args:
        arguments: how clips of several corpora count; all alike by default.
    """
    torch.manual_seed(seed)
    if config.familiarity:
        known = clips.labels >= 0
        config.familiar_groups = len(np.unique(groups_of(corpus_names(clips)[known], clips.labels[known])))
    model = FASForEmotionClassification(config)
    if config.standardise:
        model.set_feature_statistics(clips.statistics())
    if config.head_shrinkage:
        fit_acoustic_head(model, clips, arguments or TrainingArguments())
    if config.standardise and "semantic" in model.pathway and clips.semantic_targets is not None:
        fit_semantic_head(model, clips)
    return model


def fit_acoustic_head(model: FASForEmotionClassification, clips: Clips, arguments: TrainingArguments) -> None:
    """The discriminant of the labelled clips, in all their variants, becomes the acoustic head; the summary is whitened by it."""
    config, labelled = model.config, np.flatnonzero(clips.labels >= 0)
    variants = clips.variants[: max(1, MAX_STATISTICS // max(1, len(labelled)))]
    rows = [(int(i), variant) for variant in variants for i in labelled]
    statistics = acoustic_statistics(model, clips, rows)
    indices = np.array([i for i, _ in rows], dtype=np.int64)
    labels, corpora = clips.labels[indices], discriminant_corpora(clips, indices, arguments)
    groups, splits = held_out_groups(clips, indices, arguments)
    discriminant, held_out = fit_with_held_out(
        statistics, labels, groups, config.head_shrinkage, config.head_deviation_weight, corpora, splits or SPLITS
    )
    model.pathway["acoustic"].set(discriminant)
    if config.familiarity:
        model.fas.familiarity.set(
            *fit_familiarity(statistics, groups_of(corpus_names(clips)[indices], labels), config.familiarity)
        )
    if config.residual:
        keep_tone_logits(clips, rows, held_out)
    if config.whitening:
        directions = within_emotion_directions(statistics, labels, config.head_shrinkage, config.whitening, corpora)
        model.fas.within_emotion.copy_(torch.from_numpy(directions))


def fit_semantic_head(model: FASForEmotionClassification, clips: Clips) -> None:
    """The semantic head is fitted to its optimum before training, and stays: how many epochs suit the fused answer is no matter of its.

    Of the clips as they are; variants sound otherwise and say the same.
    """
    worded = np.flatnonzero(clips.semantic_labels != UNKNOWN)
    statistics = clip_statistics(model, clips, [(int(i), "") for i in worded], "semantic")
    model.pathway["semantic"].set(fit_words_head(statistics, clips.semantic_targets[worded]))


def acoustic_statistics(model: FASForEmotionClassification, clips: Clips, rows: list[tuple[int, str]]) -> np.ndarray:
    """(N, 2 D) of the acoustic stream."""
    return clip_statistics(model, clips, rows, "acoustic")


def clip_statistics(
    model: FASForEmotionClassification, clips: Clips, rows: list[tuple[int, str]], stream: str
) -> np.ndarray:
    """(N, 2 D) standardised statistics of clips in given variants, those that the model computes of their patches."""
    statistics = np.empty((len(rows), 2 * getattr(model.config, f"{stream}_dim")), dtype=np.float32)
    device = model.fas.standardise[stream].mean.device
    for i, row in enumerate(rows):
        clip = clips.features(*row)
        mean = np.asarray(getattr(clip, stream), dtype=np.float32).mean(0)
        found = (
            torch.from_numpy(x).to(device)[None]
            for x in (mean, np.asarray(getattr(clip, f"{stream}_deviation"), np.float32))
        )
        with torch.no_grad():
            statistics[i] = model.fas.standardised_statistics(*found, stream)[0].cpu().numpy()
    return statistics


def refit(config, arguments: TrainingArguments, chosen: Trainer, clips: Clips, accelerator):
    """A new model trained on all clips for the epochs that were chosen, and its trainer; temperatures stay those of the first one."""
    epochs = chosen.best_epoch + 1 if arguments.keep == "best" else len(chosen.history)
    model = new_model(config, clips, arguments.seed, arguments)
    again = Trainer(model, arguments, clips, None, accelerator, Path(arguments.output_dir) / "refit", epochs)
    again.fit()
    return model, again


def calibrate(model: FASForEmotionClassification, clips: Clips, calibrated: tuple[str, ...] = ()) -> dict:
    """Fit a temperature per head on validation clips; returns the metrics of each head before and after.

    Args:
        calibrated: heads whose temperature stays as it is.
    """
    lengths = [len(clips.features(i, "").acoustic) for i in range(len(clips))]
    logits = predict_logits(model, lambda i: clips.features(i, ""), lengths)
    summary = {}
    for head in HEADS:
        labels = clips.semantic_labels if head == "semantic" else clips.labels
        values = getattr(logits, head)
        known = (labels != UNKNOWN) & np.isfinite(values).all(1)
        if known.sum() < 2:
            continue
        if head == "semantic" and clips.semantic_targets is not None:
            temperature = _soft_temperature(values[known], clips.semantic_targets[known])
        else:
            temperature = 1.0 if head in calibrated else fit_temperature(values[known], labels[known])
        setattr(model.config, "temperature" if head == "fused" else f"{head}_temperature", temperature)
        summary[head] = head_metrics(values[known], labels[known], temperature)
    return summary


def _soft_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Temperature of least cross-entropy with probabilities (N, 7): each clip counts as each emotion by its probability."""
    emotions = targets.shape[1]
    labels = np.tile(np.arange(emotions), len(targets))
    return fit_temperature(np.repeat(logits, emotions, axis=0), labels, targets.ravel())


def head_metrics(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict:
    """Accuracy, UA, macro-F1 and ECE of one head."""
    predicted = logits.argmax(1)
    return dict(
        clips=len(labels),
        accuracy=float((predicted == labels).mean()),
        ua=float(recall_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)),
        macro_f1=float(f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)),
        ece_before=float(expected_calibration_error(apply_temperature(logits, 1.0), labels)),
        ece=float(expected_calibration_error(apply_temperature(logits, temperature), labels)),
        temperature=float(temperature),
    )


def _print_table(result: dict) -> None:
    kept_best = result["arguments"]["training"]["keep"] == "best" and result["best_epoch"] >= 0
    epoch = result["best_epoch"] + 1 if kept_best else len(result["history"])
    table = Table(title=f"validation, epoch {epoch} (WA, UA, macro-F1, ECE in %)")
    for column in ("head", "clips", "WA", "UA", "macro-F1", "ECE before", "ECE", "temperature"):
        table.add_column(column, justify="left" if column == "head" else "right")
    for head, m in result["validation"].items():
        percents = [f"{100 * m[k]:.1f}" for k in ("accuracy", "ua", "macro_f1", "ece_before", "ece")]
        table.add_row(head, str(m["clips"]), *percents, f"{m['temperature']:.2f}")
    console.print(table)
    for corpus in result["data"]["corpora"]:
        for failure in corpus["failed"]:
            console.print(f"[yellow]left out[/] {escape(failure['error'])}")


def _flat(values: dict) -> dict:
    return {k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in values.items()}


if __name__ == "__main__":
    sys.exit(main())
