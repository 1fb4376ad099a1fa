"""A double of NVIDIA Isaac Gym Preview 4 for tests: its names and its rules, with MuJoCo's physics.

It catches wrong use of the interface and says nothing about PhysX's numbers. Written from the interface's
documentation; every rule that it enforces raises `Misuse`, where the real engine may crash or go on in silence.
"""

import os
import sys

import numpy

if "torch" in sys.modules and "ISAACGYM_DOUBLE_ANY_ORDER" not in os.environ:
    raise ImportError("PyTorch was imported before isaacgym modules.  Please import torch after isaacgym modules.")

if not hasattr(numpy, "Inf"):
    numpy.Inf = numpy.inf  # IsaacGymEnvs is of the time of numpy 1
