"""From corpora and conversations to what the trainer reads."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from fas_alm.conversations.conversation import Conversation, parts_of
from fas_alm.conversations.jsonl import read_conversations
from fas_alm.conversations.questions import Question
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.processing import FASAudioProcessor
from fas_alm.training.acoustic_cues import tell_cues
from fas_alm.training.arguments import DataArguments
from fas_alm.training.audio import AudioInputs, WindowFeatures
from fas_alm.training.examples import Example, ExampleEncoder
from fas_alm.training.frames import frozen_inputs
from fas_alm.training.plan import ExampleSet
from fas_alm.training.transcripts import find_transcripts
from fas_alm.transcript import Said, Spoken, is_transcript, transcript_line
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import FeatureError
from fas_core.features.cache import FeatureCache
from fas_core.inference import predict_logits
from fas_core.labels import EMOTIONS
from fas_core.paths import expanded
from fas_core.training.arguments import DataArguments as CorpusArguments
from fas_core.training.data import read_corpora
from fas_core.words.text_model import TextModel
from fas_core.words.types import NoWords

log = logging.getLogger(__name__)


@dataclass
class Material:
    """All that a training reads.

    Attributes:
        train: examples to learn.
        validation: prompts to score, with the right option; empty without validation.
        audio: inputs of every file.
        account: JSON-ready, what was used and what failed.
        digests: of the audio of each file, its content.
        tells_words: some clip has its words, or why it has none, behind its audio.
        cues: statistics of the acoustic cues that are told behind the audio (`Statistics.to_dict`), None without.
        fas_accuracy: of the FAS classifier on the validation clips, the mark to compare with; None without validation.
    """

    train: ExampleSet
    validation: list[Example]
    audio: AudioInputs
    account: dict
    digests: dict[str, str]
    tells_words: bool = False
    cues: dict | None = None
    fas_accuracy: float | None = None

    def digest(self) -> str:
        """sha256 (hex) of what is learned and scored, for a run that is resumed."""
        clips = [
            [self.digests[c["audio"]], c["id"], c["emotion"], c["semantic_emotion"], transcript_line(c.get("spoken"))]
            + ([list(c["cues"])] if c.get("cues") else [])
            for c in self.train.clips
        ]
        ready = [[e.prompt, e.answer, self._heard(e)] for e in self.train.ready]
        scored = [[e.prompt, e.label, self._heard(e)] for e in self.validation]
        return hashlib.sha256(json.dumps([clips, ready, scored]).encode()).hexdigest()

    def _heard(self, example: Example) -> list[str]:
        return [self.digests[file] for file in example.files]


@dataclass
class Sources:
    """Clips and conversations of both sides, before any audio is looked at."""

    clips: dict[str, list[dict]] = field(default_factory=lambda: {"train": [], "validation": []})
    conversations: dict[str, list[Conversation]] = field(default_factory=lambda: {"train": [], "validation": []})

    def files(self) -> list[str]:
        """All audio files, each once."""
        files = [clip["audio"] for side in self.clips.values() for clip in side]
        files += [path for side in self.conversations.values() for c in side for path in c.audio_paths]
        return list(dict.fromkeys(files))

    def keep(self, usable: Callable[[str], bool]) -> None:
        """Drop what needs a file that is not usable."""
        for side in ("train", "validation"):
            self.clips[side] = [clip for clip in self.clips[side] if usable(clip["audio"])]
            self.conversations[side] = [c for c in self.conversations[side] if all(map(usable, c.audio_paths))]


def load_material(
    data: DataArguments,
    seed: int,
    model: FASAudioForConditionalGeneration,
    processor: FASAudioProcessor,
    extractor: FeatureExtractor,
    *,
    train_fas: bool = False,
    process: tuple[int, int] = (0, 1),
    wait: Callable[[], None] = lambda: None,
) -> Material:
    """Read, extract what the cache lacks, and make prompts.

    Args:
        model, processor: whose FAS and tokens they are for; FAS stays where it is.
        extractor: the encoders that FAS was trained with.
        train_fas: keep features in the place of FAS's tokens.
        process: (index, number) of this process; wait: returns once every process has called it.

    Raises:
        FASError: a corpus or file that cannot be read as asked.
        FeatureError: nothing to train on is left.
    """
    sources = read_sources(data, seed)
    cache = FeatureCache(expanded(data.cache_dir), extractor.identity())
    features = WindowFeatures(sources.files(), extractor, cache, process, wait)
    usable = set(features)
    sources.keep(usable.__contains__)
    told = tell_words(
        sources, data.transcripts, features, extractor, model.config.fas_config.streams, cache, process, wait
    )
    statistics = tell_cues(sources, data, features.digests, cache, process, wait) if data.cues else None
    cued = {clip["audio"]: clip.get("cues") for clips in sources.clips.values() for clip in clips}
    audio = features if train_fas else frozen_inputs(features, model.fas, model.config, data.no_audio)
    encoder = ExampleEncoder(processor, audio)
    ready = [e for c in sources.conversations["train"] for e in encoder.examples(c)]
    train = ExampleSet(sources.clips["train"], ready, encoder)
    if not len(train):
        raise FeatureError(f"nothing to train on is left; {len(features.failed)} files failed, see --corpora")
    scored = _scored(sources)
    question = Question("choose", data.languages[0])
    validation = [_prompt(encoder, question, file, emotion, told.get(file), cued.get(file)) for file, emotion in scored]
    account = _account(sources, features.failed, extractor.digest) | {"transcripts": _told(told)}
    fas = fas_accuracy(model.fas, features, scored)
    tells = any(s is not None for s in told.values()) or any(map(_holds_words, sources.conversations["train"]))
    return Material(train, validation, audio, account, features.digests, tells, statistics, fas)


def tell_words(sources: Sources, source: str, features: WindowFeatures, *arguments) -> dict[str, Spoken]:
    """Gives each clip its words as "spoken", and each file; further arguments as of `find_transcripts`.

    Where no clip has any nothing is told: a model does not learn to read from reasons why there is nothing to read.
    """
    rows = [clip for side in sources.clips.values() for clip in side]
    told = find_transcripts(source, rows, features.digests, *arguments)
    if not any(isinstance(spoken, Said) for spoken in told.values()):
        told = {}
    for side, clips in sources.clips.items():
        sources.clips[side] = with_labels([{**clip, "spoken": told.get(clip["audio"])} for clip in clips])
    return told


def with_labels(clips: list[dict]) -> list[dict]:
    """Clips whose corpus does not say what emotion their words carry have that which the shipped text model reads in them."""
    model = TextModel.from_pretrained()
    unknown = [c for c in clips if c["semantic_emotion"] is None and isinstance(c["spoken"], Said)]
    readable = [c for c in unknown if c["spoken"].language in (None, *model.languages)]
    for clip, row in zip(readable, model([c["spoken"].text for c in readable]), strict=True):
        clip["semantic_emotion"] = EMOTIONS[row.argmax()]
    return clips


def _holds_words(conversation: Conversation) -> bool:
    parts = (part for message in conversation.messages for part in parts_of(message))
    return any(part["type"] == "text" and is_transcript(part["text"]) for part in parts)


def _told(told: Mapping[str, Spoken]) -> dict[str, int]:
    """How many files have words, and why others have none."""
    return dict(Counter(s.reason if isinstance(s, NoWords) else "told" for s in told.values() if s is not None))


def read_sources(data: DataArguments, seed: int) -> Sources:
    """Clips of the corpora and conversations of the files, by side; test sides are not looked at."""
    sources = Sources()
    if data.corpora:
        corpora = CorpusArguments(
            corpora=data.corpora, fold=data.fold, exclude=data.exclude, exclude_labels=data.exclude_labels,
            validation_fraction=data.validation_fraction,
        )  # fmt: skip
        for _, dataset, _ in read_corpora(corpora, seed):
            for row in dataset:
                if row["split"] in sources.clips and row["emotion"] is not None:
                    sources.clips[row["split"]].append(row)
    for path in data.conversations:
        for conversation in read_conversations(path):
            if conversation.split in sources.conversations:
                sources.conversations[conversation.split].append(conversation)
    if data.max_train_clips:
        clips = sources.clips["train"]
        chosen = np.random.default_rng(seed).permutation(len(clips))[: data.max_train_clips]
        sources.clips["train"] = [clips[i] for i in sorted(chosen)]
    return sources


def _scored(sources: Sources) -> list[tuple[str, str]]:
    """(file, emotion) of what validation asks about; conversations count where one audio has a known emotion."""
    conversations = [c for c in sources.conversations["validation"] if c.emotion and len(c.audio_paths) == 1]
    pairs = [(clip["audio"], clip["emotion"]) for clip in sources.clips["validation"]]
    return list(dict.fromkeys(pairs + [(c.audio_paths[0], c.emotion) for c in conversations]))


def _prompt(
    encoder: ExampleEncoder, question: Question, file: str, emotion: str, spoken: Spoken, cues: Sequence[str] | None
) -> Example:
    content = question.content({"type": "audio", "path": file}, spoken, cues)
    return encoder.prompt([{"role": "user", "content": content}], question.order.index(emotion))


def fas_accuracy(fas: torch.nn.Module, features: WindowFeatures, scored: Sequence[tuple[str, str]]) -> float | None:
    """Accuracy of the FAS classifier; of a file of several windows the mean of its probabilities is taken."""
    if not scored:
        return None
    windows = [(row, window) for row, (file, _) in enumerate(scored) for window in features[file]]
    logits = predict_logits(fas, lambda i: windows[i][1], [len(w.acoustic) for _, w in windows]).fused
    probabilities = np.zeros((len(scored), len(EMOTIONS)))
    np.add.at(probabilities, [row for row, _ in windows], torch.from_numpy(logits).softmax(-1).numpy())
    labels = np.array([EMOTIONS.index(emotion) for _, emotion in scored])
    return float((probabilities.argmax(1) == labels).mean())


def _account(sources: Sources, failed: list[dict], identity: str) -> dict:
    """What was used, by corpus."""
    counts: dict[str, dict] = {}
    for side in ("train", "validation"):
        names = [clip["corpus"] for clip in sources.clips[side]]
        names += [c.corpus or "conversations" for c in sources.conversations[side]]
        for name in names:
            counts.setdefault(name, {"corpus": name, "train": 0, "validation": 0})[side] += 1
    return {"corpora": list(counts.values()), "failed": failed, "identity": identity}


def warn_of_seen_validation(training: Mapping, account: Mapping) -> None:
    """A FAS that was trained again on its validation clips makes validation here look better than it is."""
    arguments = training.get("arguments", {})
    if arguments.get("training", {}).get("refit") and any(c["validation"] for c in account["corpora"]):
        log.warning(
            "this FAS was trained with --refit, also on its validation clips: where they are validation here too, accuracy and "
            "temperature will be too good; give --fas one that was trained without"
        )


def warn_of_acoustic_head(ensemble: float) -> None:
    """An LLM hears the fused tokens; what the acoustic head adds to FAS's answer is not in them."""
    if ensemble:
        log.warning(
            f"the answers of this FAS are {ensemble:.0%} those of its acoustic head, which its tokens do not carry: the adapter will "
            "fall behind its accuracy; give --fas one of train/configs/adapter_fas.yaml"
        )
