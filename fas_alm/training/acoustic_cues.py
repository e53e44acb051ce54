"""The acoustic cues of the training clips: measured once, told by the statistics of the training side."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fas_alm.training.arguments import DataArguments
from fas_core.cues.acoustic import CueReader, check_statistics, fit_statistics
from fas_core.cues.functionals import Functionals
from fas_core.cues.levels import Statistics
from fas_core.features.cache import FeatureCache


def tell_cues(
    sources,
    data: DataArguments,
    digests: Mapping[str, str],
    cache: FeatureCache,
    process: tuple[int, int] = (0, 1),
    wait: Callable[[], None] = lambda: None,
) -> dict:
    """Gives each clip of the corpora its levels as "cues".

    Args:
        sources: `fas_alm.training.data.Sources`. digests: of the audio of each file that can be used.
        cache: of the features, beside which the functionals are kept. process, wait: as of `load_material`; the first process
            measures for all.

    Returns:
        The statistics that the levels go by, JSON-ready: those of `--cue_statistics`, or of the training side's clips.

    Raises:
        MissingDependencyError: opensmile is not installed. FASError: a file of statistics of another form.
    """
    folder = cache.path.parent / "egemaps"
    if process[0] == 0:
        _vectors(Functionals(folder), sources.clips.values(), digests)
    wait()
    train, validation = (
        _vectors(Functionals(folder), [sources.clips[side]], digests) for side in ("train", "validation")
    )
    if data.cue_statistics:
        statistics = Statistics.load(data.cue_statistics)
        check_statistics(statistics, f"--cue_statistics {data.cue_statistics}")
    else:
        statistics = fit_statistics(list((train or validation).values()))
    reader = CueReader(statistics)
    for side, vectors in (("train", train), ("validation", validation)):
        sources.clips[side] = [{**clip, "cues": reader.levels(vectors[clip["audio"]])} for clip in sources.clips[side]]
    return statistics.to_dict()


def _vectors(functionals: Functionals, sides, digests: Mapping[str, str]) -> dict:
    """File -> (88,) functionals."""
    try:
        return {
            clip["audio"]: functionals.get(clip["audio"], digests[clip["audio"]]) for clips in sides for clip in clips
        }
    finally:
        functionals.save()
