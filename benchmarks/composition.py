"""What k experts cost: the composition of actions with k = 1..6 beside k = 1, alone and within a control step.

Three ratios, each against k = 1 measured in turns with it: the composition (all experts' actions, weights, sum), the
whole policy (its own network and the composition), and the control step of the environment that the action is for. One
after the other, as a loop over the experts would do it, stands beside the batched product.

    python benchmarks/composition.py                      # 256 environments, the CPU scale's networks
    python benchmarks/composition.py --num-envs 11000 --units 1024 1024 512 512 --device cuda:0 --no-step
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Callable, Dict, List, Optional, Sequence

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from resdex_tasks.networks.experts import NORMALISED_EPSILON, NORMALISED_LIMIT, ExpertsSpec
from resdex_tasks.observations import SIZES, narrow
from runners.config import load_config
from runners.policies.policy import Policy, build_model

KS = (1, 2, 3, 4, 5, 6)
HYPER = ("task=ResDexHyper", "sim=mujoco", "scale=cpu")


def hyper_model(k: int, units: Sequence[int], device: str) -> torch.nn.Module:
    """A hyper-policy over k experts with random weights, networks of the given sizes."""
    names = [str(i) for i in range(k)]
    experts = ExpertsSpec(tuple(names), tuple(names), tuple(units), "elu", observation="base", normalize_input=True)
    spec = load_config(HYPER).policy_spec
    network = {**spec.network, "mlp": {**spec.network["mlp"], "units": list(units)}, "experts": experts.plain()}
    model = build_model(replace(spec, network=network, normalize_input=True, normalize_value=False))
    generator = torch.Generator().manual_seed(k)
    for name, buffer in model.a2c_network.experts.named_buffers():
        if "weight" in name:
            buffer.copy_(0.05 * torch.randn(buffer.shape, generator=generator))
    return model.to(device).eval()


def one_by_one(model: torch.nn.Module, obs: torch.Tensor) -> torch.Tensor:
    """The experts' actions by a loop over them."""
    experts = model.a2c_network.experts
    out = []
    for i in range(experts.spec.count):
        x = narrow(obs, experts.spec.observation)
        x = (x - experts.mean[i]) / torch.sqrt(experts.var[i] + NORMALISED_EPSILON)
        x = x.clamp(-NORMALISED_LIMIT, NORMALISED_LIMIT)
        last = len(experts.spec.layers) - 1
        for layer in range(last + 1):
            x = x @ getattr(experts, f"weight_{layer}")[i] + getattr(experts, f"bias_{layer}")[i]
            x = torch.nn.functional.elu(x) if layer < last else x
        out.append(x.clamp(-1, 1))
    return torch.stack(out)


def seconds(call: Callable[[], object], repeats: int, device: str) -> float:
    """Median time of one call, s."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times)


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--units", type=int, nargs="+", default=[256, 256, 128])
    parser.add_argument("--repeats", type=int, default=60, help="calls of each, in turns")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-step", action="store_true", help="leave the control step out")
    args = parser.parse_args(argv)
    device, n = args.device, args.num_envs
    print(machine())
    models = {k: hyper_model(k, args.units, device) for k in KS}
    policies = {k: Policy(model, "full") for k, model in models.items()}
    obs = torch.randn(n, SIZES["full"], device=device)
    hyper = {k: torch.randn(n, k + 24, device=device) for k in KS}
    calls: Dict[str, Callable[[int], object]] = {
        "composition": lambda k: models[k].a2c_network.compose(obs, hyper[k]),
        "composition, looped": lambda k: one_by_one(models[k], obs),
        "policy": lambda k: policies[k](obs),
    }
    if not args.no_step:
        task = load_config([*HYPER, "objects.count=44", "seed=1"]).make_task(num_envs=n)
        task.reset()
        calls["control step"] = lambda k: task.step(policies[k](task.obs["full"]).action)
    rows: List[List[str]] = [["", *(f"k = {k}" for k in KS)]]
    for name, call in calls.items():
        times: Dict[int, List[float]] = {k: [] for k in KS}
        for _ in range(3):  # in turns, so that a load that comes and goes meets all
            for k in KS:
                times[k].append(seconds(lambda k=k, call=call: call(k), args.repeats // 3, device))
        base = median(times[1])
        rows.append([f"{name}, ms", *(f"{1e3 * median(times[k]):.2f}" for k in KS)])
        rows.append([f"{name}, ratio to k = 1", *(f"{median(times[k]) / base:.2f}" for k in KS)])
    print(f"\n{n} environments, experts of {'-'.join(map(str, args.units))}, {device}\n")
    print(table(rows))


if __name__ == "__main__":
    run(main)
