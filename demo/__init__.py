"""The demo: a synthetic conflict corpus, FAS trained and evaluated on it, predictions, and an HTML report."""
