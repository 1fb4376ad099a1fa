"""Tables in Markdown out of evaluation results: one evaluation's own, and those laid out as the paper's 1, 2, 4 and 5.

A result is what `evaluate.evaluate` returns and evaluation.json holds. Where a table takes `Results`, it may be several
of one method (one a training seed): the cell is then their mean and sample standard deviation, as in the paper; of a
single one it is the value with its 95 % interval.
"""

from statistics import mean, stdev
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from resdex_tasks.objects.object_set import SPLITS
from runners.evaluation import paper_results as published

Result = Mapping[str, Any]
Results = Union[Result, Sequence[Result]]

SPLIT_TITLES = {
    "train": "Train",
    "unseen_object": "Unseen object, seen category",
    "unseen_category": "Unseen category",
}
MEASURES = ("held", "latched")
"""The headline first."""
NONE = "-"
MANY_OBJECTS = 20
"""Above so many objects, a report shows categories instead."""


def layout(rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table that is also readable as text: the first row is the head, the first `texts` columns are text."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [cell.ljust(w) if i < texts else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * (w + 2) if i < texts else "-" * (w + 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(rows[0]), "|" + "|".join(rule) + "|", *(line(row) for row in rows[1:])])


def percent(rate: Mapping[str, float]) -> str:
    """A rate and its interval, as "94.6 [92.1, 96.3]"."""
    return f"{100 * rate['rate']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def quality(d: Optional[Mapping[str, Optional[float]]]) -> str:
    """D and its interval, as "31.2 [30.8, 31.6]"."""
    if d is None:
        return NONE
    return f"{d['mean']:.1f}" + ("" if d["low"] is None else f" [{d['low']:.1f}, {d['high']:.1f}]")


# One evaluation


def rows_table(rows: Sequence[Mapping[str, Any]], head: str) -> str:
    """Rows of a result (objects, categories, splits), one a line: success, D, and the mean weights where there are."""
    k = max((len(row["weights"]) for row in rows if row["weights"]), default=0)
    out = [(head, "episodes", "held % [95 %]", "latched % [95 %]", "D [95 %]", *(f"w{i + 1}" for i in range(k)))]
    for row in rows:
        weights = [f"{w:.2f}" for w in row["weights"]] if row["weights"] else [NONE] * k
        name = SPLIT_TITLES.get(row["name"], row["name"]) if head == "split" else row["name"]
        shown = (percent(row["held"]), percent(row["latched"]), quality(row["D"]))
        out.append((name, str(row["episodes"]), *shown, *weights))
    return layout(out)


def summary_tables(name: str, result: Result) -> List[str]:
    """One evaluation in short, as Markdown tables: the paper's splits where there are several; then each object where
    they are few, else each category, and the totals."""
    several = len(result["splits"]) > 1
    tables = [success_table({name: result})] if several else []
    few = len(result["objects"]) <= MANY_OBJECTS
    totals = [*(result["splits"] if several else []), result["all"]]
    totals = [{**row, "name": f"**{SPLIT_TITLES.get(row['name'], row['name'])}**"} for row in totals]
    rows = result["objects" if few else "categories"]
    return [*tables, rows_table([*rows, *totals], "object" if few else "category")]


def evaluation_report(name: str, result: Mapping[str, Any], images: Sequence[Tuple[str, str]] = ()) -> str:
    """evaluation.md of one evaluation.json.

    Args:
        images: (title, file name beside the report) of each picture.
    """
    total = result["all"]
    lines = [
        f"# Evaluation of {name}",
        "",
        f"Checkpoint `{result['checkpoint']}`, deterministic, seed {result['seed']}: {total['episodes']} episodes of "
        f"{len(result['objects'])} objects in {len(result['categories'])} categories"
        + (f", {total['diverged']} of them diverged (counted as failures)" if total["diverged"] else "")
        + ".",
        "",
        "*Held*: within 5 cm of the goal at the last step. *Latched*: at any step, the official protocol. Both with "
        "Wilson's 95 % interval. D = -sum of r_proposal over an episode, lower is better; its weights here are "
        + ", ".join(f"{w:g}" for w in result["proposal_weights"])
        + " for position (m), rotation (rad) and joints (rad)."
        + (" w1, w2, ...: the mean mixture weight of each expert." if total["weights"] else ""),
    ]
    if result.get("experts"):
        lines += ["", *(f"- w{i + 1}: the expert of {what}" for i, what in enumerate(result["experts"]))]
    if len(result["splits"]) > 1:
        lines += [
            "",
            "## Splits",
            "",
            success_table({name: result}),
            "",
            rows_table([*result["splits"], total], "split"),
        ]
    lines += ["", "## Categories", "", rows_table([*result["categories"], total], "category")]
    if len(result["objects"]) <= MANY_OBJECTS:
        lines += ["", "## Objects", "", rows_table([*result["objects"], total], "object")]
    else:
        lines += ["", f"Each of the {len(result['objects'])} objects is in evaluation.json."]
    for title, file in images:
        lines += ["", f"## {title}", "", f"![{title}]({file})"]
    return "\n".join(lines) + "\n"


# Many evaluations, as the paper lays them out


def success_table(methods: Mapping[str, Results], published_rows: Optional[Mapping[str, published.Row]] = None) -> str:
    """Tables 1, 2 and 3: success on the three splits, a row for each method and measure.

    Args:
        methods: name -> its results.
        published_rows: `published.STAGE_1`, `STAGE_2` or `VISION`, marked as what they are.
    """
    rows = [("method", "success %", *SPLIT_TITLES.values())]
    for name, results in methods.items():
        for i, measure in enumerate(MEASURES):
            cells = [_success(results, split, measure) for split in SPLITS]
            rows.append(("" if i else name, measure, *cells))
    for name, values in (published_rows or {}).items():
        rows.append((f"{name}\\*", "published", *(f"{v:.1f}" for v in values)))
    return _with_note(layout(rows, texts=2), bool(published_rows))


def residual_table(
    methods: Mapping[str, Mapping[int, Results]], split: str = "train", with_published: bool = False
) -> str:
    """Table 4: success by the number of experts k, a row for each method and measure.

    Args:
        methods: such as {"MoE": {1: result, 2: ...}, "MoE+Res": {...}, "PPO": {0: result}}; k = 0 stands for no experts
            and has a column of its own.
        split: the split that success is shown of; the paper's is the training split.
        with_published: add the paper's rows, marked as what they are.
    """
    shown = published.RESIDUAL if with_published else {}
    ks = sorted({k for by_k in [*methods.values(), *shown.values()] for k in by_k})
    ks = [k for k in ks if k] + [0] * (0 in ks)
    rows = [("method", f"success % ({SPLIT_TITLES[split]})", *(f"k = {k}" if k else "no experts" for k in ks))]
    for name, by_k in methods.items():
        for i, measure in enumerate(MEASURES):
            cells = [_success(by_k[k], split, measure) if k in by_k else NONE for k in ks]
            rows.append(("" if i else name, measure, *cells))
    for name, values in shown.items():
        rows.append((f"{name}\\*", "published", *(f"{values[k]:.1f}" if k in values else NONE for k in ks)))
    return _with_note(layout(rows, texts=2), with_published)


def quality_table(by_k: Mapping[int, Results], split: str = "unseen_category") -> str:
    """Table 5: grasp quality D by the number of experts k, lower is better; the paper shows unseen categories."""
    ks = sorted(by_k)
    cells = [
        _cell(by_k[k], split, lambda row: quality(row["D"]), lambda row: row["D"] and row["D"]["mean"]) for k in ks
    ]
    return layout([(f"D ({SPLIT_TITLES[split]})", *(f"k = {k}" for k in ks)), ("ResDex", *cells)])


def _success(results: Results, split: str, measure: str) -> str:
    return _cell(results, split, lambda row: percent(row[measure]), lambda row: 100 * row[measure]["rate"])


def _cell(results: Results, split: str, one: Any, number: Any) -> str:
    """What results say of a split: `one` of the row of a single result, or mean and deviation of `number` of many."""
    results = [results] if isinstance(results, Mapping) else results
    rows = [row for result in results for row in result["splits"] if row["name"] == split]
    if len(rows) < len(results) or not rows:
        return NONE
    if len(rows) == 1:
        return one(rows[0])
    numbers = [number(row) for row in rows]
    if any(value is None for value in numbers):
        return NONE
    return f"{mean(numbers):.1f} ± {stdev(numbers):.1f} (n = {len(numbers)})"


def _with_note(table: str, noted: bool) -> str:
    return f"{table}\n\n{published.NOTE}" if noted else table
