"""Low-rank adaptation of Whisper's shallow layers, the encoder in the loop: statistics over frames, a linear head, balanced corpora."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from fas_core.atomic import write_json
from fas_core.audio import load_audio
from fas_core.cli.app import App, runner
from fas_core.cli.from_dataclasses import add_command
from fas_core.encoders.lora import add_lora, save_lora
from fas_core.encoders.whisper import WhisperBackbone
from fas_core.errors import AudioError, FASError
from fas_core.frontend import FrontEnd, FrontEndConfig
from fas_core.labels import EMOTIONS
from fas_core.paths import expanded
from fas_core.provenance import provenance
from fas_core.training.arguments import DataArguments, TrainingArguments, parse_layer
from fas_core.training.clips import Clips, label_indices
from fas_core.training.corpora import corpus_names, weights_of_clips
from fas_core.training.data import read_corpora
from fas_core.training.options import expect_between, option
from fas_core.training.schedule import balanced_order, learning_rate_factor

log = logging.getLogger(__name__)
LONGEST = 30 * 16_000  # samples of a clip; Whisper's window
MASKED_FRAMES, MASKED_BINS = 0.15, 10  # of each of two stretches: a share of the clip, and mel bands
TILT = 0.08  # deviation of a smooth channel, in Whisper's log-mel: 0.025 is 1 dB
SPEEDS = (0.9, 1.1)
ADAPTER = "adapter.safetensors"


@dataclass
class LoraArguments:
    """How the layers are adapted."""

    rank: int = option(8, "rank of each matrix's change")
    layers: str = option(
        "1,2,3,4", "layers of the encoder whose statistics the head reads; all up to the highest are adapted"
    )
    epochs: int = option(4, "passes over as many clips as there are, each corpus as often as any other")
    batch_size: int = option(32, "clips of a step")
    learning_rate: float = option(5e-4, "peak, cosine schedule")
    weight_decay: float = option(1e-2, "AdamW weight decay")
    head_dropout: float = option(0.3, "dropout on the statistics")
    label_smoothing: float = option(0.1, "of the emotions")
    augment: bool = option(True, "masks, channels and speeds on the log-mel, drawn for each clip and step")
    seed: int = option(42, "of order, masks, dropout and initial values")
    output_dir: str = option("runs/encoder-lora", "where adapter.safetensors goes", flag="output")
    cpu: bool = option(False, "train on the CPU even where there is a GPU")

    def __post_init__(self):
        expect_between(self, ("rank", "epochs", "batch_size"), 1)
        expect_between(self, ("learning_rate", "weight_decay", "seed"), 0)
        expect_between(self, ("head_dropout", "label_smoothing"), 0, 1)


def augmented(mel: Tensor, rng: np.random.Generator) -> Tensor:
    """A log-mel (M, 2T) at another speed, through another channel, with two stretches of time and of frequency masked by its mean
    (SpecAugment, Park et al. 2019).
    """
    bins, frames = mel.shape
    length = 2 * max(1, round(frames / rng.uniform(*SPEEDS) / 2))
    mel = F.interpolate(mel[None], length, mode="linear", align_corners=False)[0]
    curve = torch.from_numpy(rng.normal(0, TILT, (1, 1, 5)).astype(np.float32)).to(mel)
    mel = mel + F.interpolate(curve, bins, mode="linear", align_corners=True)[0, 0][:, None]
    mean = mel.mean()
    for _ in range(2):
        width, height = int(rng.uniform(0, MASKED_FRAMES) * length), int(rng.integers(0, MASKED_BINS + 1))
        start, low = int(rng.integers(0, length - width + 1)), int(rng.integers(0, bins - height + 1))
        mel[:, start : start + width] = mean
        mel[low : low + height] = mean
    return mel


def pooled(backbone: WhisperBackbone, mels: Sequence[Tensor], layers: Sequence[int]) -> Tensor:
    """(B, 2 L D): mean and deviation over the frames of each clip, of these layers stacked; with gradients, where they are on."""
    clips = [backbone._embed(mel.to(backbone.device, torch.float32)) for mel in mels]
    outputs = backbone._transform(torch.cat(clips)[None], lengths := [len(clip) for clip in clips], layers)
    frames = torch.cat([outputs[layer][0] for layer in layers], -1).split(lengths)
    means = torch.stack([clip.mean(0) for clip in frames])
    deviations = torch.stack(
        [((clip - mean).square().mean(0) + 1e-6).sqrt() for clip, mean in zip(frames, means, strict=True)]
    )
    return torch.cat([means, deviations], -1)


@torch.no_grad()
def pooled_all(
    backbone: WhisperBackbone, mels: Sequence[Tensor], layers: Sequence[int], batch_size: int = 64
) -> Tensor:
    """`pooled` of many clips, on the CPU: (N, 2 L D)."""
    order = sorted(range(len(mels)), key=lambda i: mels[i].shape[1])
    rows: list[Tensor] = [torch.empty(0)] * len(mels)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        for index, row in zip(batch, pooled(backbone, [mels[i] for i in batch], layers).cpu(), strict=True):
            rows[index] = row
    return torch.stack(rows)


def adapt(
    backbone: WhisperBackbone,
    mels: Sequence[Tensor],
    labels: np.ndarray,
    corpora: np.ndarray,
    class_weights: np.ndarray,
    layers: Sequence[int],
    arguments: LoraArguments,
    on_step: Callable[[int, int, float], None] = lambda step, total, loss: None,
) -> None:
    """Adapt the shallow layers of the backbone, in place.

    Args:
        mels: log-mels (M, 2T) of the clips as `LogMel` gives them.
        labels: (N,) emotions. corpora: (N,) numbers.
        class_weights: (7,), with the corpora weighing alike.
        on_step: told the step, the number of steps and the loss.
    """
    torch.manual_seed(arguments.seed)
    mean, deviation = _scales(backbone, mels, layers)
    adapted = add_lora(backbone.encoder, max(layers), arguments.rank)
    head = nn.Linear(len(mean), len(EMOTIONS)).to(backbone.device)
    nn.init.zeros_(head.weight)
    optimizer = torch.optim.AdamW(
        [*adapted, *head.parameters()], arguments.learning_rate, weight_decay=arguments.weight_decay
    )
    weights = torch.tensor(class_weights, dtype=torch.float32, device=backbone.device)
    steps = math.ceil(len(labels) / arguments.batch_size)
    for epoch in range(arguments.epochs):
        order = balanced_order(corpora, steps * arguments.batch_size, arguments.seed, epoch)
        for step in range(steps):
            done = epoch * steps + step
            for group in optimizer.param_groups:
                group["lr"] = arguments.learning_rate * learning_rate_factor(done, arguments.epochs * steps, 0.05)
            chosen = order[step * arguments.batch_size : (step + 1) * arguments.batch_size]
            rng = np.random.default_rng([arguments.seed, epoch, step])
            clips = [augmented(mels[i].float(), rng) if arguments.augment else mels[i] for i in chosen]
            statistics = (pooled(backbone, clips, layers) - mean) / deviation
            logits = head(F.dropout(statistics, arguments.head_dropout))
            truth = torch.from_numpy(labels[chosen]).to(backbone.device)
            loss = F.cross_entropy(logits, truth, weights, label_smoothing=arguments.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(adapted, 1.0)
            optimizer.step()
            on_step(done + 1, arguments.epochs * steps, float(loss.detach()))


def _scales(backbone: WhisperBackbone, mels: Sequence[Tensor], layers: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the statistics of up to 1,024 clips, before anything is adapted."""
    some = np.random.default_rng(0).permutation(len(mels))[:1024]
    rows = pooled_all(backbone, [mels[i] for i in some], layers)
    return rows.mean(0).to(backbone.device), rows.std(0).clamp(min=1e-3).to(backbone.device)


def log_mels(rows: list[dict], front_end: FrontEnd, backbone: WhisperBackbone) -> tuple[list[Tensor], list[int]]:
    """fp16 log-mels of the clips that can be read, at most 30 s of each, and which rows they are; the others are named in the log."""
    mels, read = [], []
    for number, row in enumerate(tqdm(rows, desc="log-mels", unit="clip")):
        try:
            samples = front_end(load_audio(row["audio"]).samples).samples
            mels.append(backbone.mel(samples[:LONGEST], "clip").half())
            read.append(number)
        except AudioError as error:
            log.warning("left out: %s", error)
    return mels, read


def train(data: DataArguments, arguments: LoraArguments) -> dict:
    """Adapt the encoder to the training clips of the corpora; returns what adapter.json holds."""
    start = time.time()
    device = torch.device("cpu" if arguments.cpu or not torch.cuda.is_available() else "cuda")
    layers = parse_layer(arguments.layers, "--layers")
    layers = layers if isinstance(layers, list) else [layers]
    backbone = WhisperBackbone(data.encoder, device=device)
    if not all(1 <= layer <= backbone.num_layers for layer in layers):
        raise FASError(f"--layers {arguments.layers}: expected numbers from 1 to {backbone.num_layers}, with commas")
    base = backbone.weights_sha256
    rows = [
        row
        for _, rows, tone in read_corpora(data, arguments.seed)
        if tone
        for row in rows
        if row["split"] == "train" and row["emotion"]
    ]
    mels, read = log_mels(rows, FrontEnd(FrontEndConfig(trim=data.trim, level=data.level)), backbone)
    labels = label_indices(rows[i]["emotion"] for i in read)
    names = [rows[i]["corpus"] for i in read]
    clips = Clips([rows[i]["id"] for i in read], labels, np.full(len(read), -100), features=None, corpora=names)
    weights = clips.class_weights(weights_of_clips(clips, TrainingArguments(corpus_balance=True)))
    bar = tqdm(desc="adapting", unit="step", total=arguments.epochs * math.ceil(len(read) / arguments.batch_size))

    def told(step: int, total: int, loss: float) -> None:
        bar.update()
        bar.set_postfix(loss=f"{loss:.3f}")

    adapt(
        backbone, mels, labels, np.unique(corpus_names(clips), return_inverse=True)[1], weights, layers, arguments, told
    )
    bar.close()
    output = Path(expanded(arguments.output_dir))
    save_lora(backbone.encoder, output / ADAPTER, base)
    result = dict(
        encoder=backbone.name, base_sha256=base, clips={n: names.count(n) for n in sorted(set(names))}, arguments=asdict(arguments),
        seconds=round(time.time() - start, 1), provenance=provenance(),
    )  # fmt: skip
    write_json(output / "adapter.json", result)
    print(f"{output / ADAPTER}: {len(read)} clips, {result['seconds']} s")
    return result


app = App()
add_command(app, (DataArguments, LoraArguments), lambda data, arguments: train(data, arguments) and None, __doc__)
main = runner(app, "train/encoder_lora.py")
