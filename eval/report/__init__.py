"""The report of an evaluation: `build_report(folder)` or `python -m eval.report DIR`, from results.json, answers.csv, clips.jsonl."""

from fas_eval.report.build import build_report

__all__ = ["build_report"]
