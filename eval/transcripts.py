"""What Whisper hears said in files, kept so that each is decoded once."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

from fas_alm.windows import cut_windows
from fas_core.atomic import write_json
from fas_core.audio import SAMPLE_RATE, audio_digest, load_audio
from fas_core.checkpoint import find_device
from fas_core.encoders.whisper import OFFLINE_PREFIX
from fas_core.errors import CheckpointError

BATCH = 8  # windows
SAVE_EVERY = 16  # batches


def transcripts(files: Sequence[str], whisper: str, cache_dir: Path) -> dict[str, str]:
    """file -> text. Windows are filled up to 30 s, as the decoder was trained.

    Args:
        files: audio files.
        whisper: hub id, directory or "offline:NAME", with decoder and tokenizer.
        cache_dir: where the texts are kept, by content.

    Raises:
        CheckpointError: no such Whisper.
    """
    store = cache_dir / f"transcripts-{hashlib.sha256(whisper.encode()).hexdigest()[:16]}.json"
    known: dict[str, str] = json.loads(store.read_text(encoding="utf-8")) if store.is_file() else {}
    digests = {file: audio_digest(file) for file in dict.fromkeys(files)}
    missing = {digest: file for file, digest in digests.items() if digest not in known}
    if missing:
        decoder = _Decoder(whisper)
        items = list(missing.items())
        starts = range(0, len(items), BATCH)
        for number, start in enumerate(tqdm(starts, desc="transcripts", unit="batch"), start=1):
            batch = items[start : start + BATCH]
            known.update(zip([d for d, _ in batch], decoder([f for _, f in batch]), strict=True))
            if number % SAVE_EVERY == 0 or start == starts[-1]:
                write_json(store, known)
    return {file: known[digest] for file, digest in digests.items()}


class _Decoder:
    def __init__(self, whisper: str):
        source = whisper
        if source.startswith(OFFLINE_PREFIX):
            from fas_core.encoders.offline import offline_whisper_dir

            source = str(offline_whisper_dir(source.removeprefix(OFFLINE_PREFIX)))
        try:
            self.features = WhisperFeatureExtractor.from_pretrained(source)
            self.tokenizer = AutoTokenizer.from_pretrained(source)
            model = WhisperForConditionalGeneration.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{whisper}: no Whisper with decoder and tokenizer (--whisper): {error}") from None
        self.model = model.eval().to(find_device(None))

    @torch.inference_mode()
    def __call__(self, files: list[str]) -> list[str]:
        windows = [cut_windows(load_audio(file).samples) for file in files]
        flat = [window for each in windows for window in each]
        mels = self.features(flat, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        options = {"task": "transcribe"} if getattr(self.model.generation_config, "is_multilingual", False) else {}
        tokens = self.model.generate(mels.to(self.model.device), do_sample=False, **options)
        texts = iter(self.tokenizer.batch_decode(tokens, skip_special_tokens=True))
        return [" ".join(next(texts).strip() for _ in each) for each in windows]
