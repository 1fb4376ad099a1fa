"""Objects, a simulator and candidates for the tests of grasp proposals."""

import functools

import numpy as np
import pytest
import torch

from helpers.configs import physics, wrist_law
from resdex_tasks.factory import make_objects
from resdex_tasks.objects.object_set import GraspProposals, ObjectSet
from resdex_tasks.proposals.candidates import sample_candidates
from resdex_tasks.sims.mujoco_config import MujocoSimConfig


@functools.lru_cache(maxsize=None)
def zoo_trio() -> ObjectSet:
    """A bottle, a mug and a plate."""
    return make_objects({"source": "zoo", "names": ["bottle-0000", "mug-0000", "plate-0000"]})


def make_sim(objects, num_envs):
    pytest.importorskip("mujoco.batch")
    from resdex_tasks.sims.mujoco_sim import MujocoSim

    config = MujocoSimConfig(1, physics())
    return MujocoSim(objects, torch.arange(num_envs) % len(objects), config, wrist_law())


def candidates_of(obj, count=12, seed=0) -> GraspProposals:
    return sample_candidates(obj, count, np.random.default_rng(seed))
