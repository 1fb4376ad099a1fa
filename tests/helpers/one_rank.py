"""One process of a two-process training on the CPU: python one_rank.py RESULT key=value ...

rl_games joins its processes by NCCL, on CUDA devices. Here they meet through gloo on the CPU: three calls are replaced,
and nothing of ours is.
"""

import json
import os
import sys
from unittest import mock

import torch
from rl_games.common import a2c_common

from resdex_tasks.grasp_task import GraspTask
from runners import config, launch
from runners.learning import hyper_ppo as hyper
from runners.learning import ppo
from runners.learning import train as training


class PinnedDevice(dict):
    """The training's settings, on which rl_games writes `device` itself when it has several GPUs."""

    def __setitem__(self, key, value):
        super().__setitem__(key, "cpu" if key == "device" else value)


class OnCpu:
    """What a process writes down of its agent."""

    def __init__(self, base_name, params):
        params["config"] = PinnedDevice(params["config"])
        super().__init__(base_name, params)
        self.statistics = []

    def play_steps(self):
        self.statistics.append([b.double().sum().item() for b in self.model.buffers()])
        return super().play_steps()

    def train(self):
        try:
            return super().train()
        finally:
            weights = torch.cat([p.detach().flatten() for p in self.model.parameters()]).tolist()
            task = self.vec_env.task
            result = {"weights": weights, "obs": task.obs.tolist(), "rank": self.global_rank,
                      "statistics": self.statistics, "diverged": self.num_diverged}  # fmt: skip
            with open(sys.argv[1], "w") as file:
                json.dump(result, file)


class BaseOnCpu(OnCpu, ppo.ResDexPPO):
    pass


class HyperOnCpu(OnCpu, hyper.HyperPPO):
    pass


def diverged_before(init, count):
    def with_count(task, *args):
        init(task, *args)
        task.num_diverged = count

    return with_count


def load_config(overrides):
    """The check that multi_gpu=True is given CUDA devices finds some."""
    with mock.patch.object(torch.cuda, "is_available", lambda: True):
        return config.load_config(overrides)


if __name__ == "__main__":
    join = a2c_common.dist.init_process_group
    a2c_common.dist.init_process_group = lambda backend, **where: join("gloo", **where)
    torch.cuda.set_device = lambda index: None
    launch.load_config, training.ResDexPPO, training.HyperPPO = load_config, BaseOnCpu, HyperOnCpu
    # as if physics had broken down: once in the first process, twice in the second
    GraspTask.__init__ = diverged_before(GraspTask.__init__, 1 + int(os.environ["RANK"]))
    sys.exit(launch.main(sys.argv[2:]))
