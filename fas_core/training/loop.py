"""The training loop: the same numbers from one process or several, interrupted or not."""

import contextlib
import hashlib
import json
import logging
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from sklearn.metrics import f1_score
from tqdm.auto import tqdm

from fas_core.batching import collate
from fas_core.errors import CheckpointError, FASError, FeatureError
from fas_core.inference import Logits, predict_logits
from fas_core.losses import classification_loss, label_weight
from fas_core.model_files import reads_checkpoint
from fas_core.resuming import check_may_resume
from fas_core.training import schedule
from fas_core.training.arguments import TrainingArguments
from fas_core.training.clips import UNKNOWN, Clips
from fas_core.training.corpora import possible_emotions
from fas_core.training.invariance import Invariance
from fas_core.training.residual import residual_labels, tone_logits
from fas_core.training.resume import clear_resume_state, clips_digest, load_resume_state, save_resume_state

log = logging.getLogger(__name__)
FREE_ARGUMENTS = ("output_dir", "resume", "save_every", "tracker", "cpu", "patience")
# What a model's configuration holds besides the model: where its encoders lie, what is fitted afterwards.
FREE_CONFIG = (
    "streams", "temperature", "acoustic_temperature", "semantic_temperature", "transformers_version",
    "semantic_head",  # it follows from the clips
)  # fmt: skip


class Trainer:
    """Trains `FASForEmotionClassification` on clips with features.

    Args:
        model: the model, its feature statistics already set.
        arguments: optimisation settings.
        train, validation: the clips; without validation clips the last epoch is kept.
        accelerator: given by the caller, so that it is made once a process.
        output: folder of the resume state; the arguments' own by default.
        stop_after: epochs to train of the schedule, all by default.

    Raises:
        FASError: where there is nothing to train on.
    """

    def __init__(
        self,
        model,
        arguments: TrainingArguments,
        train: Clips,
        validation: Clips | None,
        accelerator: Accelerator,
        output: Path | None = None,
        stop_after: int | None = None,
    ):
        if not len(train):
            raise FeatureError("no training clip has features; see the list of failed files, and --corpora")
        self.arguments, self.train_clips, self.validation = arguments, train, validation
        self.accelerator, self.output = accelerator, Path(output or arguments.output_dir)
        self.epochs = stop_after or arguments.epochs
        self.raw_model, self.invariance = model, Invariance(model, arguments, train)
        self.trained = self.invariance.module  # the model, and what is trained with it and left behind
        self.optimizer = torch.optim.AdamW(
            self.trained.parameters(), arguments.learning_rate, weight_decay=arguments.weight_decay, foreach=True
        )
        self.model, self.optimizer = accelerator.prepare(self.trained, self.optimizer)
        self.lengths = np.array([len(train.features(i, "").acoustic) for i in range(len(train))])
        self.class_weights, self.clip_weights = self.invariance.class_weights, self.invariance.clip_weights
        self.labels = residual_labels(train) if model.config.residual else train.labels
        self.possible = torch.from_numpy(possible_emotions(train)) if arguments.mask_absent else None
        self.steps = schedule.steps_per_epoch(len(train), arguments.global_batch_size)
        self.history: list[dict] = []
        self.best: dict = {}
        self.best_score, self.best_epoch = -1.0, -1

    def fit(self) -> list[dict]:
        """Train to the end; the model then holds the kept weights. Returns the history, a dict per epoch."""
        first = self._resume() if self.arguments.resume else self._start_anew()
        bar = tqdm(
            total=self.epochs, initial=first, desc="training", unit="epoch",
            disable=not self.accelerator.is_main_process,
        )  # fmt: skip
        for epoch in range(first, self.epochs):
            if self._out_of_patience(epoch):
                break
            loss = self._train_epoch(epoch)
            self._end_epoch(epoch, loss)
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", **self._latest("macro_f1"))
        bar.close()
        if self.arguments.keep == "best" and self.best:
            self.raw_model.load_state_dict(self.best)
        return self.history

    def finish(self) -> None:
        """Remove the resume state, once what it led to is saved."""
        if self.accelerator.is_main_process:
            clear_resume_state(self.output)

    def _train_epoch(self, epoch: int) -> float:
        self.model.train()
        order = self.invariance.order(epoch, self.steps)
        total = 0.0
        for step in range(self.steps):
            size = self.arguments.global_batch_size
            total += self._train_step(epoch, step, order[step * size : (step + 1) * size])
        return total / self.steps

    def _train_step(self, epoch: int, step: int, clips: np.ndarray) -> float:
        """One optimiser step over a global batch. Returns its loss, averaged over all processes' clips."""
        done = epoch * self.steps + step
        factor = schedule.learning_rate_factor(done, self.arguments.epochs * self.steps, self.arguments.warmup_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = self.arguments.learning_rate * factor
        processes = self.accelerator.num_processes
        batches = schedule.micro_batches(
            clips, self.lengths, self.arguments.per_device_batch_size, processes, self.arguments.seed, epoch, step
        )
        totals = self._label_totals(clips)
        loss = torch.zeros((), device=self.accelerator.device)
        mine = batches[self.accelerator.process_index :: processes]
        for number, batch in enumerate(mine):
            last = number == len(mine) - 1
            with self._no_sync(not last):
                loss += self._backward(batch, totals, done / (self.arguments.epochs * self.steps))
        loss = float(self.accelerator.reduce(loss, "sum"))
        norm = self._clip()
        if not np.isfinite(loss) or not np.isfinite(norm):
            what = "a gradient is not finite" if np.isfinite(loss) else f"the loss is {loss}"
            raise FASError(
                f"{what} in epoch {epoch + 1}, step {step + 1} of {self.steps}: try a lower --learning_rate, --max_grad_norm 1, "
                "--standardise true, --mixed_precision no; the state of the epoch before is as it was"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def _clip(self) -> float:
        """Scale gradients down to `max_grad_norm`, where it is not 0; their norm before that."""
        limit = self.arguments.max_grad_norm or math.inf
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), limit)
        # in fp16 the loss is scaled up until a gradient overflows, and that step is left out
        return 0.0 if self.accelerator.scaler is not None else float(norm)

    def _no_sync(self, wanted: bool):
        """Gradients travel between processes once a step."""
        return self.accelerator.no_sync(self.model) if wanted else contextlib.nullcontext()

    def _label_totals(self, clips: np.ndarray) -> tuple[float, float, float]:
        """Total weight of the whole global batch's tones, words and domains; every process knows all, so nothing is sent."""
        weights = None if self.clip_weights is None else self.clip_weights[clips]
        return (
            label_weight(torch.from_numpy(self.labels[clips]), self.class_weights, weights),
            label_weight(torch.from_numpy(self.train_clips.words[clips]), None),
            self.invariance.domain_weight(clips),
        )

    def _backward(
        self, micro: schedule.MicroBatch, totals: tuple[float, float, float], progress: float
    ) -> torch.Tensor:
        """Forward and backward of one micro-batch. Returns its share of the loss."""
        torch.manual_seed(micro.seed)
        device = self.accelerator.device
        # An empty micro-batch still takes part in the exchange of gradients, with weight zero.
        indices = micro.indices if len(micro.indices) else np.zeros(1, dtype=np.int64)
        batch = {k: v.to(device) for k, v in self._augmented(indices, micro.seed).items()}
        labels = torch.from_numpy(self.labels[indices]).to(device)
        words = torch.from_numpy(self.train_clips.words[indices]).to(device)
        if not len(micro.indices):
            labels, words = torch.full_like(labels, UNKNOWN), torch.full_like(words, UNKNOWN if words.ndim == 1 else 0)
        with self.accelerator.autocast():
            mixing = self._mixing(indices, micro.seed)
            output, told = self.invariance.forward(self.model, progress, batch | dict(mixing=mixing))
            of_clips = [None if x is None else x[indices].to(device) for x in (self.clip_weights, self.possible)]
            loss = classification_loss(
                output,
                labels,
                words,
                self.class_weights.to(device),
                self.arguments.label_smoothing,
                totals[:2],
                mixing,
                *of_clips,
            ) + self.invariance.loss(output, told, indices, labels, (totals[0], totals[2]))
        # DDP averages gradients over the processes; the loss is already a share of the global mean.
        self.accelerator.backward(loss * self.accelerator.num_processes)
        return loss.detach()

    def _mixing(self, indices: np.ndarray, seed: int) -> tuple[torch.Tensor, float] | None:
        mixed = self.invariance.mixing(indices, seed)
        return mixed and (torch.from_numpy(mixed[0]).to(self.accelerator.device), mixed[1])

    def _augmented(self, indices: np.ndarray, seed: int) -> dict[str, torch.Tensor]:
        """The batch, each clip in a variant drawn for it; a whole pathway is dropped now and then."""
        rng = np.random.default_rng([seed, 1])
        variants = self.train_clips.variants
        drawn = rng.integers(len(variants), size=len(indices))
        batch = collate([self.train_clips.features(int(i), variants[v]) for i, v in zip(indices, drawn, strict=True)])
        chance = torch.from_numpy(rng.random(len(indices)))
        p = self.arguments.pathway_dropout / 2
        batch["acoustic_mask"] &= ~(chance < p)[:, None]
        batch["semantic_mask"] &= ~(chance > 1 - p)[:, None]
        if self.raw_model.config.residual:
            batch["tone_logits"] = tone_logits(self.train_clips, indices, drawn)
        return batch

    def validate(self) -> Logits:
        """Logits of the validation clips, each process its share."""
        clips, processes = self.validation, self.accelerator.num_processes
        mine = list(range(self.accelerator.process_index, len(clips), processes))
        lengths = [len(clips.features(i, "").acoustic) for i in mine]
        logits = predict_logits(self.raw_model, lambda j: clips.features(mine[j], ""), lengths)
        if processes == 1:
            return logits
        rows = {}
        for head, values in vars(logits).items():
            whole = torch.zeros(len(clips), values.shape[1], device=self.accelerator.device)
            whole[mine] = torch.from_numpy(values).to(whole)
            rows[head] = self.accelerator.reduce(whole, "sum").cpu().numpy()
        return Logits(**rows)

    def _end_epoch(self, epoch: int, loss: float) -> None:
        row = {"epoch": epoch, "loss": loss}
        if self.validation is not None:
            labels, predicted = self.validation.labels, self.validate().fused.argmax(1)
            known = labels != UNKNOWN
            row["accuracy"] = float((predicted == labels)[known].mean())
            row["macro_f1"] = float(
                f1_score(
                    labels[known], predicted[known], labels=np.unique(labels[known]), average="macro", zero_division=0
                )
            )
            if row["macro_f1"] > self.best_score:
                self.best_score, self.best_epoch = row["macro_f1"], epoch
                self.best = {k: v.detach().clone() for k, v in self.raw_model.state_dict().items()}
        self.history.append(row)
        self.accelerator.log(row, step=epoch)
        due = (epoch + 1) % self.arguments.save_every == 0 or epoch + 1 == self.epochs
        if self.accelerator.is_main_process and due:
            self._save(epoch + 1)

    def _save(self, epoch: int) -> None:
        info = dict(
            epoch=epoch, history=self.history, best_score=self.best_score, best_epoch=self.best_epoch,
            fingerprint=self._fingerprint(),
        )  # fmt: skip
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        save_resume_state(self.output, epoch, self.trained.state_dict(), self.best, optimizer, info)

    def _fingerprint(self) -> dict:
        """What a resumed run must share: arguments, model, clips. JSON-ready."""
        arguments = {k: v for k, v in asdict(self.arguments).items() if k not in FREE_ARGUMENTS}
        model = {k: v for k, v in self.raw_model.config.to_dict().items() if k not in FREE_CONFIG}
        clips = {"training clips": clips_digest(self.train_clips), "validation clips": clips_digest(self.validation)}
        return json.loads(json.dumps(arguments | model | clips))

    def fingerprint_digest(self) -> str:
        """sha256 (hex) of what a resumed run must share."""
        return hashlib.sha256(json.dumps(self._fingerprint(), sort_keys=True).encode()).hexdigest()

    def _start_anew(self) -> int:
        if self.accelerator.is_main_process:
            self.output.mkdir(parents=True, exist_ok=True)
            clear_resume_state(self.output)
        self.accelerator.wait_for_everyone()
        return 0

    def _resume(self) -> int:
        """Restore the state; the epoch to go on with.

        Raises:
            CheckpointError: when the state is of a run with other arguments or other clips.
        """
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        state = load_resume_state(self.output, optimizer)
        if state is None:
            log.warning("%s: no interrupted run to resume; training starts from the beginning", self.output)
            return 0
        weights, self.best, info = state
        check_may_resume(self.output, self._fingerprint(), info["fingerprint"], CheckpointError)
        with reads_checkpoint(self.output, "the resume state of this model; leave out --resume"):
            self.trained.load_state_dict(weights)
        self.history, self.best_score, self.best_epoch = info["history"], info["best_score"], info["best_epoch"]
        return info["epoch"]

    def _out_of_patience(self, epoch: int) -> bool:
        patience = self.arguments.patience
        return bool(patience) and self.best_epoch >= 0 and epoch - 1 - self.best_epoch >= patience

    def _latest(self, name: str) -> dict:
        return {name: f"{self.history[-1][name]:.3f}"} if name in self.history[-1] else {}
