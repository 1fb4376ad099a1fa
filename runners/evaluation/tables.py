"""Tables in Markdown out of evaluation results: one evaluation's own, and those laid out as the paper's 1, 2, 4 and 5.

Where a table takes `Results`, it may be several of one method (one a training seed): the cell is then their mean and
sample standard deviation, as in the paper; of a single one it is the value with its 95 % interval.
"""

from dataclasses import replace
from statistics import mean, stdev
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from resdex_tasks.objects.object_set import SPLITS
from resdex_tasks.utils.printing import one_line_of
from resdex_tasks.utils.tables import markdown_table
from runners.evaluation import paper_results
from runners.evaluation.intervals import Estimate
from runners.evaluation.summary import EvaluationResult, SuccessRow, TeacherResult

Results = Union[EvaluationResult, Sequence[EvaluationResult]]

SPLIT_TITLES = {
    "train": "Train",
    "unseen_object": "Unseen object, seen category",
    "unseen_category": "Unseen category",
}
MEASURES = {"success_at_end": "at end", "success_once": "once (official)"}
"""Fields of a `SuccessRow` -> their heads, the headline first."""
DEFINITIONS = (
    "*Success at the end*: within 5 cm of the goal at the last step. *Once*: at any step, the official protocol. "
    "95 % intervals, bootstrapped over objects. D = -sum of r_proposal over an episode, lower is better. *Opposed*: "
    "of the successes at the end, those that hold the object between the thumb and a finger, with the back of neither."
)
NONE = "-"
MANY_OBJECTS = 20
"""Above so many objects, a report shows categories instead."""


def percent(rate: Estimate) -> str:
    """A rate and its interval, as "94.6 [92.1, 96.3]"."""
    return rate.text(100)


def quality(d: Optional[Estimate]) -> str:
    """D and its interval, as "31.2 [30.8, 31.6]"."""
    return NONE if d is None else d.text()


# One evaluation


def rows_table(rows: Sequence[SuccessRow], head: str) -> str:
    """Rows of a summary (objects, categories, splits), one a line: success, D, and the mean weights where there are."""
    k = max((len(row.weights) for row in rows if row.weights), default=0)
    heads = [f"success {words} %" for words in MEASURES.values()]
    out = [(head, "episodes", *heads, "D", "opposed %", *(f"w{i + 1}" for i in range(k)))]
    for row in rows:
        weights = [f"{w:.2f}" for w in row.weights] if row.weights else [NONE] * k
        name = SPLIT_TITLES.get(row.name, row.name) if head == "split" else row.name
        grip = NONE if row.opposed is None else f"{100 * row.opposed.value:.0f}"
        shown = (*(percent(getattr(row, measure)) for measure in MEASURES), quality(row.quality), grip)
        out.append((name, str(row.episodes), *shown, *weights))
    return markdown_table(out)


def summary_tables(name: str, result: EvaluationResult) -> List[str]:
    """One evaluation in short, as Markdown tables: the paper's splits where there are several; then each object where
    they are few, else each category, and the totals."""
    summary = result.summary
    several = len(summary.splits) > 1
    tables = [success_table({name: result})] if several else []
    if result.teacher is not None:
        tables.append(teacher_table(name, result, result.teacher))
    few = len(summary.objects) <= MANY_OBJECTS
    totals = [*(summary.splits if several else []), summary.all]
    totals = [replace(row, name=f"**{SPLIT_TITLES.get(row.name, row.name)}**") for row in totals]
    rows = summary.objects if few else summary.categories
    return [*tables, rows_table([*rows, *totals], "object" if few else "category")]


def evaluation_report(name: str, result: EvaluationResult, images: Sequence[Tuple[str, str]] = ()) -> str:
    """evaluation.md of one evaluation.json.

    Args:
        images: (title, file name beside the report) of each picture.
    """
    summary = result.summary
    total = summary.all
    lines = [
        f"# Evaluation of {one_line_of(name)}",
        "",
        f"Checkpoint `{one_line_of(result.checkpoint)}`, deterministic, seed {result.seed}: "
        f"{total.episodes} episodes of {len(summary.objects)} objects in {len(summary.categories)} categories"
        + (f", {total.diverged} of them diverged (counted as failures)" if total.diverged else "")
        + ".",
        "",
        DEFINITIONS
        + " Its weights here are "
        + ", ".join(f"{w:g}" for w in result.proposal_weights)
        + " for position (m), rotation (rad) and joints (rad)."
        + (" w1, w2, ...: the mean mixture weight of each expert." if total.weights else ""),
    ]
    if result.experts:
        lines += ["", *(f"- w{i + 1}: the expert of {one_line_of(what)}" for i, what in enumerate(result.experts))]
    if len(summary.splits) > 1:
        lines += [
            "",
            "## Splits",
            "",
            success_table({name: result}),
            "",
            rows_table([*summary.splits, total], "split"),
        ]
    if result.teacher is not None:
        lines += ["", "## Beside its teacher", "", teacher_table(name, result, result.teacher)]
    lines += ["", "## Categories", "", rows_table([*summary.categories, total], "category")]
    if len(summary.objects) <= MANY_OBJECTS:
        lines += ["", "## Objects", "", rows_table([*summary.objects, total], "object")]
    else:
        lines += ["", f"Each of the {len(summary.objects)} objects is in evaluation.json."]
    for title, file in images:
        lines += ["", f"## {title}", "", f"![{title}]({file})"]
    return "\n".join(lines) + "\n"


# Many evaluations, as the paper lays them out


def success_table(
    methods: Mapping[str, Results],
    published_rows: Optional[Mapping[str, paper_results.Row]] = None,
    with_quality: bool = False,
) -> str:
    """Tables 1, 2 and 3: success on the three splits, a row for each method and measure.

    Args:
        methods: name -> its results.
        published_rows: `paper_results.STAGE_1`, `STAGE_2` or `VISION`, marked as what they are.
        with_quality: add a row of D.
    """
    rows = [("method", "success %" + " or D" * with_quality, *SPLIT_TITLES.values())]
    for name, results in methods.items():
        for i, (measure, head) in enumerate(MEASURES.items()):
            cells = [_success(results, split, measure) for split in SPLITS]
            rows.append(("" if i else name, head, *cells))
        if with_quality:
            rows.append(("", "D", *(_quality(results, split) for split in SPLITS)))
    for name, values in (published_rows or {}).items():
        rows.append((f"{name}\\*", "published", *(f"{v:.1f}" for v in values)))
    return _with_note(markdown_table(rows, texts=2), bool(published_rows))


def teacher_table(name: str, result: EvaluationResult, teacher: TeacherResult) -> str:
    """Table 3: a student, its teacher on the same episodes, and the difference in points, split by split."""
    ours = [row for row in result.summary.splits if row.name in {gaps.name for gaps in teacher.splits}]
    rows = [("policy", "success %", *(SPLIT_TITLES[row.name] for row in ours))]
    for key, head in (("at_end", MEASURES["success_at_end"]), ("once", MEASURES["success_once"])):
        lines = {
            f"{teacher.checkpoint} (teacher)": [getattr(row, f"teacher_{key}") for row in teacher.splits],
            name: [getattr(row, f"success_{key}") for row in ours],
            "difference, points": [getattr(row, f"gap_{key}") for row in teacher.splits],
        }
        rows += [(title, head, *map(percent, estimates)) for title, estimates in lines.items()]
    return markdown_table(rows, texts=2)


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
    shown = paper_results.RESIDUAL if with_published else {}
    ks = sorted({k for by_k in [*methods.values(), *shown.values()] for k in by_k})
    ks = [k for k in ks if k] + [0] * (0 in ks)
    rows = [("method", f"success % ({SPLIT_TITLES[split]})", *(f"k = {k}" if k else "no experts" for k in ks))]
    for name, by_k in methods.items():
        for i, (measure, head) in enumerate(MEASURES.items()):
            cells = [_success(by_k[k], split, measure) if k in by_k else NONE for k in ks]
            rows.append(("" if i else name, head, *cells))
    for name, values in shown.items():
        rows.append((f"{name}\\*", "published", *(f"{values[k]:.1f}" if k in values else NONE for k in ks)))
    return _with_note(markdown_table(rows, texts=2), with_published)


def quality_table(by_k: Mapping[int, Results], split: str = "unseen_category") -> str:
    """Table 5: grasp quality D by the number of experts k, lower is better; the paper shows unseen categories."""
    ks = sorted(by_k)
    cells = [_quality(by_k[k], split) for k in ks]
    return markdown_table([(f"D ({SPLIT_TITLES[split]})", *(f"k = {k}" for k in ks)), ("ResDex", *cells)])


def _quality_value(row: SuccessRow) -> Optional[float]:
    return None if row.quality is None else row.quality.value


def _quality(results: Results, split: str) -> str:
    return _cell(results, split, lambda row: quality(row.quality), _quality_value)


def _success(results: Results, split: str, measure: str) -> str:
    return _cell(
        results, split, lambda row: percent(getattr(row, measure)), lambda row: 100 * getattr(row, measure).value
    )


def _cell(results: Results, split: str, one: Any, number: Any) -> str:
    """What results say of a split: `one` of the row of a single result, or mean and deviation of `number` of many."""
    results = [results] if isinstance(results, EvaluationResult) else results
    rows = [row for result in results for row in result.summary.splits if row.name == split]
    if len(rows) < len(results) or not rows:
        return NONE
    if len(rows) == 1:
        return one(rows[0])
    numbers = [number(row) for row in rows]
    if any(value is None for value in numbers):
        return NONE
    return f"{mean(numbers):.1f} ± {stdev(numbers):.1f} (n = {len(numbers)})"


def _with_note(table: str, noted: bool) -> str:
    return f"{table}\n\n{paper_results.NOTE}" if noted else table
