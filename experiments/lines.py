"""What codecs and telephone lines cost a checkpoint: `python -m experiments.lines CHECKPOINT NAME=FOLDER ... --output FILE.json`.

Each corpus is scored as it is and in each variant of `fas_core.features.augment`, as its answers come without words and without
the check for speech; the difference from the clips as they are is paired, speakers drawn. Corpora that the checkpoint was trained on
are scored on their test voices.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from experiments.card import figures, head_of, scored_clips
from fas_core.atomic import write_json
from fas_core.checkpoint import learned_from
from fas_core.errors import reports_errors
from fas_core.features.cache import FeatureCache
from fas_core.markdown import table as table_of
from fas_core.paths import expanded
from fas_core.pipeline import EmotionPipeline
from fas_core.provenance import provenance
from fas_core.training.arguments import parse_pairs
from fas_core.training.clips import UNKNOWN, label_indices
from fas_core.training.data import FeatureSource
from fas_eval.statistics.comparison import compare

LINES = (
    "codec:mulaw", "codec:gsm", "codec:opus-24", "codec:opus-12", "codec:mp3-32", "telephone:mulaw", "telephone:gsm",
)  # fmt: skip
HEADER = ("corpus", "variant", "clips", "accuracy", "UA", "ECE", "UA - as it is", "p")


def scored(pipeline: EmotionPipeline, cache: FeatureCache, name: str, folder: Path, variants: list[str]) -> list[dict]:
    """The figures of a corpus, as it is ("") and in each variant, on the clips that can be heard in all of them."""
    rows, _ = scored_clips(name, folder, *learned_from(pipeline.training))
    source = FeatureSource(rows, pipeline.extractor, cache, ["", *variants])
    labels = label_indices(rows["emotion"])
    usable = [i for i in source.usable if labels[i] != UNKNOWN]
    truth, speakers = labels[usable], [rows[i]["speaker"] for i in usable]
    found, plain = [], None
    for variant in source.variants:
        heads, _, _ = pipeline.hear([source.get(source.digests[i], variant) for i in usable])
        probabilities = heads[head_of(pipeline)].astype(np.float64)
        said = probabilities.argmax(-1)
        row = dict(corpus=name, variant=variant, clips=len(usable)) | figures(truth, probabilities)
        if plain is None:
            plain = said
        else:
            test = compare(truth, said, plain, speakers)
            row |= dict(difference=test.difference["ua"], interval=test.intervals["ua"], p=test.p["ua"])
        found.append(row)
    return found


def markdown(rows: list[dict]) -> str:
    """In per cent; in square brackets intervals of 95 %."""
    return table_of(list(HEADER), [_cells(row) for row in rows])


def _cells(row: dict) -> list[str]:
    cells = [row["corpus"], row["variant"] or "as it is", str(row["clips"])]
    cells += [f"{row[name]:.1f}" for name in ("accuracy", "ua", "ece")]
    if "difference" not in row:
        return [*cells, "", ""]
    low, high = row["interval"]
    return [*cells, f"{100 * row['difference']:+.1f} [{100 * low:.1f}, {100 * high:.1f}]", f"{row['p']:.3f}"]


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m experiments.lines", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="directory, hub id, or the name of one that ships")
    parser.add_argument("corpora", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--variants", nargs="+", default=list(LINES), metavar="NAME:VALUE", help="(%(default)s)")
    parser.add_argument("--cache", default="~/.cache/fas_alm/features", help="feature cache (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    return parser.parse_args(argv)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    pipeline = EmotionPipeline.from_pretrained(arguments.checkpoint, words=False)
    cache = FeatureCache(expanded(arguments.cache), pipeline.extractor.identity())
    found = []
    for name, folder in parse_pairs(arguments.corpora, "corpora"):
        found += scored(pipeline, cache, name, folder, arguments.variants)
    write_json(arguments.output, {"checkpoint": arguments.checkpoint, "rows": found, "provenance": provenance()})
    print(markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
