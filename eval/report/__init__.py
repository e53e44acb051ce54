"""What a run found, to be read: report.html, report.md, scores.csv, pages of clips."""
