"""Corpora in their official layouts as one table; `python -m fas_core.data check` looks at their audio."""

from fas_core.data.corpora import CORPORA as CORPORA
from fas_core.data.corpora import has_folds as has_folds
from fas_core.data.corpora import load_corpus as load_corpus
from fas_core.data.corpora import read_corpus as read_corpus
from fas_core.data.exclusions import ExclusionList as ExclusionList
from fas_core.data.reading import COLUMNS as COLUMNS
from fas_core.data.reading import CorpusReader as CorpusReader
from fas_core.data.reading import Reading as Reading
from fas_core.data.splits import assign_speaker_splits as assign_speaker_splits
