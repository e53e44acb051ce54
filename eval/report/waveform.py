"""A clip as a picture: its envelope, and where the kept tokens lie. In units of a box of 1000 by 100."""

import numpy as np

WIDTH, HEIGHT = 1000, 100


def outline(samples: np.ndarray, bins: int = 320) -> str:
    """SVG path around the largest and smallest sample of each bin; the loudest sample touches the border.

    Args:
        samples: (n,), n > 0.
    """
    edges = np.linspace(0, len(samples), min(bins, len(samples)) + 1).astype(int)[:-1]
    peak = max(float(np.abs(samples).max()), 1e-9)
    high, low = (np.round(HEIGHT / 2 * (1 - f.reduceat(samples, edges) / peak), 1) for f in (np.maximum, np.minimum))
    x = np.round(np.linspace(0, WIDTH, len(edges)), 1)
    around = [*zip(x, high, strict=True), *zip(x[::-1], low[::-1], strict=True)]
    return "M" + "L".join(f"{a:g} {b:g}" for a, b in around) + "Z"


def bands(kept: list[dict], seconds: float) -> dict[str, list[dict]]:
    """pathway -> {"x", "width", "score", "start", "end"} of each kept token that has a place."""
    found: dict[str, list[dict]] = {}
    for token in kept:
        start, end, score = (float(token.get(key) or 0) for key in ("start", "end", "score"))
        if seconds > 0 and end > start:
            x, right = (WIDTH * min(max(side / seconds, 0), 1) for side in (start, end))
            band = {"x": round(x, 1), "width": round(right - x, 1), "start": start, "end": end}
            found.setdefault(str(token.get("pathway") or "tokens"), []).append(
                {**band, "score": round(min(max(score, 0), 1), 2)}
            )
    return found
