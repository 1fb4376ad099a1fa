"""python train.py task=ResDexBase ..."""

import sys

from runners.launch import main

if __name__ == "__main__":
    sys.exit(main())
