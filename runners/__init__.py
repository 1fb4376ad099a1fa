"""What runs a policy: the PPO agent, evaluation, videos, checkpoints and the command line."""

import os

# Idle OpenMP threads that spin take the cores from the simulator's threads; read once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
