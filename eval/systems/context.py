"""What every system may need to know of the run that it is built for."""

from dataclasses import dataclass, field
from pathlib import Path

from fas_core.errors import FASError
from fas_core.paths import expanded
from fas_core.training.arguments import DataArguments
from fas_eval.benchmarks.locations import DataLocations
from fas_eval.suite.workers import Workers


@dataclass(frozen=True)
class BuildContext:
    """A run's settings.

    Attributes:
        locations: where the corpora lie.
        training: corpora that systems are trained on here. fold: of corpora with folds, held out from training.
        cache_dir: features, trained systems and answers are kept below it.
        encoder, acoustic_layer, stacked_layers: Whisper of systems that name no encoder, its layer that is the acoustic stream, and
            the layers of recipes that stack several.
        device: "cpu", "cuda", ...; None: what there is. quiet: no progress bars.
        workers: the processes of the run.
    """

    locations: DataLocations = field(default_factory=DataLocations)
    training: tuple[str, ...] = ()
    fold: int | None = None
    cache_dir: Path = Path("~/.cache/fas_alm")
    encoder: str = "offline:tiny.en"
    acoustic_layer: str = "2"
    stacked_layers: str = "1,2,3"
    device: str | None = None
    quiet: bool = False
    workers: Workers = field(default_factory=Workers)

    @property
    def features(self) -> Path:
        """The feature cache."""
        return expanded(self.cache_dir) / "features"

    def data_arguments(self, options: dict) -> DataArguments:
        """The training corpora and the encoders, as `train/fas.py` takes them; `options` change the encoders.

        Raises:
            FASError: nothing to train on, or an unknown option. CorpusError: a corpus that is not there.
        """
        if not self.training:
            raise FASError("needs training corpora: give --train ravdess tess (or others) and --data-root DIR")
        from fas_eval.benchmarks.entries import BENCHMARKS

        for name in self.training:
            if BENCHMARKS[name].options:
                raise FASError(
                    f"--train {name}: its reader takes options, which training cannot pass on; expected a corpus without"
                )
        corpora = [f"{BENCHMARKS[name].corpus}={self.locations.find(name)}" for name in self.training]
        values = dict(encoder=self.encoder, acoustic_layer=self.acoustic_layer) | options
        try:
            return DataArguments(
                corpora=corpora, fold=self.fold, cache_dir=str(self.features), exclude_labels=list(self.locations.exclude_labels),
                **values,
            )  # fmt: skip
        except TypeError as error:
            raise FASError(f"encoder options {sorted(options)}: {error}") from None
