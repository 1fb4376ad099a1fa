"""Tables as the paper lays them out, from results made by hand."""

from dataclasses import replace

import pytest
from helpers.results import cells, result, row

from resdex_tasks.utils.tables import markdown_table
from runners.evaluation import paper_results as published
from runners.evaluation.intervals import Estimate
from runners.evaluation.tables import (
    evaluation_report,
    quality_table,
    residual_table,
    rows_table,
    success_table,
    summary_tables,
)


def test_markdown_table_is_aligned():
    lines = markdown_table([("name", "n"), ("a", "1"), ("long name", "100")]).splitlines()
    assert lines == ["| name      |   n |", "|-----------|----:|", "| a         |   1 |", "| long name | 100 |"]


def test_table_2_has_a_row_for_each_method_and_measure_and_a_column_for_each_split():
    table = success_table({"ours": result(), "base": result(train=(0, 100), unseen_object=None)})
    assert cells(table) == [
        ["method", "success %", "Train", "Unseen object, seen category", "Unseen category"],
        ["ours", "at end", "80.0 [71.1, 86.7]", "70.0 [60.4, 78.1]", "75.0 [65.7, 82.5]"],
        ["", "once (official)", "90.0 [82.6, 94.5]", "85.0 [76.7, 90.7]", "88.0 [80.2, 93.0]"],
        ["base", "at end", "0.0 [0.0, 3.7]", "-", "75.0 [65.7, 82.5]"],
        ["", "once (official)", "100.0 [96.3, 100.0]", "-", "88.0 [80.2, 93.0]"],
    ]
    assert "DexGraspNet" not in table


def test_several_seeds_are_a_mean_and_a_standard_deviation():
    seeds = [result(train=(at_end, 90), d=(d, d)) for at_end, d in ((80, 30.0), (82, 31.0), (84, 35.0))]
    at_end, once = cells(success_table({"ours": seeds}))[1:]
    assert at_end[2] == "82.0 ± 2.0 (n = 3)" and once[2] == "90.0 ± 0.0 (n = 3)"
    # 30, 31, 35: mean 32, deviation sqrt(7)
    assert cells(quality_table({4: seeds})) == [["D (Unseen category)", "k = 4"], ["ResDex", "32.0 ± 2.6 (n = 3)"]]
    assert cells(success_table({"ours": [*seeds, result(train=None)]}))[1][2] == "-"  # not all were measured there


@pytest.mark.parametrize("rows", [published.STAGE_1, published.STAGE_2, published.VISION])
def test_published_numbers_are_marked_as_such(rows):
    table = success_table({"ours": result()}, rows)
    theirs = [r for r in cells(table) if r[1] == "published"]
    assert [r[0] for r in theirs] == [f"{name}\\*" for name in rows]
    assert [tuple(float(c) for c in r[2:]) for r in theirs] == list(rows.values())
    assert table.splitlines()[-1].startswith("\\* as published") and "DexGraspNet" in table.splitlines()[-1]


def test_published_margins_are_those_the_paper_states():
    plus, ours = published.STAGE_1["UniDexGrasp++"], published.STAGE_1["ResDex (k = 4)"]
    assert [a - b for a, b in zip(ours, plus)] == pytest.approx([2.7, 5.4, 7.8])
    assert published.RESIDUAL["MoE+Res"][4] == ours[0]
    final = published.STAGE_2["ResDex (k = 4)"]
    assert [a - b for a, b in zip(final, plus)] == pytest.approx([6.7, 10.1, 12.3])


def test_table_4_has_a_column_for_each_k_and_one_for_no_experts():
    methods = {"MoE": {1: result(), 2: result()}, "MoE+Res": {2: result(train=(90, 95))}, "PPO": {0: result()}}
    table = cells(residual_table(methods))
    assert table[0] == ["method", "success % (Train)", "k = 1", "k = 2", "no experts"]
    assert [r[0] for r in table[1:]] == ["MoE", "", "MoE+Res", "", "PPO", ""]
    assert [r[1] for r in table[1:]] == ["at end", "once (official)"] * 3
    assert table[1][2:] == ["80.0 [71.1, 86.7]", "80.0 [71.1, 86.7]", "-"]
    assert table[3][2:] == ["-", "90.0 [82.6, 94.5]", "-"]
    assert table[5][2:] == ["-", "-", "80.0 [71.1, 86.7]"]


def test_table_4_beside_the_papers():
    table = residual_table({"MoE": {1: result()}}, with_published=True)
    assert cells(table)[0][2:] == [f"k = {k}" for k in range(1, 7)]
    assert cells(table)[-1] == ["MoE+Res\\*", "published", "83.2", "82.8", "88.1", "90.6", "87.6", "88.7"]
    assert "DexGraspNet" in table


def test_table_5_shows_quality_by_k():
    table = cells(quality_table({2: result(), 1: result(d=(40.0,))}))
    # of 30 and 32: 31 -+ 12.7062 * sqrt(2) / sqrt(2)
    assert table == [["D (Unseen category)", "k = 1", "k = 2"], ["ResDex", "40.0", "31.0 [18.3, 43.7]"]]
    assert cells(quality_table({1: result(d=())}))[1] == ["ResDex", "-"]


def test_rows_table_has_columns_for_success_quality_and_mixture_weights():
    mug = replace(row("mug", 1, 1, weights=[0.25, 0.75]), opposed=Estimate(0.5, None, None))
    table = cells(rows_table([mug, row("box", 1, 1)], "category"))
    success = ["success at end %", "success once (official) %"]
    assert table[0] == ["category", "episodes", *success, "D", "opposed %", "w1", "w2"]
    assert table[1][5:] == ["50", "0.25", "0.75"] and table[2][5:] == ["-", "-", "-"]


def test_summary_shows_objects_where_they_are_few_and_categories_where_they_are_many():
    success, rows = summary_tables("ours", result())
    assert cells(success)[1][0] == "ours"
    titles = ["**Train**", "**Unseen object, seen category**", "**Unseen category**", "**all**"]
    assert [r[0] for r in cells(rows)] == ["object", "mug-0", "mug-1", *titles]
    assert [r[0] for r in cells(summary_tables("ours", result(num_objects=21))[1])] == ["category", "mug", *titles]
    (only,) = summary_tables("ours", result(unseen_object=None, unseen_category=None))
    assert [r[0] for r in cells(only)] == ["object", "mug-0", "mug-1", "**all**"]


def test_evaluation_report_says_what_was_measured():
    measured = result(weights=[0.4, 0.6], experts=["bottle-0035", "ring-0066"])
    text = evaluation_report("ours", measured, [("Final grasps", "gallery.png")])
    assert "`policy.pth`" in text and "seed 7" in text and "300 episodes of 2 objects in 1 categories" in text
    assert "0.3, 0.02, 0.05" in text and "- w2: the expert of ring-0066" in text
    assert "![Final grasps](gallery.png)" in text
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Evaluation of ours", "## Splits", "## Categories", "## Objects", "## Final grasps",
    ]  # fmt: skip
    many = evaluation_report("ours", result(num_objects=21))
    assert "## Objects" not in many and "Each of the 21 objects is in evaluation.json" in many
