"""Train FAS: `accelerate launch train/fas.py --corpora ravdess=data/ravdess tess=data/tess --fold 1`.

Defaults are the paper's Table 3. A YAML file goes first, flags after it win:
`accelerate launch train/fas.py train/configs/recommended.yaml --fold 1 --output_dir runs/fold1`.
"""

import sys

from fas_core.training.run import main

if __name__ == "__main__":
    sys.exit(main())
