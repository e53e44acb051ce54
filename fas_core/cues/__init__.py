"""What of a voice can be measured and named: functionals of eGeMAPS, six acoustic cues, pitch, loudness and rate, and their levels."""
