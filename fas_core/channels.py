"""The people of a recording: all channels mixed, one of them, or each for itself."""

from numbers import Integral
from typing import Any

from fas_core.audio import AudioLimits
from fas_core.errors import FASError
from fas_core.sources import binary_file

EACH = "each"


def checked_channels(channels: int | str) -> int | str:
    """ "mix", "each", or the number of a channel, which text may spell.

    Raises:
        FASError: anything else.
    """
    if isinstance(channels, str) and channels.isdecimal():
        channels = int(channels)
    is_number = isinstance(channels, Integral) and not isinstance(channels, bool) and channels >= 1
    if channels not in ("mix", EACH) and not is_number:
        raise FASError(f"channels {channels!r}: expected mix, each, or the number of a channel, from 1 (--channels)")
    return channels


def reopenable(source: Any, limits: AudioLimits) -> Any:
    """The source, to be read once for each channel; a file object, which has one position, becomes its bytes.

    Raises:
        AudioError: a file object that cannot be read.
    """
    if not hasattr(source, "read"):
        return source
    with binary_file(source, limits.max_bytes) as (_, file):
        return file.read(limits.max_bytes + 1)  # one more is refused where it is decoded
