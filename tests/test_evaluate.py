import json
from types import SimpleNamespace

import pytest
import torch
from command_line import TINY, call, train
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from runners.evaluate import evaluate, rate, run_episodes, table, wilson_interval, write_json

EVALUATION = ("test=True", "checkpoint=runs/run/nn/last.pth", "scale=cpu", "sim=mujoco", "sim.numThreads=1",
              "task.env.episodeLength=6")  # fmt: skip

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
flags = st.booleans()


@given(counts)
@settings(deadline=None, max_examples=60)
def test_the_interval_is_wilsons(count):
    expected = binomtest(*count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(*count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_interval_by_hand():
    # n = 100, k = 50: (0.5 + z^2/200 -+ z sqrt(0.0025 + z^2/40000)) / (1 + z^2/100), z = 1.96
    assert wilson_interval(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    # k = 0: (0, z^2 / (n + z^2))
    assert wilson_interval(0, 10) == pytest.approx((0.0, 3.8415 / 13.8415), abs=1e-4)


@given(counts)
def test_the_interval_holds_the_rate_and_mirrors_the_failures(count):
    successes, episodes = count
    low, high = wilson_interval(successes, episodes)
    assert 0.0 <= low <= successes / episodes + 1e-12 and successes / episodes - 1e-12 <= high <= 1.0
    assert low < high
    mirrored = wilson_interval(episodes - successes, episodes)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


@given(counts, st.integers(2, 10))
def test_the_interval_narrows_with_episodes_and_rises_with_successes(count, factor):
    successes, episodes = count
    low, high = wilson_interval(successes, episodes)
    many_low, many_high = wilson_interval(successes * factor, episodes * factor)
    assert many_high - many_low < high - low
    if successes < episodes:
        more_low, more_high = wilson_interval(successes + 1, episodes)
        assert more_low > low and more_high > high


def test_a_rate_brings_its_interval():
    low, high = wilson_interval(3, 4)
    assert rate(3, 4) == {"rate": 0.75, "low": low, "high": high}


class ScriptedTask:
    """Environment i ends its episodes after lengths[i] steps; episode e of it turns out as outcomes[i][e % 2]."""

    def __init__(self, lengths, outcomes, object_index=None, objects=(), stagger=False):
        self.num_envs, self.device = len(lengths), torch.device("cpu")
        self.lengths, self.outcomes = torch.tensor(lengths), outcomes
        self.sim = SimpleNamespace(object_index=object_index)
        self.objects, self.config = objects, SimpleNamespace(stagger_episodes=stagger)
        self.steps, self.episode, self.acted_on = 0, [0] * self.num_envs, []

    def reset(self):
        self.progress = torch.zeros(self.num_envs, dtype=torch.int64)
        self.episode = [0] * self.num_envs
        return torch.full((self.num_envs, 3), float(self.steps))

    def step(self, actions):
        self.steps += 1
        self.acted_on.append(actions)
        self.progress += 1
        done = self.progress >= self.lengths
        extras = {name: torch.zeros(self.num_envs, dtype=torch.bool) for name in ("latched", "held", "diverged")}
        for i in range(self.num_envs):
            outcome = self.outcomes[i][self.episode[i] % 2]
            for name, value in zip(("latched", "held", "diverged"), outcome):
                extras[name][i] = value
        self.episode = [e + int(d) for e, d in zip(self.episode, done)]
        self.progress[done] = 0
        return torch.full((self.num_envs, 3), float(self.steps)), torch.zeros(self.num_envs), done, extras


environments = st.lists(
    st.tuples(st.integers(1, 7), st.tuples(*[st.tuples(flags, flags, flags)] * 2)), min_size=1, max_size=6
)


@given(environments)
@settings(deadline=None)
def test_the_first_episode_of_each_environment_counts_and_no_other(scripts):
    lengths, outcomes = zip(*scripts)
    task, shown = ScriptedTask(list(lengths), outcomes), []
    result = run_episodes(task, lambda obs: obs + 1, lambda: shown.append(task.steps))
    assert result["latched"].tolist() == [first[0] and not first[2] for first, _ in outcomes]
    assert result["held"].tolist() == [first[1] for first, _ in outcomes]
    assert result["diverged"].tolist() == [first[2] for first, _ in outcomes]
    assert task.steps == max(lengths)
    assert shown == list(range(1, max(lengths)))  # every step but the last
    # the policy sees the newest observation
    assert [float(actions[0, 0]) for actions in task.acted_on] == list(range(1, max(lengths) + 1))


def thing(name, category):
    return SimpleNamespace(name=name, category=category, split="train")


def three_objects():
    """Environments 0..4 hold a, b, c, a, b; the first episodes of a succeed, of b latch only, of c fail."""
    yes, once, no = ((True, True, False),) * 2, ((True, False, False),) * 2, ((False, False, False),) * 2
    broken = ((True, True, True),) * 2
    objects = [thing("a", "box"), thing("b", "mug"), thing("c", "box")]
    index = torch.tensor([0, 1, 2, 0, 1])
    return ScriptedTask([2, 3, 2, 3, 2], [yes, once, no, yes, broken], index, objects)


def test_success_is_counted_per_object_category_and_over_all():
    result = evaluate(three_objects(), lambda obs: obs, rounds=4)
    assert [(o["name"], o["category"], o["split"], o["episodes"]) for o in result["objects"]] == [
        ("a", "box", "train", 8),
        ("b", "mug", "train", 8),
        ("c", "box", "train", 4),
    ]
    assert [o["latched"]["rate"] for o in result["objects"]] == [1.0, 0.5, 0.0]
    # whether a diverged episode's last step counts is the task's business: only a and c are sure here
    assert (result["objects"][0]["held"]["rate"], result["objects"][2]["held"]["rate"]) == (1.0, 0.0)
    assert [(c["name"], c["episodes"]) for c in result["categories"]] == [("box", 12), ("mug", 8)]
    assert result["categories"][0]["latched"] == rate(8, 12)
    assert result["all"]["episodes"] == 20 and result["all"]["latched"] == rate(12, 20)
    assert result["diverged"] == 4
    json.dumps(result)  # plain values


def test_staggered_episodes_cannot_be_evaluated():
    with pytest.raises(ValueError, match="stagger"):
        evaluate(ScriptedTask([2], [((True,) * 3,) * 2], torch.tensor([0]), [thing("a", "box")], True), lambda o: o, 1)


def test_the_table_has_a_row_for_each_object_and_one_for_all():
    result = evaluate(three_objects(), lambda obs: obs, rounds=1)
    lines = table(result).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0][0] == "object" and set(lines[1]) == {"|", "-"}
    assert [row[0] for row in rows[2:]] == ["a", "b", "c", "all"]
    assert [row[1] for row in rows[2:]] == ["2", "2", "1", "5"]
    assert [row[2].split(" [")[0] for row in rows[2:]] == ["100.0", "50.0", "0.0", "60.0"]
    assert len({len(line) for line in lines}) == 1


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "evaluation.json"
    write_json(path, {"all": 1})
    with pytest.raises(TypeError):
        write_json(path, {"all": object()})
    assert json.loads(path.read_text()) == {"all": 1}
    assert [p.name for p in path.parent.iterdir()] == ["evaluation.json"]


# From the command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with a trained runs/run."""
    path = tmp_path_factory.mktemp("evaluated")
    train(path, "max_iterations=1")
    return path


def evaluated(folder, *overrides):
    outcome = call(folder, *EVALUATION, *overrides)
    assert outcome.status == 0, outcome.err
    return outcome, json.loads((folder / "runs" / "run" / "evaluation.json").read_text())


def test_evaluation_json_holds_what_was_measured(folder):
    outcome, result = evaluated(folder, "objects.names=[box,cube]", "episodes_per_object=3", "num_envs=4", "seed=5")
    assert result["checkpoint"] == "runs/run/nn/last.pth" and result["seed"] == 5
    assert [o["name"] for o in result["objects"]] == ["box", "cube"]
    assert [c["name"] for c in result["categories"]] == ["box"]
    assert all(o["episodes"] >= 3 for o in result["objects"])
    assert result["all"]["episodes"] == sum(o["episodes"] for o in result["objects"])
    for row in [*result["objects"], *result["categories"], result["all"]]:
        for kind in ("latched", "held"):
            low, middle, high = (row[kind][name] for name in ("low", "rate", "high"))
            assert 0 <= low <= middle + 1e-12 and middle <= high + 1e-12 and high <= 1
        assert row["held"]["rate"] <= row["latched"]["rate"]
    assert table(result) in outcome.out
    assert "runs/run/evaluation.json" in outcome.out


@pytest.mark.parametrize("episodes, num_envs", [(1, 1), (4, 2), (2, 64)])
def test_as_many_episodes_as_asked_whatever_the_number_of_environments(folder, episodes, num_envs):
    _, result = evaluated(folder, f"episodes_per_object={episodes}", f"num_envs={num_envs}")
    assert result["all"]["episodes"] == episodes


def test_objects_of_all_shapes_are_evaluated_together(folder):
    _, result = evaluated(folder, "objects.names=null", "episodes_per_object=1", "num_envs=16")
    assert {"box", "sphere", "mug"} <= {o["name"] for o in result["objects"]}
    assert all(o["episodes"] == 1 for o in result["objects"])
    assert {"box", "sphere", "mug"} <= {c["name"] for c in result["categories"]}


def test_the_same_seed_evaluates_to_the_same(folder):
    arguments = ("episodes_per_object=4", "num_envs=4", "seed=3", "task.env.goalHeight=0.1")
    assert evaluated(folder, *arguments)[1] == evaluated(folder, *arguments)[1]


def test_evaluation_leaves_the_training_alone(folder):
    before = (folder / "runs" / "run" / "nn" / "last.pth").read_bytes()
    config = (folder / "runs" / "run" / "config.yaml").read_bytes()
    evaluated(folder, "episodes_per_object=1", "num_envs=1")
    assert (folder / "runs" / "run" / "nn" / "last.pth").read_bytes() == before
    assert (folder / "runs" / "run" / "config.yaml").read_bytes() == config


def test_evaluation_can_be_put_into_another_folder(folder):
    outcome = call(folder, *EVALUATION, "experiment=mine", "episodes_per_object=1", "num_envs=1")
    assert outcome.status == 0, outcome.err
    assert (folder / "runs" / "mine" / "evaluation.json").is_file()


def test_training_arguments_do_not_disturb_an_evaluation(folder):
    outcome = call(folder, *TINY, *EVALUATION, "experiment=run", "episodes_per_object=1")
    assert outcome.status == 0, outcome.err
