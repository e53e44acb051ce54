"""FAS-ALM as a service: `python -m serve DIR` puts a gateway in front of vLLM, of transformers, or of FAS alone."""
