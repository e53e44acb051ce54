"""Cost of training: `python -m benchmarks.train [--data NAME=DIR]`.

1. `epoch`: an epoch from the feature cache against one that encodes the audio again, over the training clips
   of a corpus (by default a small synthetic one).
2. `throughput`: FAS at the paper's size (batch 2048, synthetic features of 3 s clips, 1280 and 64 wide), as
   clips per second and as shares of the memory bandwidth and of the matrix product rate that the same run
   measures; on the CPU, and on a GPU where there is one.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import exit_code, machine, matmul_rate, memory_bandwidth, run_modes, seconds_of, write_result
from fas_core.audio import load_audio
from fas_core.batching import collate
from fas_core.configuration_fas import FASConfig
from fas_core.data import load_corpus
from fas_core.encoders.base import ClipFeatures
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import FASError
from fas_core.features.cache import FeatureCache
from fas_core.losses import classification_loss
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.outputs import FASOutput
from fas_core.sources import audio_digest
from fas_core.training.arguments import (
    DataArguments,
    ModelArguments,
    TrainingArguments,
    fas_config,
    parse_pairs,
    stream_config,
)
from fas_core.training.data import load_clips
from fas_core.training.fas import new_model
from fas_core.training.loop import Trainer

PATCHES = 30  # 3 s: 50 frames a second, 5 frames a patch
FLOAT = 4  # bytes of a float32
GROUP = 128  # clips of which the audio is in memory at once


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.train", description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="NAME=DIR", help="corpus; default: a synthetic one")
    parser.add_argument("--clips", type=int, default=300, help="of the synthetic corpus (%(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="epochs measured from the cache (%(default)s)")
    parser.add_argument("--batch", type=int, default=2048, help="global batch of part 2 (%(default)s)")
    parser.add_argument("--micro-batch", type=int, default=256, help="clips a forward pass (%(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="steps measured in part 2 (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/train.json"))
    return parser.parse_args(argv)


def measure_epoch(corpus: str, folder: Path, epochs: int) -> dict:
    """Part 1. "Encoding again" is reading and encoding every training clip, batched by length with the code
    that fills the cache, and then the same epoch of training.
    """
    data, model = DataArguments(corpora=[corpus], cache_dir=str(folder / "cache")), ModelArguments()
    streams = stream_config(data, model)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    extractor = FeatureExtractor.from_config(streams, device=accelerator.device)
    clips, _, account = load_clips(data, 42, extractor)
    name, place = parse_pairs(data.corpora, "--data")[0]
    paths = [row["audio"] for row in load_corpus(name, place) if row["split"] == "train"]
    encoding = seconds_of(lambda: encode(paths, extractor), accelerator.device)
    cache = FeatureCache(Path(data.cache_dir), extractor.identity())
    digests = [audio_digest(path) for path in paths]
    reading = seconds_of(lambda: [cache.get(digest) for digest in digests if digest in cache])
    fas = new_model(fas_config(model, extractor.dimensions, streams, extractor.digest), clips, 42)

    def fit(number: int) -> None:
        arguments = TrainingArguments(output_dir=str(folder / "run"), epochs=number, save_every=10**6)
        Trainer(fas, arguments, clips, None, accelerator).fit()

    fit(1)  # warm-up
    training = seconds_of(lambda: fit(epochs), accelerator.device) / epochs
    return {
        "corpus": name,
        "clips": len(clips),
        "encoder": data.encoder,
        "encode_s": encoding,
        "read_cache_s": reading,
        "train_s": training,
        "epoch_encoding_again_s": encoding + training,
        "first_epoch_from_cache_s": reading + training,
        "epoch_from_cache_s": training,
        "times_faster_first_epoch": (encoding + training) / (reading + training),
        "times_faster": (encoding + training) / training,
        "failed": sum(len(part["failed"]) for part in account["corpora"]),
        "machine": machine(accelerator.device),
    }


def encode(paths: list[str], extractor: FeatureExtractor) -> None:
    """Features of every file, which are then forgotten."""
    for start in range(0, len(paths), GROUP):
        extractor([load_audio(path).samples for path in paths[start : start + GROUP]])


def paper_clips(count: int, config: FASConfig) -> list[ClipFeatures]:
    """Random features of 3 s clips."""
    rng = np.random.default_rng(0)

    def patches(dim: int) -> np.ndarray:
        return rng.standard_normal((PATCHES, dim), dtype=np.float32)

    return [
        ClipFeatures(patches(config.acoustic_dim), patches(config.semantic_dim), 5 * PATCHES, 5 * PATCHES)
        for _ in range(count)
    ]


class PaperStep:
    """One optimiser step of the paper's FAS, over micro-batches as `fas_core.training.loop` does it."""

    def __init__(self, device: torch.device):
        torch.manual_seed(0)
        self.config, self.device = FASConfig.paper(), device
        self.model = FASForEmotionClassification(self.config).to(device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 2e-4, weight_decay=1e-4, foreach=True)

    def batches(self, clips: list[ClipFeatures], size: int) -> Iterable[dict[str, torch.Tensor]]:
        """Micro-batches on the device, with labels."""
        for start in range(0, len(clips), size):
            batch = collate(clips[start : start + size])
            labels = torch.arange(len(batch["acoustic"])) % self.config.num_labels
            yield {k: v.to(self.device) for k, v in (batch | {"labels": labels}).items()}

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[FASOutput, torch.Tensor]:
        output = self.model(**{k: v for k, v in batch.items() if k != "labels"})
        return output, classification_loss(output, batch["labels"])

    def __call__(self, batches: Iterable[dict[str, torch.Tensor]]) -> None:
        for batch in batches:
            self.forward(batch)[1].backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def activation_bytes(self, batch: dict[str, torch.Tensor]) -> int:
        """What autograd keeps of a forward pass for the backward pass, parameters and inputs apart."""
        known = {t.untyped_storage().data_ptr() for t in [*self.model.parameters(), *batch.values()]}
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = self.forward(batch)  # held, so that no storage is used twice
        del result
        return sum(size for place, size in kept.items() if place not in known)

    def operations(self, batch: dict[str, torch.Tensor]) -> int:
        """Floating-point operations of the matrix products, forward and backward."""
        with FlopCounterMode(display=False) as counter:
            self.forward(batch)[1].backward()
        self.optimizer.zero_grad()
        return counter.get_total_flops()


def step_bytes(parameters: int, micro_batches: int, features: int, activations: int) -> dict[str, int]:
    """Bytes that one optimiser step has to move, float32, if each operation is fused with its neighbours.

    * parameters: read by every forward and every backward pass: 2 m x 4 P
    * gradients: written by the first backward pass, read and written by the others (accumulation), read by
      the optimiser: 2 m x 4 P
    * optimizer: AdamW reads and writes parameters and both moments: 6 x 4 P
    * features: read once
    * activations: what autograd keeps is written once and read once

    Args:
        parameters: P. micro_batches: m.
        features, activations: bytes of a whole global batch.
    """
    size = FLOAT * parameters
    parts = {
        "parameters": 2 * micro_batches * size,
        "gradients": 2 * micro_batches * size,
        "optimizer": 6 * size,
        "features": features,
        "activations": 2 * activations,
    }
    return parts | {"total": sum(parts.values())}


def measure_throughput(device: torch.device, batch: int, micro_batch: int, steps: int) -> dict:
    """Part 2, on one device. `from_memory` adds what the loop does for each batch: collating clips that lie
    in main memory, and the way to the device.
    """
    step = PaperStep(device)
    clips = paper_clips(batch, step.config)
    batches = list(step.batches(clips, micro_batch))
    share = sum(len(b["labels"]) for b in batches) / len(batches[0]["labels"])
    moved = step_bytes(
        step.model.num_parameters(),
        len(batches),
        sum(b[s].nbytes for b in batches for s in ("acoustic", "semantic")),
        int(share * step.activation_bytes(batches[0])),
    )
    operations = share * step.operations(batches[0])
    bandwidth, products = memory_bandwidth(device), matmul_rate(device)
    step(batches)  # warm-up
    computing = min(seconds_of(lambda: step(batches), device) for _ in range(steps))
    whole = min(seconds_of(lambda: step(step.batches(clips, micro_batch)), device) for _ in range(steps))
    return {
        "batch": batch,
        "micro_batch": micro_batch,
        "clip_seconds": PATCHES / 10,
        "parameters": step.model.num_parameters(),
        "step_s": computing,
        "clips_per_second": batch / computing,
        "from_memory": {"step_s": whole, "clips_per_second": batch / whole},
        "bytes_per_step": moved,
        "bandwidth_bytes_per_s": bandwidth,
        "share_of_bandwidth": moved["total"] / computing / bandwidth,
        "operations_per_step": operations,
        "matmul_operations_per_s": products,
        "share_of_matmul_rate": operations / computing / products,
        "machine": machine(device),
    }


def run(arguments: argparse.Namespace, folder: Path) -> dict:
    corpus = arguments.data
    if corpus is None:
        from fas_core.synth.corpus import render_corpus

        corpus = f"manifest={render_corpus(folder / 'corpus', clips=arguments.clips).parent}"
    devices = [torch.device("cpu")] + [torch.device("cuda")] * torch.cuda.is_available()
    sizes = arguments.batch, arguments.micro_batch, arguments.steps
    modes = {"epoch": partial(measure_epoch, corpus, folder, arguments.epochs)}
    modes |= {f"throughput on {device}": partial(measure_throughput, device, *sizes) for device in devices}
    return run_modes(modes, lambda found: write_result(arguments.output, as_result(found)))


def as_result(found: dict[str, dict]) -> dict:
    """The parts that are done, as the file has them."""
    epoch = {"epoch": found["epoch"]} if "epoch" in found else {}
    return epoch | {"throughput": [part for name, part in found.items() if name != "epoch"]}


def report(result: dict) -> None:
    epoch = result["epoch"]
    if "error" not in epoch:
        print(
            f"epoch over {epoch['clips']} clips: {epoch['epoch_encoding_again_s']:.1f} s encoding again, "
            f"{epoch['epoch_from_cache_s']:.2f} s from the cache: {epoch['times_faster']:.0f} times faster"
        )
    for part in (part for part in result["throughput"] if "error" not in part):
        bandwidth, products = part["bandwidth_bytes_per_s"] / 1e9, part["matmul_operations_per_s"] / 1e9
        print(
            f"{part['machine']['device']}: {part['clips_per_second']:.0f} clips/s, "
            f"{100 * part['share_of_bandwidth']:.1f}% of {bandwidth:.1f} GB/s, "
            f"{100 * part['share_of_matmul_rate']:.0f}% of {products:.0f} GFLOP/s"
        )


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = run(arguments, Path(folder))
    except FASError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report(as_result(found))
    return exit_code(found)


if __name__ == "__main__":
    sys.exit(main())
