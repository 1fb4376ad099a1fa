"""How much a PPO batch says: signal and noise of the policy gradient.

A training is built as `python train.py` would build it, from a checkpoint with a trained critic, and never updated. It
collects M independent rollouts with its own exploration; of each, the gradient of PPO's actor loss at the policy of the
rollout (where every ratio is 1) over all weights of the actor is computed. With g_i = signal + noise_i:

    |signal|^2 = (|sum g_i|^2 - sum |g_i|^2) / (M (M - 1))     |noise|^2 = mean |g_i|^2 - |signal|^2

both unbiased. Per batch size n: the cosine between the gradient of one batch and the signal,
1 / sqrt(1 + |noise|^2 / |signal|^2), where the noise falls with 1 / n; and how many samples it takes until they are as
large as each other. The same for the rows of the last layer that stand for the mixture weights, the wrist and the
fingers. A whole batch drawn twice points where the signal does only if that cosine is near 1.

    python benchmarks/gradient_signal.py task=ResDexHyper checkpoint=runs/NAME/nn/last.pth --rollouts 48
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from resdex_tasks.utils.errors import UserError
from runners.config import load_config
from runners.learning import vec_env
from runners.learning.monitor import TrainingMonitor
from runners.learning.ppo import ResDexPPO
from runners.learning.train import build_agent
from runners.learning.warm_start import find_warm_start

SIZES = (4096, 16384, 65536, 88000)
"""Samples of a batch; the last is the paper's (11,000 environments x 8 steps)."""


def actor_gradient(agent: ResDexPPO) -> Dict[str, Tensor]:
    """One rollout's gradient: the whole actor's, and that of the last layer's rows, each as one vector."""
    agent.set_eval()
    agent.prepare_dataset(agent.play_steps())
    data = agent.dataset.values_dict
    agent.model.zero_grad()
    # evaluation mode, so that the running statistics stay as they are
    out = agent.model({"is_train": True, "prev_actions": data["actions"], "obs": data["obs"]})
    ratio = torch.exp(data["old_logp_actions"] - out["prev_neglogp"])
    (-data["advantages"] * ratio).mean().backward()
    network = agent.model.a2c_network
    k = network.experts.spec.count if hasattr(network, "experts") else 0
    last = torch.cat((network.mu.weight.grad, network.mu.bias.grad[:, None]), dim=1)
    parts = {"all weights of the actor": torch.cat([p.grad.flatten() for p in _actor(network)])}
    rows = {"mixture weights": last[:k], "wrist": last[k : k + 6], "fingers": last[k + 6 :]}
    parts.update({f"last layer, {name}": value.flatten() for name, value in rows.items() if len(value)})
    return {name: value.clone() for name, value in parts.items()}


def _actor(network: torch.nn.Module) -> List[torch.nn.Parameter]:
    return [*network.actor_mlp.parameters(), *network.mu.parameters()]


def signal_and_noise(gradients: Tensor) -> Sequence[float]:
    """|signal|^2 and |noise|^2 of M gradients (M, D), unbiased; the first may come out negative."""
    count = len(gradients)
    squares, total = gradients.square().sum(), gradients.sum(dim=0).square().sum()
    signal = float((total - squares) / (count * (count - 1)))
    return signal, float(squares / count) - signal


def main(argv: Optional[Sequence[str]] = None) -> Dict[str, float]:
    """Print the table; returns part -> cosine at the size of one rollout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=48, help="that are drawn")
    parser.add_argument("--warmup", type=int, default=14, help="rollouts before them: 14 x 16 steps exceed an episode")
    parser.add_argument("overrides", nargs="*", help="as for train.py")
    args = parser.parse_args(argv)
    if args.rollouts < 2:
        raise UserError(f"--rollouts is {args.rollouts}; it must be at least 2")
    said = machine()
    config = load_config(args.overrides)
    start = find_warm_start(config)
    command, task = config.command, config.make_task()
    vec_env.register(task, command.rl_device)
    with tempfile.TemporaryDirectory() as folder:
        agent = build_agent(config, start, task, TrainingMonitor(), Path(folder) / "run")
        agent.init_tensors()
        agent.obs = agent.env_reset()
        for _ in range(args.warmup):
            agent.set_eval()
            agent.play_steps()
        rollouts = [actor_gradient(agent) for _ in range(args.rollouts)]
    vec_env.release()
    samples = command.num_envs * config.params["config"]["horizon_length"]
    print(f"{said}\n{args.rollouts} rollouts of {samples:,} samples, seed {command.seed}\n")
    rows = [("gradient of", f"cosine at {samples:,}", *(f"{n:,}" for n in SIZES), "samples for |noise| = |signal|")]
    cosines = {}
    for part in rollouts[0]:
        signal, noise = signal_and_noise(torch.stack([rollout[part] for rollout in rollouts]))
        signal = max(signal, 1e-30)
        cosine = {n: (1 + noise * samples / (n * signal)) ** -0.5 for n in (samples, *SIZES)}
        cosines[part] = cosine[samples]
        rows.append((part, *(f"{cosine[n]:.2f}" for n in (samples, *SIZES)), f"{samples * noise / signal:,.0f}"))
    print(table(rows))
    return cosines


if __name__ == "__main__":
    run(main)
