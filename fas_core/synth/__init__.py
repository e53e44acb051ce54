"""Speech that is made here: the synthetic conflict corpus, espeak-ng, Kokoro and prosody transplants."""
