"""Adapt the shallow layers of Whisper by low rank: `python train/encoder_lora.py --corpora ravdess=data/ravdess nemo=data/nemo`.

The encoder is in the loop, without a feature cache: log-mels with masks, channels and speeds drawn anew, the layers that FAS's acoustic
stream reads, statistics over the frames, a linear head; corpora and emotions weigh alike. What is kept is
OUTPUT_DIR/adapter.safetensors; `train/fas.py --acoustic_adapter OUTPUT_DIR/adapter.safetensors` trains on the adapted features.
"""

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from fas_core.training.encoder_lora import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
