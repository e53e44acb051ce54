"""Train FAS: `accelerate launch train/fas.py --corpora ravdess=data/ravdess tess=data/tess --fold 1`.

Defaults are the paper's Table 3, on trimmed clips; train/configs/paper.yaml is the paper's padding and untrimmed audio, too. A YAML file goes first, flags after it win:
`accelerate launch train/fas.py train/configs/recommended.yaml --fold 1 --output_dir runs/fold1`.
"""

import os
import sys

# Threads that spin while they wait cost a factor of ten where other processes hold the cores; read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from fas_core.cli.train import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
