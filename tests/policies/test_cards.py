"""What is said of policies comes out of their files, and the documentation says the same."""

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.policies import base_spec, checkpoint_of, hyper_spec, student_spec

from resdex_tasks.utils.errors import UserError
from runners.policies.cards import BEGINS, ENDS, cards, main, model_card, policy_table, success_table, what, write_into
from runners.policies.checkpoint import Checkpoint, shipped_policies
from runners.policies.records import Estimate, Measured, MeasuredRow

MODELS = Path(__file__).resolve().parents[2] / "docs" / "models.md"


QUALITY = Estimate(30.0, 29.0, 31.5)


def row(objects=1, quality=QUALITY):
    return MeasuredRow(200, objects, Estimate(0.965, 0.93, 0.983), Estimate(1.0, 0.981, 1.0), quality)


def measured(rows, names=None):
    source = {"source": "zoo", "names": names}
    return Measured("python train.py test=True checkpoint=x", 3, "a laptop, 2 cores", {"torch": "2"}, source, rows)


def test_the_documentation_shows_the_cards_of_the_shipped_files():
    page = MODELS.read_text(encoding="utf-8")
    shown = page.split(BEGINS)[1].split(ENDS)[0].strip()
    assert shown == cards(), "run: python -m runners.policies.cards --write docs/models.md"


def test_what_shipped_policies_say_of_themselves_was_measured_on_many_episodes_by_a_command():
    measured = {one.name: one.measured for one in map(Checkpoint.read, shipped_policies()) if one.measured}
    assert {"hyper_stage2", "base_box"} <= set(measured)
    for one in measured.values():
        assert one.rows["all"].episodes >= 100 and "test=True" in one.command and one.machine


def test_a_policy_is_what_its_network_and_its_view_are():
    assert what(checkpoint_of(base_spec())) == "base expert: sees no shape, 153 numbers"
    assert what(checkpoint_of(base_spec(observation="full"))) == "policy without experts: sees the state, 227 numbers"
    hyper = replace(checkpoint_of(hyper_spec(k=3)), task={"name": "ResDexHyper", "stage": 1, "env": {}})
    assert what(hyper) == "hyper-policy over 3 experts, stage 1: sees the state, 227 numbers"
    task = {"name": "ResDexVision", "stage": None, "env": {"vision": {"source": "camera"}}}
    student = replace(checkpoint_of(student_spec(16)), task=task)
    student = replace(student, made_by=replace(student.made_by, teacher={"name": "hyper_stage2", "id": "1"}))
    assert what(student) == "vision policy, imitates hyper_stage2: sees 147 numbers and 16 points (camera clouds)"


def test_steps_and_wall_time_are_the_trainings():
    one = checkpoint_of(base_spec())
    made_by = replace(one.made_by, steps=1_024_000, minutes=17.0, machine="a laptop")
    many = tuple(f"mug-{i}" for i in range(1200))
    table = policy_table(
        [replace(one, made_by=made_by, objects=many, object_source={"source": "zoo", "sizes": "both"})]
    )
    assert "| zoo: 1,200 objects, sizes=both |" in table and "1.02 M" in table and "17 min (a laptop)" in table
    assert policy_table([replace(one, objects=("mug",))]).splitlines()[-1].endswith("- |")


def test_success_is_shown_by_split_or_once_where_there_is_one():
    one, several = checkpoint_of(base_spec()), checkpoint_of(base_spec())
    rows = {"train": row(), "all": row()}
    single = success_table([replace(one, name="expert", measured=measured(rows, ["jar-0070"]))]).splitlines()
    assert len(single) == 3
    cells = [cell.strip() for cell in single[-1].split("|")[1:-1]]
    assert cells == ["expert", "zoo: jar-0070", "200", "96.5 [93.0, 98.3]", "100.0 [98.1, 100.0]", "30.0 [29.0, 31.5]"]
    rows = {"train": row(9), "unseen_object": row(5, None), "all": row(14)}
    table = success_table([replace(several, name="hyper", measured=measured(rows))])
    assert [line.split("|")[2].strip() for line in table.splitlines()[2:]] == [
        "zoo: 9 of train", "zoo: 5 of unseen_object", "zoo: 14 of all",
    ]  # fmt: skip
    assert table.splitlines()[3].split("|")[-2].strip() == "-"
    assert success_table([one]) == ""


def test_a_card_for_a_hub_says_what_how_good_and_how_to_play(tmp_path):
    one = replace(checkpoint_of(base_spec()), name="mine", measured=measured({"train": row(), "all": row()}, ["jar"]))
    card = model_card(one, "me/mine")
    assert card.startswith("---\nlibrary_name: resdex\nlicense: bsd-3-clause\n")
    for words in ("base expert", "96.5 [93.0, 98.3]", "pull me/mine", "checkpoint=x", one.id, "a laptop, 2 cores"):
        assert words in card
    assert "Nobody measured" in model_card(replace(one, measured=None))


def test_cards_go_between_the_marks_of_a_page(tmp_path, capsys):
    page = tmp_path / "models.md"
    page.write_text(f"before\n\n{BEGINS}\nold\n{ENDS}\n\nafter\n", encoding="utf-8")
    assert main(["base_box", "--write", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n\n{BEGINS}\n\n| policy") and text.endswith(f"\n\n{ENDS}\n\nafter\n")
    assert "old" not in text and "hyper" not in text
    assert main(["base_box", "--write", str(page)]) == 0 and page.read_text(encoding="utf-8") == text
    page.write_text("nothing here")
    with pytest.raises(UserError, match=r"models\.md has no place for the cards"):
        write_into(page, "text")
    assert main(["nobody"]) == 2 and capsys.readouterr().err.startswith("error: no checkpoint nobody")
