"""Train the adapter of FAS-ALM: `accelerate launch train/alm_adapter.py --corpora ravdess=data/ravdess --fold 1`.

A YAML file goes first, flags after it win:
`accelerate launch --config_file train/configs/accelerate/ddp.yaml train/alm_adapter.py train/configs/alm.yaml \
    --language_model Qwen/Qwen2.5-7B-Instruct --corpora ravdess=data/ravdess tess=data/tess --fold 1 --output_dir runs/alm`.
On a CPU: `python train/alm_adapter.py train/configs/alm_cpu.yaml --corpora ...`.
"""

import os
import sys

# Threads that spin while they wait cost a factor of ten where other processes hold the cores; read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from fas_alm.training.adapter import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
