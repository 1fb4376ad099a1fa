"""Table 4: hyper-policies that only mix (MoE) against those with a residual (MoE+Res), at one equal budget.

Beside them plain multi-task PPO without experts, and the residual policy with the other normalisation of the weights.
Every variant trains the same number of environment steps from the same seed on the first stage's reward, then plays the
same episodes. The first k of the given experts are used. What is done already is kept: run again, it goes on.

    python benchmarks/residual.py --out runs/residual --iterations 120 --episodes 500
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run
from resdex_tasks.utils.errors import UserError
from runners.evaluation.files import JSON
from runners.evaluation.summary import EvaluationResult
from runners.evaluation.tables import residual_table
from runners.policies.experts import shipped_experts

ROOT = Path(__file__).resolve().parents[1]


def variants(experts: Sequence[str]) -> Dict[str, List[str]]:
    """Name -> its overrides."""
    out = {}
    for k in range(1, len(experts) + 1):
        bundle = f"experts=[{','.join(experts[:k])}]"
        out[f"moe_k{k}"] = [bundle, "train.params.network.mixture.residual=false"]
        out[f"moe_res_k{k}"] = [bundle]
    out["l2"] = [f"experts=[{','.join(experts)}]", "train.params.network.mixture.normalization=l2"]
    out["ppo"] = ["train=ResDexBasePPO"]
    return out


def run_variant(name: str, overrides: Sequence[str], args: argparse.Namespace) -> None:
    """Train, then evaluate, each in a process of its own, unless it is done."""
    out = args.out
    one_core = ["sim=mujoco", "sim.numThreads=1", "train.params.torch_threads=1"]
    common = [f"runs_dir={out}", f"seed={args.seed}", *one_core, *args.overrides]
    last = out / name / "nn" / "last.pth"
    train = ["task=ResDexHyper", "follow_up=false", f"experiment={name}", f"max_iterations={args.iterations}"]
    mark, made_of = out / name / "trained", "\n".join([*train, *common, *overrides])
    if mark.exists() and mark.read_text() != made_of:
        raise UserError(f"{out / name} was trained with other settings; give another --out")
    if not mark.exists():
        resume = [f"checkpoint={last}"] if last.exists() else []
        _call(out / f"{name}.log", [*train, *common, *overrides, *resume])
        mark.write_text(made_of)
    if not (out / name / JSON).exists():
        test = ["task=ResDexHyper", "test=True", f"checkpoint={last}", f"experiment={name}"]
        _call(
            out / f"{name}.log", [*test, *common, f"num_episodes={args.episodes}", f"objects.count={args.test_objects}"]
        )
    at_end = evaluation(out / name).summary.all.success_at_end
    print(f"{name}: success at end {100 * at_end.value:.1f} %", flush=True)


def evaluation(folder: Path) -> EvaluationResult:
    """What the evaluation in a run's folder came to."""
    return EvaluationResult.from_json(json.loads((folder / JSON).read_text()))


def _call(log: Path, overrides: Sequence[str]) -> None:
    with log.open("a") as file:
        status = subprocess.call([sys.executable, str(ROOT / "train.py"), *overrides], stdout=file, stderr=file)
    if status:
        raise UserError(f"python train.py {' '.join(overrides)} failed: see {log}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--iterations", type=int, default=120, help="PPO iterations of each variant")
    parser.add_argument("--episodes", type=int, default=500, help="episodes of each evaluation, at least")
    parser.add_argument("--test-objects", type=int, default=264, help="training objects that success is measured on")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--jobs", type=int, default=2, help="variants at a time, one core each")
    parser.add_argument("--experts", nargs="+", help="base checkpoints; default: the shipped ones")
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument("overrides", nargs="*", help="as for train.py")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = variants(args.experts or shipped_experts())
    chosen = {name: chosen[name] for name in args.variants or chosen}
    print(machine(), flush=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        for future in [pool.submit(run_variant, name, overrides, args) for name, overrides in chosen.items()]:
            future.result()
    results = {name: evaluation(args.out / name) for name in chosen}

    def by_k(prefix: str) -> Dict[int, EvaluationResult]:
        return {int(name[len(prefix) :]): result for name, result in results.items() if name.startswith(prefix)}

    methods = {"MoE": by_k("moe_k"), "MoE+Res": by_k("moe_res_k")}
    if "l2" in results:
        methods["MoE+Res, l2 weights"] = {len(args.experts or shipped_experts()): results["l2"]}
    if "ppo" in results:
        methods["PPO"] = {0: results["ppo"]}
    table = residual_table({name: rows for name, rows in methods.items() if rows}, with_published=True)
    (args.out / "table4.md").write_text(table + "\n")
    print(f"\n{table}")


if __name__ == "__main__":
    run(main)
