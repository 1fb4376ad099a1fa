"""One process of a two-process training on the CPU: python one_rank.py RESULT key=value ...

rl_games joins its processes by NCCL, on CUDA devices. Here they meet through gloo on the CPU: three calls are replaced,
and nothing of ours is.
"""

import json
import sys
from unittest import mock

import torch
from rl_games.common import a2c_common

from runners import config, launch, ppo, training


class PinnedDevice(dict):
    """The training's settings, on which rl_games writes `device` itself when it has several GPUs."""

    def __setitem__(self, key, value):
        super().__setitem__(key, "cpu" if key == "device" else value)


class OnCpu(ppo.ResDexPPO):
    def __init__(self, base_name, params):
        params["config"] = PinnedDevice(params["config"])
        super().__init__(base_name, params)

    def train(self):
        try:
            return super().train()
        finally:
            weights = torch.cat([p.detach().flatten() for p in self.model.parameters()]).tolist()
            result = {"weights": weights, "obs": self.vec_env.task.obs.tolist(), "rank": self.global_rank}
            with open(sys.argv[1], "w") as file:
                json.dump(result, file)


def load_config(overrides):
    """The check that multi_gpu=True is given CUDA devices finds some."""
    with mock.patch.object(torch.cuda, "is_available", lambda: True):
        return config.load_config(overrides)


if __name__ == "__main__":
    join = a2c_common.dist.init_process_group
    a2c_common.dist.init_process_group = lambda backend, **where: join("gloo", **where)
    torch.cuda.set_device = lambda index: None
    launch.load_config, training.ResDexPPO = load_config, OnCpu
    sys.exit(launch.main(sys.argv[2:]))
