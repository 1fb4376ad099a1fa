"""List the zoo's splits in a file: python -m resdex_tasks.objects.zoo --seed 1 zoo_1.yaml"""

import argparse
from pathlib import Path

from resdex_tasks.objects.zoo.splits import write_splits

parser = argparse.ArgumentParser(prog="python -m resdex_tasks.objects.zoo", description="List the splits in a file.")
parser.add_argument("path", type=Path)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
write_splits(args.path, args.seed)
