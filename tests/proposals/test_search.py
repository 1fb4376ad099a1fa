"""The search for grasp proposals and its command."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from helpers.grasps import candidates_of, make_sim, zoo_trio
from scipy.spatial.transform import Rotation

from resdex_tasks.hand.shadow_hand import JOINTS
from resdex_tasks.objects.geometry.surface import TurnedSurface
from resdex_tasks.objects.object_set import GraspProposals, ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.proposals.candidates import CANDIDATE_CONFIG, sample_candidates
from resdex_tasks.proposals.file import proposals_for, read_proposals
from resdex_tasks.proposals.search import MAX_UNLIKE, GraspGrade, SearchConfig, _Search, _Tried, propose, strays
from resdex_tasks.proposals.trials import (
    FULL_MOTION,
    QUICK_MOTION,
    Outcomes,
    holds,
    replay_trials,
    run_trials,
)
from resdex_tasks.utils.errors import UserError
from runners.objects import propose as propose_module
from runners.objects.__main__ import main
from runners.objects.propose import run

QUICK = SearchConfig(candidates=48, variations=6, rounds=4, parents=3, wanted=3)


@pytest.fixture(scope="module")
def found():
    """What a short search finds for a box."""
    objects = starter_objects().select(["box"])
    return objects, propose(make_sim, objects, QUICK, num_envs=16)


@pytest.mark.slow
def test_a_box_gets_proposals_that_hold(found):
    objects, records = found
    box = records[0]
    most = QUICK.candidates + QUICK.rounds * QUICK.variations
    assert box.name == "box" and QUICK.candidates <= box.tried <= most
    assert 1 <= len(box.proposals) <= QUICK.wanted
    held = holds(make_sim(objects[:1], 4), objects[:1], [box.proposals])[0]
    assert held.mean() > 0.7


@pytest.mark.slow
def test_bad_grasps_do_not_hold(found):
    objects, records = found
    good = records[0].proposals
    away = dataclasses.replace(good, translation=good.translation + np.array([0.0, 0.0, 0.3]))
    spread = np.tile(np.deg2rad([25.0 if j == "THJ3" else 0.0 for j in JOINTS]), (len(good), 1))
    opened = dataclasses.replace(good, joint_pos=spread)
    box = objects[:1]
    sim = make_sim(box, 4)
    assert not holds(sim, box, [away])[0].any()
    assert not holds(sim, box, [opened])[0].any()
    wedged = dataclasses.replace(replay_trials(sim, box, [good]), begins_inside=torch.ones(len(good), dtype=torch.bool))
    assert not run_trials(sim, wedged, FULL_MOTION).held.any()
    outcomes = run_trials(sim, replay_trials(sim, box, [away]), FULL_MOTION)
    assert (outcomes.lasted < FULL_MOTION.num_steps).all(), "a dropped object ends its trial"
    assert torch.isinf(outcomes.slip).all()


@pytest.mark.slow
def test_a_trial_does_not_depend_on_its_neighbours(found):
    box, records = found
    both = ObjectSet([*zoo_trio()[:1], *box])
    sim = make_sim(both, 3)
    trials = replay_trials(sim, both, [zoo_trio()[0].proposals, records[0].proposals])
    together = run_trials(sim, trials, FULL_MOTION)
    sim = make_sim(box, 2)
    alone = run_trials(sim, replay_trials(sim, box, [records[0].proposals]), FULL_MOTION)
    count = len(records[0].proposals)
    torch.testing.assert_close(together.lasted[-count:], alone.lasted)
    torch.testing.assert_close(together.slip[-count:], alone.slip, rtol=0, atol=1e-6)


def test_what_rolls_is_told_from_what_is_turned():
    ball, can = (TurnedSurface(obj) for obj in starter_objects().select(["sphere", "can"]))
    degrees = np.arange(15.0, 181.0, 15.0)[:, None]
    about_x, about_z = (Rotation.from_rotvec(degrees * axis, degrees=True) for axis in ([1.0, 0, 0], [0, 0, 1.0]))
    assert ball.unlike(about_x).max() < MAX_UNLIKE
    assert can.unlike(about_z).max() < MAX_UNLIKE, "about its length"
    across = can.unlike(about_x)
    assert across[degrees[:, 0] == 90] > MAX_UNLIKE and across[-1] < MAX_UNLIKE, "upside down it is the same"


def outcomes_of(grasps, held, turned_deg, slip):
    """Of trials in which the object turned by so much about its z axis."""
    turn = Rotation.from_rotvec(np.outer(turned_deg, [0.0, 0.0, 1.0]), degrees=True)
    rotation = torch.tensor((turn * Rotation.from_quat(grasps.rotation)).as_quat())
    lasted = torch.tensor(np.where(held, 100, 40))
    return Outcomes(torch.tensor(held), torch.tensor(slip), rotation, torch.zeros(len(grasps), 3), lasted)


class CountingScheduler:
    """Counts trials and runs none."""

    def __init__(self):
        self.added = []

    def add(self, trials, motion):
        begin = sum(count for count, _ in self.added)
        self.added.append((len(trials), "quick" if motion is QUICK_MOTION else "full"))
        return slice(begin, begin + len(trials))


def test_a_search_takes_what_rolls_when_its_rounds_are_over_and_after_all_others():
    objects = starter_objects().select(["box"])
    search = _Search(make_sim(objects, 1), objects, 0, SearchConfig(6, variations=4, rounds=1, parents=2, wanted=4), ())
    scheduler, tried = CountingScheduler(), []
    while search.next_round(scheduler):
        count, motion = scheduler.added[-1]
        rolls = [0.0] + (count - 1) * [60.0 if motion == "quick" else 0.0]  # in all trials but the first of a round
        times = len(search.rows)
        twice = GraspProposals.joined(times * [search.grasps])
        ended = outcomes_of(twice, np.ones(len(twice), dtype=bool), times * rolls, np.zeros(len(twice)))
        search.rows = [slice(i * count, (i + 1) * count) for i in range(times)]
        scheduler.outcomes = ended
        tried.append(search.grasps)
    assert scheduler.added == [(6, "quick"), (4, "quick"), *2 * [(2, "full")], *2 * [(3, "full")]]
    found = search.result()
    assert found.count == 4 and found.tried == 10
    unrolled = {tuple(tried[i].translation[0]) for i in (0, 1)}
    assert {tuple(t) for t in found.proposals.translation[:2]} == unrolled, "the best, and tried again alone"


def test_a_search_draws_its_candidates_as_configured():
    objects = starter_objects().select(["box"])
    config = dataclasses.replace(CANDIDATE_CONFIG, draws=2)
    search = _Search(make_sim(objects, 1), objects, 0, QUICK, (), config)
    search.next_round(CountingScheduler())
    count = QUICK.candidates
    expected, default = (
        sample_candidates(objects[0], count, search._generator(0), c) for c in (config, CANDIDATE_CONFIG)
    )
    np.testing.assert_array_equal(search.grasps.translation, expected.translation)
    assert not np.allclose(search.grasps.translation, default.translation)


def test_grasps_whose_object_rolls_come_last():
    box = starter_objects().select(["box"])[0]
    grasps = candidates_of(box, 5)
    tried = _Tried(box)
    held = np.array([False, True, True, True, True])
    tried.add(grasps, outcomes_of(grasps, held, [0, 50, 0, 20, 10], [np.inf, 0.0, 0.02, 0.0, 0.0]), slice(0, 5))
    assert (tried.count(GraspGrade.HELD, only_true=True), tried.count(GraspGrade.HELD, only_true=False)) == (3, 4)
    # 20 degrees cost as much as 17 mm of slip
    assert tried.best(5).tolist() == [4, 3, 2, 1, 0]
    assert tried.best(5, GraspGrade.HELD, only_true=True).tolist() == [4, 3, 2]
    again = np.array([1, 3, 4])
    chosen, two = tried.take(again), np.array([True, True, False, True, True, True])
    twice = GraspProposals.joined([chosen, chosen])
    tried.confirm(again, chosen, outcomes_of(twice, two, 6 * [0], 6 * [0.001]), [slice(0, 3), slice(3, 6)])
    assert tried.best(5, GraspGrade.STABLE).tolist() == [3, 1], "to hold again is to hold in both"
    assert tried.count(GraspGrade.STABLE, only_true=True) == 1, "it rolled once"


def test_how_far_an_object_strays():
    ball, box = starter_objects().select(["sphere", "box"])
    for obj, expected in ((box, [True, True, False]), (ball, [True, True, True])):
        grasps = candidates_of(obj, 3)
        closed = outcomes_of(grasps, np.ones(3, dtype=bool), [0, -25, 40], np.zeros(3)).rotation.numpy()
        angle, true = strays(TurnedSurface(obj), grasps, closed)
        np.testing.assert_allclose(np.degrees(angle), [0, 25, 40], atol=1e-4)
        assert true.tolist() == expected


def test_a_run_resumes_with_the_objects_that_are_missing(tmp_path, monkeypatch):
    asked, began_with = [], []

    def instant(make_sim, objects, config, num_envs, examples, progress):
        asked.append(objects.names)
        began_with.append([example.name for example in examples])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return [proposals_for(obj, 7, candidates_of(obj, 2)) for obj in objects]

    monkeypatch.setattr(propose_module, "propose", instant)
    path = tmp_path / "out.npz"
    with pytest.raises(KeyboardInterrupt):
        run(path, make_sim, zoo_trio(), QUICK, batch=1, quiet=True)
    assert list(read_proposals(path)[0]) == zoo_trio().names[:1]
    found = run(path, make_sim, zoo_trio(), QUICK, batch=1, quiet=True)
    assert asked[2:] == [[name] for name in zoo_trio().names[1:]]
    assert began_with[2:] == [zoo_trio().names[:1], zoo_trio().names[:2]], (
        "each batch begins with what is found already"
    )
    assert [f.name for f in found] == zoo_trio().names
    assert read_proposals(path)[1]["settings"] == dataclasses.asdict(QUICK)
    with pytest.raises(UserError, match="was made with seed=0, not 5"):
        run(path, make_sim, zoo_trio(), dataclasses.replace(QUICK, seed=5), quiet=True)
    other = tmp_path / "other.npz"
    run(other, make_sim, zoo_trio()[1:], QUICK, quiet=True, like=path)
    assert began_with[-1] == zoo_trio().names
    with pytest.raises(UserError, match=r"other\.npz was begun with another file of --like, or with none"):
        run(other, make_sim, zoo_trio(), QUICK, quiet=True)
    with pytest.raises(UserError, match=r"--like and --out are both .*out\.npz"):
        run(path, make_sim, zoo_trio(), QUICK, quiet=True, like=path)
    assert not list(tmp_path.glob(".*"))


def test_objects_with_few_proposals_are_searched_again_and_keep_what_both_found(tmp_path, monkeypatch):
    asked, counts = [], iter([4, 2, 0, 3, 1])

    def instant(make_sim, objects, config, num_envs, examples, progress):
        asked.append((objects.names, sorted(example.name for example in examples)))
        return [proposals_for(t, 7, candidates_of(t, n) if n else None) for t, n in zip(objects, counts)]

    monkeypatch.setattr(propose_module, "propose", instant)
    path = tmp_path / "out.npz"
    run(path, make_sim, zoo_trio(), QUICK, quiet=True)
    found = run(path, make_sim, zoo_trio(), QUICK, quiet=True, at_least=4)
    assert asked == [(zoo_trio().names, []), (zoo_trio().names[1:], sorted(zoo_trio().names))]
    assert [(f.count, f.tried) for f in found] == [(4, 7), (3, 14), (1, 14)]
    counts = iter([1, 0])
    found = run(path, make_sim, zoo_trio(), QUICK, quiet=True, at_least=4)
    assert [f.count for f in found] == [4, 3, 1], "what is there is not lost"


@pytest.mark.slow
def test_the_command_line(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mujoco.batch")
    out = tmp_path / "out.npz"
    few = ["--candidates=4", "--variations=2", "--rounds=0", "--num_envs=4", "sim=mujoco", "sim.numThreads=1"]
    assert main(["propose", f"--out={out}", *few, "objects=starter", "objects.names=[box,sphere]"]) == 0
    message = capsys.readouterr().out
    assert "2 objects" in message and "8 or more" in message
    made_by = json.loads(str(np.load(out)["made_by"]))
    assert made_by["settings"]["candidates"] == 4 and made_by["settings"]["sim.name"] == "mujoco"
    assert main(["propose", f"--out={out}", *few, "objects=starter", "objects.names=[cube]"]) == 0
    made_by = json.loads(str(np.load(out)["made_by"]))
    assert [search["objects"]["names"] for search in made_by["searches"]] == [["box", "sphere"], ["cube"]]
    capsys.readouterr()
    for arguments, message in (
        ([f"--out={out}", "--candidates=0"], "--candidates is 0"),
        ([f"--out={tmp_path / 'none' / 'out.npz'}"], "there is no folder"),
        ([f"--out={out}", "--num_envs=0"], "--num_envs is 0"),
        ([f"--out={out}", *few, "sim.physics.fingerGain=9"], "made with sim.physics.fingerGain=1.0, not 9;"),
        ([f"--out={out}", "--wanted=3", "--at_least=4"], "--at_least is 4; it must be 0 to 3"),
        ([f"--out={tmp_path / 'new.npz'}", f"--like={tmp_path / 'no.npz'}"], "there is no file"),
    ):
        assert main(["propose", *arguments]) == 2
        assert message in capsys.readouterr().err
