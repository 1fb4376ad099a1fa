"""`python -m runners.pipeline`."""

import sys

from runners.pipeline.methods.resdex import main

if __name__ == "__main__":
    sys.exit(main())
