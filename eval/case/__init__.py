"""Builder of sets like CASE (Huang et al. 2026): speech whose tone says another emotion than its words.

scenarios -> speakers -> speech, rendering -> panel, responses -> agreement -> manifest, card; docs/case.md has the steps.
"""
