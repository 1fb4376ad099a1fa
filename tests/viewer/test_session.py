"""What the viewer plays, without its page."""

import numpy as np
import pytest
import torch
from helpers.fake_sim import fake_task
from helpers.policies import checkpoint_of, student_spec
from helpers.viewing import cast_of, choice, session, write_box

from resdex_tasks.hand.shadow_hand import NUM_ACTIONS
from resdex_tasks.sims.base import CONTROL_HZ
from resdex_tasks.utils.errors import UserError
from runners.viewer.frame import frame_of
from runners.viewer.session import RANDOM, UPLOADED, ZERO, Choice


@pytest.fixture(scope="module")
def made_once():
    made = session()
    yield made, made.cast
    made.close()


@pytest.fixture
def box(made_once):
    """The shipped base policy with the starter's box, at an episode's start."""
    made, cast = made_once
    made.take(cast)
    return made


def refused(made, prepare) -> str:
    """The sentence of a choice that is refused; what played before plays on."""
    before = made.cast
    with pytest.raises(UserError) as error:
        prepare()
    made.step()
    assert made.cast is before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_terms_of_the_steps_add_up_to_the_episodes_rewards(box):
    paid = dict.fromkeys(box.cast.task.reward_sums, 0.0)
    for step in range(3):
        box.step()
        assert box.reading.seconds == pytest.approx((step + 1) / CONTROL_HZ)
        paid = {name: total + box.reading.terms[name] for name, total in paid.items()}
    assert any(paid.values())
    assert paid == pytest.approx({name: float(total[0]) for name, total in box.cast.task.reward_sums.items()}, abs=1e-5)


def test_episodes_are_counted_and_follow_each_other(box):
    """At the goal in the second of three episodes, there at its first step alone in the third."""

    def on_step(sim):
        reached = sim.steps in (3, 4, 5)
        sim.now.object[:, :3] = torch.tensor([0.0, 0.0, 0.8]) if reached else torch.tensor([0.3, 0.0, 0.6])

    box.take(cast_of(box, fake_task(1, on_step, episodeLength=2)))
    seen = []
    for _ in range(6):
        box.step()
        seen.append((box.reading.success, box.reading.success_once, box.score.episodes))
    assert seen[2:] == [(True, True, 1), (True, True, 2), (True, True, 2), (False, True, 3)]
    assert (box.score.once, box.score.at_end, box.score.diverged) == (2, 1, 0)
    box.restart()
    assert box.score.episodes == 3 and box.reading.seconds == 0
    assert box.reading.goal_distance == pytest.approx(
        0.1, abs=1e-5
    )  # dropped 10 cm, to be lifted 20 cm above the table


def test_another_object_is_played_by_the_same_agent_from_an_episodes_start(box):
    for _ in range(5):
        box.step()
    box.take(box.prepare(choice(box, "mug")))
    assert box.cast.task.objects.names == ["mug"] and box.cast.choice.agent == "base_box"
    assert box.score.episodes == 0 and box.reading.seconds == 0 and int(box.cast.task.progress[0]) == 0


def test_another_policy_brings_its_own_task_and_what_it_sees(box):
    box.take(box.prepare(choice(box, "box", agent="hyper_stage2")))
    box.step()
    assert set(box.cast.task.groups) == {"full"} and list(box.reading.terms) == ["lift", "move", "bonus"]
    assert sum(box.reading.weights.values()) == pytest.approx(1)
    assert [name.split(" ", 1)[1] for name in box.reading.weights] == box.cast.experts and len(box.cast.experts) == 4
    assert frame_of(box.cast.task).cloud is None


def test_a_vision_policy_shows_its_cloud_on_the_object(box, tmp_path):
    checkpoint_of(student_spec(num_points=32)).write(tmp_path / "student.pth")
    box.take(box.prepare(choice(box, "cylinder", agent=str(tmp_path / "student.pth"))))
    box.step()
    frame = frame_of(box.cast.task)
    assert frame.cloud.shape == (32, 3)
    assert (abs(frame.cloud - frame.object[:3]).max(axis=1) < 0.06).all()


@pytest.mark.parametrize("agent", [ZERO, RANDOM])
def test_the_untrained_act_in_the_task_that_is_there(box, agent):
    box.take(box.prepare(choice(box, "box", agent=agent)))
    assert box.cast.task.groups == ("base",)
    actions = torch.cat([box.cast.act({}).action for _ in range(200)])
    assert actions.shape == (200, NUM_ACTIONS) and box.cast.act({}).weights is None
    if agent == ZERO:
        assert not actions.any()
    else:
        assert actions.min() < -0.9 and actions.max() > 0.9 and actions.abs().max() <= 1
        assert abs(float(actions.mean())) < 0.05


def test_a_task_without_a_checkpoint_is_played_by_nobody():
    made = session("task=ResDexHyper", "objects=starter", "objects.names=[mug,box]", agent=RANDOM)
    made.step()
    assert made.cast.choice.agent == RANDOM and made.cast.task.objects.names == ["mug"]
    made.close()


def test_the_command_lines_source_stays_whatever_a_checkpoints_task_has():
    """The base policy's task has the starter's objects, which have no categories; the hyper-policy's has the zoo."""
    made = session("checkpoint=base_box", "objects=zoo", "objects.categories=[mug]", "objects.codes=null")
    with pytest.raises(UserError, match="no shape code"):
        made.prepare(Choice("hyper_stage1", "zoo", made.cast.choice.object))
    made.take(made.prepare(Choice("zoo_expert_jar-0070", "zoo", made.cast.choice.object)))
    assert made.cast.task.objects[0].category == "mug" and made.sources() == ["zoo", "starter"]
    made.close()


def test_a_bad_checkpoint_is_refused(box, tmp_path):
    (tmp_path / "junk.pth").write_bytes(b"no checkpoint")
    assert "junk.pth" in refused(box, lambda: box.prepare(choice(box, "box", agent=str(tmp_path / "junk.pth"))))
    assert "no checkpoint nowhere" in refused(box, lambda: box.prepare(choice(box, "box", agent="nowhere")))


def test_a_checkpoint_that_was_written_again_is_read_again(box, tmp_path):
    path, actions = tmp_path / "own.pth", []
    for seed in (1, 2):
        checkpoint_of(student_spec(num_points=32), seed).write(path)
        box.take(box.prepare(choice(box, "box", agent=str(path))))
        actions.append(box.cast.act(box.cast.task.reset(seed=0)).action)
    assert not torch.equal(*actions)


def test_an_uploaded_mesh_is_played(tmp_path):
    box = session()
    assert UPLOADED not in box.sources()
    box.take(box.upload("../my box.stl", write_box(tmp_path / "box.stl")))
    box.step()
    assert box.cast.task.objects.names == ["my box.stl"] and UPLOADED in box.sources()
    assert [obj.name for obj in box.listed(UPLOADED)] == ["my box.stl"]
    box.take(box.prepare(choice(box, "box")))
    box.take(box.prepare(choice(box, "my box.stl", UPLOADED)))
    assert box.cast.task.objects.names == ["my box.stl"]
    box.close()


@pytest.mark.parametrize("size", [0.06, None])
def test_an_uploaded_mesh_is_as_long_as_asked_or_as_its_file_says(tmp_path, size):
    made = session()
    made.take(made.upload("box.stl", write_box(tmp_path / "box.stl", (0.05, 0.09, 0.04)), size))
    longest = np.ptp(made.cast.task.objects[0].vertices, axis=0).max()
    assert longest == pytest.approx(0.09 if size is None else size, rel=0.01)
    made.close()


@pytest.mark.parametrize(("name", "content"), [("notes.txt", b"a letter"), ("broken.stl", b"no mesh"), ("x.obj", b"")])
def test_what_is_no_mesh_is_refused_and_forgotten(box, name, content):
    assert name in refused(box, lambda: box.upload(name, content))
    assert UPLOADED not in box.sources()


def test_the_first_object_is_of_those_that_the_command_line_chose():
    of = {
        ("objects.names=[mug-0003]",): "mug-0003",
        ("objects.split=unseen_category", "objects.count=5"): "unseen_category",
    }
    for chosen, wanted in of.items():
        made = session("checkpoint=base_box", "objects=zoo", *chosen)
        obj = made.cast.task.objects[0]
        assert obj.name.startswith(wanted) or obj.split == wanted
        assert {other.split for other in made.listed("zoo")} == {"train", "unseen_object", "unseen_category"}
        made.close()


def test_a_set_may_begin_with_objects_that_cannot_be_used(tmp_path, capsys):
    (tmp_path / "a.stl").write_bytes(b"no mesh")
    write_box(tmp_path / "b.stl")
    made = session("checkpoint=base_box", "objects=meshes", f"objects.root={tmp_path}")
    assert made.cast.task.objects.names == ["b.stl"] and len(made.listed("meshes")) == 2
    assert capsys.readouterr().out.startswith("left out: ") and made.cast.choice.source == "meshes"
    assert "a.stl" in refused(made, lambda: made.prepare(choice(made, "a.stl", "meshes")))
    made.close()


def test_real_objects_are_played(sample_data):
    root = sample_data / "unidexgrasp_layout"
    made = session("checkpoint=base_box", "objects=dexgraspnet", f"objects.root={root}", "objects.scales=[0.06,0.08]")
    made.step()
    assert made.cast.task.objects.names == [made.cast.choice.object.name]
    assert {obj.split for obj in made.listed("dexgraspnet")} == {"train"}
    made.close()


def test_a_name_that_the_source_does_not_have_is_refused():
    with pytest.raises(UserError, match="nobody-0001"):
        session("checkpoint=base_box", "objects=zoo", "objects.names=[nobody-0001]")
