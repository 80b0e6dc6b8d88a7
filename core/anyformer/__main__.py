"""`python -m anyformer`: the shell, where its script is not on the path, as under `torchrun -m anyformer`."""

import sys

from anyformer.cli import main

sys.exit(main())
