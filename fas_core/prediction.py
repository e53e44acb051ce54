"""One run of `fas predict`: files in, answers out, progress on stderr."""

import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from fas_core.answers import Answer
from fas_core.audio import AudioLimits, claimed_seconds
from fas_core.encoders.weights import tensors_sha256
from fas_core.errors import FASError
from fas_core.pipeline import EmotionPipeline
from fas_core.provenance import package_versions
from fas_core.summaries import summarise
from fas_core.text import printable

BATCH_SECONDS = 60.0  # of audio that is answered together, and so lost together


class Run:
    """Answers files with a checkpoint.

    Args:
        options: of the command: timeline, window, hop, channels, speech_threshold, and what else decides the answers.
        prints: the answers go to the terminal, where windows of a timeline show by themselves that work goes on.

    Raises:
        FASError: a checkpoint, device or threshold that cannot be used.
    """

    def __init__(
        self,
        files: list[Path],
        checkpoint: str | None,
        device: str | None,
        options: dict,
        limits: AudioLimits,
        prints: bool,
    ):
        disable_progress_bar()  # of loading weights
        self.files, self.options, self.limits = files, options, limits
        self.pipeline = EmotionPipeline.from_pretrained(
            checkpoint,
            device=device,
            **{
                name: options[name]
                for name in ("speech_threshold", "unsure_below", "label_sets", "words", "words_model")
            },
        )
        prints = prints and sys.stdout.isatty()
        self.progress = Progress(len(files), rows=prints, windows=prints and options["timeline"])

    def facts(self, written: dict) -> dict:
        """What the answers depend on, JSON-ready. Args: written: how they are written."""
        return {
            **package_versions(("fas-alm",)),
            "checkpoint": tensors_sha256(self.pipeline.model.state_dict()),
            "encoders": self.pipeline.extractor.digest,
            **self.options,
            **written,
        }

    def answers(self, start: int) -> Iterator[tuple[Path, list[Answer] | Iterator[Answer]]]:
        """Each file from number `start` on, and its answers, in order."""
        files = self.files[start:]
        self.progress.skip(start)
        if self.options["timeline"]:
            groups = map(self._timeline, files)
        else:
            groups = self.pipeline.groups(
                files,
                limits=self.limits,
                channels=self.options["channels"],
                batch_seconds=BATCH_SECONDS,
                on_window=self.progress.window,
            )
        for file, group in zip(files, groups, strict=True):
            self.progress.end_windows()
            yield file, group
            self.progress.end_file()

    def _timeline(self, file: Path) -> Iterator[Answer]:
        """The windows, then of each channel their summary; a file that breaks midway has none."""
        window, hop, channels = (self.options[name] for name in ("window", "hop", "channels"))
        heard: dict[int | str | None, list[Answer]] = {}
        try:
            for answer in self.pipeline.timeline(file, window=window, hop=hop, channels=channels, limits=self.limits):
                self.progress.window(answer)
                heard.setdefault(answer.audio.channel, []).append(answer)
                yield answer
        except FASError as error:
            yield Answer(file=str(file), error=str(error))
        else:
            yield from map(summarise, heard.values())


class Progress:
    """Bars on a terminal: files of all, and the seconds of a long one.

    Args:
        rows, windows: whether the answers to files, to windows are printed on the terminal; no bar is needed then.
    """

    def __init__(self, files: int, rows: bool, windows: bool):
        is_terminal = sys.stderr.isatty()
        self._shows_windows = is_terminal and not windows
        self._files = tqdm(total=files, unit="file", disable=rows or files < 2 or not is_terminal)
        self._seconds, self._of = None, None

    def skip(self, files: int) -> None:
        self._files.update(files)

    def window(self, answer: Answer) -> None:
        """A window of a long file is answered."""
        if not self._shows_windows:
            return
        if answer.file != self._of or round(answer.end) < self._seconds.n:  # another file, or the next channel of this
            self.end_windows()
            self._of, total, name = answer.file, claimed_seconds(answer.file), printable(Path(answer.file).name)
            self._seconds = tqdm(total=total and round(total), unit="s", desc=name, leave=False)
        self._seconds.update(round(answer.end) - self._seconds.n)

    def end_windows(self) -> None:
        if self._seconds is not None:
            self._seconds.close()
        self._seconds, self._of = None, None

    def end_file(self) -> None:
        self.end_windows()
        self._files.update()

    def close(self) -> None:
        self.end_windows()
        self._files.close()
