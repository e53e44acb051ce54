"""Fused tokens in the plane: clips that a FAS hears alike lie side by side."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

SEED = 42
MOST = 2000  # points of a map: more say nothing new and make a page heavy


def flat_map(points: np.ndarray) -> tuple[str, np.ndarray]:
    """(N, d) to (N, 2): UMAP (McInnes et al., 2018) where umap-learn is installed, else the first two principal components.

    Returns:
        The method, "umap" or "pca", and the points.
    """
    points = StandardScaler().fit_transform(points)
    try:
        import umap
    except ImportError:
        umap = None
    if umap is None or len(points) < 16:  # fewer points than UMAP has neighbours
        return "pca", PCA(min(2, *points.shape), random_state=SEED).fit_transform(points)
    # one thread and a seed: the same map each time
    return "umap", umap.UMAP(random_state=SEED, n_jobs=1).fit_transform(points)


def chosen(number: int) -> np.ndarray:
    """Indices of at most `MOST` clips, the same ones each time."""
    return np.sort(np.random.default_rng(SEED).permutation(number)[:MOST])


def maps_of(runs, sets) -> dict:
    """ "maps" of results.json, from the points that the runner kept."""
    found: dict[str, dict] = {}
    for benchmark in sets:
        for run in runs:
            points = run.points.get(benchmark.name)
            if points is None or len(points) != len(benchmark.rows) or len(points) < 3:
                continue
            picked = chosen(len(points))
            method, flat = flat_map(points[picked])
            names = [benchmark.rows[i]["id"] for i in picked]
            entry = {name: [round(float(x), 3) for x in xy] for name, xy in zip(names, flat, strict=True)}
            found.setdefault(benchmark.name, {})[run.planned.name] = {"method": method, "points": entry}
    return found
