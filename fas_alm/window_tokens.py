"""How many audio tokens an audio is. Processor, model, training and vLLM all count here."""

from collections.abc import Iterable
from dataclasses import dataclass

from fas_core.features.patches import num_patches


@dataclass(frozen=True)
class WindowTokens:
    """What makes the tokens of a window of up to 30 s.

    Attributes:
        fixed: tokens of FAS, whatever the window's length.
        streams: how many encoders are heard frame by frame, through the connector.
        patch_size: frames of 20 ms that one of their tokens is the mean of.

    Examples:
        >>> [WindowTokens(2).of_window(150), WindowTokens(0, 2).of_window(150), WindowTokens(2, 2).of_window(1)]
        [2, 60, 4]
    """

    fixed: int
    streams: int = 0
    patch_size: int = 5

    def of_window(self, frames: int) -> int:
        """Tokens of a window of so many real frames of 20 ms."""
        return self.fixed + self.streams * num_patches(frames, self.patch_size)

    def of_audio(self, window_lengths: Iterable[int]) -> int:
        """Tokens of an audio, from the real mel frames (10 ms) of its windows, as `FASAudioProcessor.prepare_audio` gives them."""
        return sum(self.of_window(int(length) // 2) for length in window_lengths)
