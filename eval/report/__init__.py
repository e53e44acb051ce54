"""The report of an evaluation, from results.json, answers.csv and clips.jsonl: `fas_eval.report.build.build_report`, `fas report DIR`."""
