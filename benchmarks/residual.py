"""Table 4: hyper-policies that only mix (MoE) against those with a residual (MoE+Res), at one equal budget.

Beside them plain multi-task PPO without experts, and the residual policy with the other normalisation of the weights.
Every variant trains the same number of environment steps from the same seed on the first stage's reward, then plays the
same episodes. The experts are the shipped ones of the zoo's k clusters; of others that are given, the first k. What is
done already is kept: run again, it goes on.

    python benchmarks/residual.py --out runs/residual --iterations 120 --episodes 500
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Mapping, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run
from benchmarks.trainings import ONE_CORE, tested, trained
from resdex_tasks.utils.paths import SHIPPED
from runners.evaluation.summary import EvaluationResult
from runners.evaluation.tables import residual_table
from runners.policies.experts import SHIPPED_K, shipped_experts


def variants(bundles: Mapping[int, Sequence[str]], k_l2: int) -> Dict[str, List[str]]:
    """Name -> its overrides.

    Args:
        bundles: k -> experts.
        k_l2: of the policy with the other normalisation.
    """
    out = {}
    chosen = {k: f"experts=[{','.join(experts)}]" for k, experts in bundles.items()}
    for k, experts in chosen.items():
        out[f"moe_k{k}"] = [experts, "train.params.network.mixture.residual=false"]
        out[f"moe_res_k{k}"] = [experts]
    out["l2"] = [chosen[k_l2], "train.params.network.mixture.normalization=l2"]
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
    parser.add_argument(
        "--experts", nargs="+", help="base checkpoints, of which the first k; default: the shipped ones"
    )
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument("overrides", nargs="*", help="as for train.py")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.experts:
        bundles = {k: args.experts[:k] for k in range(1, len(args.experts) + 1)}
    else:
        bundles = {k: shipped_experts(f"{SHIPPED}_k{k}") for k in range(1, 7)}
    k_l2 = min(SHIPPED_K, max(bundles))
    chosen = variants(bundles, k_l2)
    chosen = {name: chosen[name] for name in args.variants or chosen}
    print(machine(), flush=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        running = {name: pool.submit(run_variant, name, overrides, args) for name, overrides in chosen.items()}
        results = {name: future.result() for name, future in running.items()}

    def by_k(prefix: str) -> Dict[int, EvaluationResult]:
        return {int(name[len(prefix) :]): result for name, result in results.items() if name.startswith(prefix)}

    methods = {"MoE": by_k("moe_k"), "MoE+Res": by_k("moe_res_k")}
    if "l2" in results:
        methods["MoE+Res, l2 weights"] = {k_l2: results["l2"]}
    if "ppo" in results:
        methods["PPO"] = {0: results["ppo"]}
    table = residual_table({name: rows for name, rows in methods.items() if rows}, with_published=True)
    (args.out / "table4.md").write_text(table + "\n")
    print(f"\n{table}")


if __name__ == "__main__":
    run(main)
