"""Every item spoken once: a folder of FLAC files and `renders.jsonl`, what each was made from; a stopped run goes on.

A take counts as long as text, voice, instructions and generator are those that it was made from and its file is unchanged;
anything else is spoken anew. A generator is not asked twice for the same.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

import soundfile
from tqdm import tqdm

from fas_core.atomic import atomic_path, write_text
from fas_core.audio import AudioLimits, load_audio
from fas_core.errors import AudioError, FASError
from fas_core.paths import is_inside
from fas_core.sources import audio_digest
from fas_eval.case.scenarios import Scenario, check_id, check_language
from fas_eval.case.speakers import Voice
from fas_eval.case.speech import Generator, SpeechError

RECORDS = "renders.jsonl"
LIMITS = AudioLimits(
    max_bytes=50_000_000, min_seconds=0.5, max_seconds=60
)  # of one sentence; else something went wrong


@dataclass(frozen=True)
class Take:
    """One spoken item.

    Attributes:
        item: what was said. speaker, gender: the voice. generator: its title. instructions: how it was to be spoken.
        request: sha256 of all that decided the sound. sha256: of the file. seconds: of speech.
    """

    item: Scenario
    speaker: str
    gender: str
    generator: str
    instructions: str
    request: str
    sha256: str
    seconds: float

    def __post_init__(self):
        check_id(self.item.id)
        check_language(self.item.language)

    @property
    def file(self) -> str:
        """Below the folder."""
        return f"audio/{self.item.id}.flac"

    @property
    def key(self) -> str:
        """The take's name for listeners: tells nothing, and changes with the audio, so that votes never pass to another take."""
        return hashlib.sha256(f"{self.item.id}/{self.sha256}".encode()).hexdigest()[:12]

    @classmethod
    def from_dict(cls, values: dict) -> "Take":
        return cls(**{**values, "item": Scenario(**values["item"])})


@dataclass
class RenderReport:
    """`takes`: all that are there now. `rendered`: ids spoken in this run. `failed`: id -> why."""

    takes: list[Take] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def render(
    items: Sequence[Scenario],
    voices: Mapping[str, Voice],
    generator: Generator,
    out: str | Path,
    *,
    workers: int = 1,
    progress: bool = False,
) -> RenderReport:
    """Speak every item that `out` does not hold yet.

    Args:
        voices: item id -> voice, from `assign_speakers`. out: folder; new, or of an earlier run.
        workers: requests at a time. progress: show a bar.

    Raises:
        FASError: where no item can succeed (a key that is refused, say); what was spoken until then stays.
    """
    out = Path(out)
    known = {take.item.id: take for take in read_records(out)}
    wanted = [_blank(item, voices[item.id], generator) for item in items]
    report = RenderReport()
    todo = []
    for take in wanted:
        old = known.get(take.item.id)
        if old and old.request == take.request and _unchanged(out, old):
            report.takes.append(Take(**{**vars(take), "sha256": old.sha256, "seconds": old.seconds}))
        else:
            todo.append(take)
    try:
        for take, outcome in _spoken(todo, generator, out, workers, progress):
            if isinstance(outcome, Take):
                _append(out, outcome)
                report.takes.append(outcome)
                report.rendered.append(take.item.id)
            else:
                report.failed[take.item.id] = outcome
    finally:
        current = {take.item.id: take for take in report.takes}
        outdated = {take.item.id for take in todo}
        _write_records(
            out, [take for name, take in {**known, **current}.items() if name in current or name not in outdated]
        )
    report.takes.sort(key=lambda take: take.item.id)
    return report


def read_takes(out: str | Path) -> list[Take]:
    """The takes of a folder, by id.

    Raises:
        FASError: none there, or a file that is missing or was changed since.
    """
    out = Path(out)
    takes = sorted(read_records(out), key=lambda take: take.item.id)
    if not takes:
        raise FASError(f"{out}: no takes ({RECORDS}); render first: python -m eval.case render {out}")
    for take in takes:
        if not _unchanged(out, take):
            raise FASError(
                f"{out / take.file}: missing, or not the file that was rendered; render again: it will be replaced"
            )
    return takes


def read_records(out: Path) -> Iterator[Take]:
    """Last line of each item; a line that a dying machine cut off is left out, and its item spoken again."""
    file = out / RECORDS
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n") if file.is_file() else []
    last: dict[str, Take] = {}
    for line in lines:
        try:
            take = Take.from_dict(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        last[take.item.id] = take
    return iter(last.values())


def _blank(item: Scenario, voice: Voice, generator: Generator) -> Take:
    """The take as it will be, without its audio."""
    instructions = generator.instructions(item)
    decides = [generator.identity(), item.text, item.language, voice.name, instructions]
    request = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return Take(item, voice.name, voice.gender, generator.title, instructions, request, sha256="", seconds=0.0)


def _spoken(
    takes: Sequence[Take], generator: Generator, out: Path, workers: int, progress: bool
) -> Iterator[tuple[Take, Take | str]]:
    """Each take with its finished self, or with why it failed."""
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(_speak, take, generator, out): take for take in takes}
        try:
            for future in tqdm(
                as_completed(futures), total=len(futures), desc="speaking", unit="item", disable=not progress
            ):
                try:
                    yield futures[future], future.result()
                except SpeechError as error:
                    yield futures[future], str(error)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # where no item can succeed, the others are not asked


def _speak(take: Take, generator: Generator, out: Path) -> Take:
    content, seconds = _as_flac(generator.speak(take.item, take.speaker))
    with atomic_path(out / take.file) as temporary:
        temporary.write_bytes(content)
    return Take(**{**vars(take), "sha256": hashlib.sha256(content).hexdigest(), "seconds": round(seconds, 3)})


def _as_flac(content: bytes) -> tuple[bytes, float]:
    """Checked audio as FLAC, at the rate that it has: streamed WAV comes with a header that says no length."""
    try:
        audio = load_audio(content, limits=LIMITS)
        samples, rate = soundfile.read(io.BytesIO(content), dtype="int16")
    except (AudioError, soundfile.LibsndfileError) as error:
        raise SpeechError(f"no usable audio came back: {str(error).removeprefix('<bytes>: ')}") from None
    if audio.is_silent or len(samples) == 0:
        raise SpeechError("silence came back")
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype="PCM_16", format="FLAC")
    return file.getvalue(), audio.duration


def _unchanged(out: Path, take: Take) -> bool:
    path = out / take.file
    return (
        path.is_file() and is_inside(out, path) and audio_digest(path) == take.sha256
    )  # a link's target may be anything


def _append(out: Path, take: Take) -> None:
    """On disk before the next one: a machine that dies loses no speech that was paid for."""
    with (out / RECORDS).open("a", encoding="utf-8") as file:
        file.write(_line(take))


def _write_records(out: Path, takes: Iterable[Take]) -> None:
    text = "".join(_line(take) for take in sorted(takes, key=lambda take: take.item.id))
    if text:
        write_text(out / RECORDS, text)


def _line(take: Take) -> str:
    return json.dumps(asdict(take), ensure_ascii=False) + "\n"
