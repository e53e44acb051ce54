"""What the training of a text model can be told."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Of one training, as `training.json` keeps them."""

    seed: int = 0
    meld: bool = False
    languages: tuple[str, ...] = ()
    emotional: bool = True
    terms: int = 120_000
    strength: float = 0.7
    balance: float = 0.25
    base: str | None = None
    lora: bool = False
    epochs: float = 2.0
    learning_rate: float = 2e-4
    batch: int = 128
    layers: int | None = None
    pieces: int = 9_000
    teacher: tuple[str, ...] = ()
    teacher_share: float = 0.5
    fragments: int = 30_000
