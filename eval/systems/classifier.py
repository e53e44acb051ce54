"""The classifier of every baseline: standardised vectors, logistic regression or two layers, calibrated."""

import warnings
from dataclasses import dataclass, field

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fas_core.calibration import apply_temperature, fit_temperature
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

# The one setting of each kind that is chosen on validation speakers: inverse L2 penalty, and L2 penalty.
GRID = {"logistic": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0), "mlp": (0.01, 0.1, 1.0, 10.0)}
HIDDEN = 256
EPOCHS = 60


@dataclass
class Classifier:
    """Vectors (N, D) to calibrated probabilities (N, 7).

    Args:
        kind: "logistic" (multinomial logistic regression) or "mlp" (the paper's two-layer classifier).
        seed: of the solver.

    Attributes:
        chosen: the penalty that did best on validation. curve: training loss of the two layers by epoch.
    """

    kind: str = "mlp"
    seed: int = 42
    chosen: float | None = None
    temperature: float = 1.0
    curve: list[float] = field(default_factory=list)

    def __post_init__(self):
        if self.kind not in GRID:
            raise FASError(f"classifier {self.kind!r}: expected one of {', '.join(GRID)}")

    def fit(self, x: np.ndarray, labels: np.ndarray, validation: np.ndarray) -> "Classifier":
        """Choose penalty (by UA) and temperature on validation clips, then train on all.

        Args:
            x: (N, D). labels: (N,) indices into `EMOTIONS`. validation: (N,) booleans; where there are none the middle of the
                grid is taken and nothing is calibrated.
        """
        grid = GRID[self.kind]
        self.chosen = grid[len(grid) // 2]
        if validation.any() and not validation.all():
            learn, held = ~validation, validation
            models = {c: self._new(c).fit(x[learn], labels[learn]) for c in grid}
            scores = {c: balanced_accuracy_score(labels[held], m.predict(x[held])) for c, m in models.items()}
            self.chosen = max(scores, key=scores.get)
            self.temperature = fit_temperature(self._logits(models[self.chosen], x[held]), labels[held])
        self.model = self._new(self.chosen).fit(x, labels)
        self.curve = [round(float(v), 4) for v in getattr(self.model[-1], "loss_curve_", [])]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(N, 7) probabilities in the order of `EMOTIONS`."""
        return apply_temperature(self._logits(self.model, x), self.temperature)

    @property
    def parameters(self) -> int:
        last = self.model[-1]
        return sum(np.size(w) for name in ("coef_", "intercept_", "coefs_", "intercepts_") for w in _arrays(last, name))

    def _new(self, penalty: float):
        if self.kind == "logistic":
            return _Quiet(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000, random_state=self.seed))
        layers = MLPClassifier((HIDDEN,), alpha=penalty, max_iter=EPOCHS, random_state=self.seed)
        return _Quiet(StandardScaler(), layers)

    @staticmethod
    def _logits(model, x: np.ndarray) -> np.ndarray:
        """Log-probabilities; an emotion that training did not contain gets next to nothing."""
        logits = np.full((len(x), len(EMOTIONS)), np.log(1e-12))
        logits[:, model[-1].classes_] = np.log(np.clip(model.predict_proba(x), 1e-12, None))
        return logits


class _Quiet:
    """A scikit-learn pipeline that runs its epochs without a warning that there could be more."""

    def __init__(self, *steps):
        self.pipeline = make_pipeline(*steps)

    def fit(self, x, y):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.pipeline.fit(x, y)
        return self

    def __getitem__(self, index):
        return self.pipeline[index]

    def __getattr__(self, name):
        return getattr(self.pipeline, name)


def _arrays(model, name: str) -> list:
    value = getattr(model, name, [])
    return value if isinstance(value, list) else [value]
