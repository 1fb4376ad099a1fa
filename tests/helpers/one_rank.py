"""One process of a two-process training on the CPU: python one_rank.py RESULT key=value ...

rl_games joins its processes by NCCL, on CUDA devices. Here they meet through gloo on the CPU: three calls of torch are
replaced, and the agents by ones that also write down what they learned.
"""

import json
import os
import sys

import torch
from rl_games.common import a2c_common

from resdex_tasks.observations import joined
from runners import launch
from runners.learning.dagger import ResDexDagger
from runners.learning.hyper_ppo import HyperPPO
from runners.learning.ppo import ResDexPPO
from runners.learning.train import ALGORITHMS

is_available = torch.cuda.is_available


class PinnedDevice(dict):
    """The training's settings, on which rl_games writes `device` itself when it has several GPUs."""

    def __setitem__(self, key, value):
        super().__setitem__(key, "cpu" if key == "device" else value)


class OnCpu:
    """What a process writes down of its agent."""

    def __init__(self, base_name, params):
        torch.cuda.is_available = is_available  # the configuration has been checked
        params["config"] = PinnedDevice(params["config"])
        super().__init__(base_name, params)
        self.statistics = []
        # as if physics had broken down: once in the first process, twice in the second
        self.vec_env.task.num_diverged = 1 + int(os.environ["RANK"])

    def play_steps(self):
        self._note_statistics()
        return super().play_steps()

    def _note_statistics(self):
        self.statistics.append([b.double().sum().item() for b in self.model.buffers()])

    def train(self):
        try:
            return super().train()
        finally:
            weights = torch.cat([p.detach().flatten() for p in self.model.parameters()]).tolist()
            task = self.vec_env.task
            obs = joined(task.obs, task.config.observation).tolist()
            result = {"weights": weights, "obs": obs, "rank": self.global_rank,
                      "statistics": self.statistics, "diverged": self.num_diverged}  # fmt: skip
            with open(sys.argv[1], "w") as file:
                json.dump(result, file)


class BaseOnCpu(OnCpu, ResDexPPO):
    pass


class HyperOnCpu(OnCpu, HyperPPO):
    pass


class DaggerOnCpu(OnCpu, ResDexDagger):
    def collect(self):
        self._note_statistics()
        return super().collect()


if __name__ == "__main__":
    join = a2c_common.dist.init_process_group
    a2c_common.dist.init_process_group = lambda backend, **where: join("gloo", **where)
    torch.cuda.set_device = lambda index: None
    torch.cuda.is_available = lambda: True  # multi_gpu=True asks for CUDA devices
    ALGORITHMS.update(resdex_ppo=BaseOnCpu, resdex_hyper_ppo=HyperOnCpu, resdex_dagger=DaggerOnCpu)
    sys.exit(launch.main(sys.argv[2:]))
