"""Table 4: hyper-policies that only mix (MoE) against those with a residual (MoE+Res), at one equal budget.

Beside them plain multi-task PPO without experts, and the residual policy with the other normalisation of the weights.
Every variant trains the same number of environment steps from the same seed on the first stage's reward, then plays the
same episodes. The first k of the given experts are used. What is done already is kept: run again, it goes on.

    python benchmarks/residual.py --out runs/residual --iterations 120 --episodes 500
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run
from benchmarks.trainings import ONE_CORE, tested, trained
from runners.evaluation.summary import EvaluationResult
from runners.evaluation.tables import residual_table
from runners.policies.experts import shipped_experts


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


def run_variant(name: str, overrides: Sequence[str], args: argparse.Namespace) -> EvaluationResult:
    """Train, then evaluate, unless it is done."""
    out, common = args.out, [f"runs_dir={args.out}", f"seed={args.seed}", *ONE_CORE, *args.overrides]
    train = ["task=ResDexHyper", "follow_up=false", f"experiment={name}", f"max_iterations={args.iterations}"]
    last = trained(out, name, [*train, *common, *overrides])
    test = ["task=ResDexHyper", "test=True", f"checkpoint={last}", f"experiment={name}"]
    episodes = [f"num_episodes={args.episodes}", f"objects.count={args.test_objects}"]
    result = tested(out, name, [*test, *common, *episodes])
    print(f"{name}: success at end {100 * result.summary.all.success_at_end.value:.1f} %", flush=True)
    return result


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
        running = {name: pool.submit(run_variant, name, overrides, args) for name, overrides in chosen.items()}
        results = {name: future.result() for name, future in running.items()}

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
