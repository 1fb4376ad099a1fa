"""The rival methods from objects to report: a curriculum, specialists, a distilled generalist."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from helpers.command_line import TINIER, assert_one_sentence
from helpers.pipelines import Killed, done, pipeline, replace_work, report_of

from resdex_tasks.shapes.clusters import read_clusters
from resdex_tasks.shapes.codes import read_codes
from resdex_tasks.utils.files import read_json, write_json
from resdex_tasks.utils.overrides import read_overrides
from runners.evaluation import gallery
from runners.learning.agent import ResDexAgent
from runners.pipeline import trainings
from runners.pipeline.settings import SEEING
from runners.pipeline.workspace import Workspace
from runners.policies.checkpoint import Checkpoint

RIVAL = (
    *TINIER, "generalist.train.params.config.updates=2", "vision_generalist.train.params.config.updates=2",
    "curriculum_sizes=[1,2]",
)  # fmt: skip
PP = "method=unidexgrasp_pp"


@pytest.fixture(scope="module", autouse=True)
def small_galleries():
    """Else most of the time would go into them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "WIDTH", 64)
        patch.setattr(gallery, "HEIGHT", 64)
        yield


def last(folder, step):
    return Checkpoint.read(folder / "made" / step / "nn" / "last.pth")


@pytest.fixture(scope="module")
def pp(tmp_path_factory):
    """Folder of an uninterrupted run of UniDexGrasp++; tests may not change it."""
    folder = tmp_path_factory.mktemp("pp")
    outcome = pipeline(folder, PP, settings=RIVAL)
    assert outcome.status == 0, outcome.err
    (folder / "out.txt").write_text(outcome.out)
    return folder


# UniDexGrasp++


@pytest.mark.slow
def test_unidexgrasp_pp_goes_from_curriculum_to_a_student(pp):
    steps = ["curriculum_1", "curriculum_2", "curriculum_3", "specialist_1_1", "specialist_1_2", "generalist_2"]
    sees = ["vision_mesh", *(f"vision_mesh_{name}" for name in steps[3:])]
    assert [row["name"] for row in read_json(pp / "made" / "results.json")["trained"]] == [*steps, *sees]
    text = report_of(pp)
    for words in ("## Curriculum", "## Specialists", "generalist 2", "(mesh clouds)", "(mesh clouds), round 1", "480"):
        assert words in text


@pytest.mark.slow
def test_each_stage_meets_the_objects_that_the_curriculum_admits(pp):
    stages = read_json(pp / "made" / "curriculum" / "curriculum.json")["stages"]
    assert [len(stage["names"]) for stage in stages] == [1, 2, 4]
    for number, stage in enumerate(stages, 1):
        assert list(last(pp, f"curriculum_{number}").objects) == stage["names"]


@pytest.mark.slow
def test_specialists_start_from_the_generalist_and_meet_their_cluster_alone(pp):
    clusters = read_clusters(pp / "made" / "clusters" / "clusters.yaml")
    assert clusters.encoder == read_codes(pp / "made" / "codes" / "codes.npz").encoder
    said = (pp / "out.txt").read_text()
    for line, generalist in (("", "curriculum_3"), ("vision_mesh_", "vision_mesh")):
        for number, group in enumerate(clusters.clusters, 1):
            name = f"{line}specialist_1_{number}"
            assert list(last(pp, name).objects) == sorted(group.ranking)
            part = said.split(f"[{name}]")[1].split("\n[")[0]
            assert f"starts from the weights of made/{generalist}/nn/last.pth" in part


@pytest.mark.slow
@pytest.mark.parametrize("line, sees", [("", "full"), ("vision_mesh_", "vision")])
def test_the_generalist_imitates_the_specialists_each_on_its_objects(pp, line, sees):
    generalist = last(pp, f"{line}generalist_2")
    specialists = [last(pp, f"{line}specialist_1_{i}") for i in (1, 2)]
    assert generalist.made_by.teacher["id"] == "+".join(s.id for s in specialists)
    assert sorted(generalist.objects) == sorted(name for s in specialists for name in s.objects)
    assert generalist.spec == specialists[0].spec and generalist.spec.observation == sees


@pytest.mark.slow
def test_the_first_that_sees_imitates_the_specialists_not_the_generalist(pp):
    assert last(pp, "vision_mesh").made_by.teacher["id"] == last(pp, "generalist_2").made_by.teacher["id"]


def held_by_the_tests(monkeypatch, *names):
    """Let every evaluation find that these objects are held."""
    evaluate = trainings.evaluate_checkpoint

    def with_rows(config, objects):
        evaluate(config, objects)
        path = Path(config.command.runs_dir) / config.command.experiment / "evaluation.json"
        content = read_json(path)
        row = content["summary"]["all"]
        for name in objects.names:
            rate = {**row["success_at_end"], "value": float(name in names)}
            content["summary"]["objects"].append({**row, "name": name, "success_at_end": rate})
        write_json(path, content)

    monkeypatch.setattr(trainings, "evaluate_checkpoint", with_rows)


def settings_of(folder, step, key):
    command = read_json(folder / "made" / step / "step.json")["about"]["command"]
    return read_overrides(shlex.split(command)[2:]).value(key)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["failed", "held"])
def test_specialists_for_what_the_generalist_fails_or_holds(tmp_path, work, monkeypatch, which):
    """One object is held, three fail. The generalist itself teaches those that no specialist has met."""
    assert pipeline(tmp_path, PP, "rounds=0", "students=[]", settings=RIVAL).status == 0
    names = [row["name"] for row in read_json(tmp_path / "made" / "objects" / "objects.json")["objects"]]
    held_by_the_tests(monkeypatch, names[1])
    outcome = pipeline(tmp_path, PP, f"specialist_objects={which}", settings=RIVAL)
    assert outcome.status == 0, outcome.err
    for line, generalist in (("", "curriculum_3"), ("vision_mesh_", "vision_mesh")):
        specialists = sorted(path.name for path in (tmp_path / "made").glob(f"{line}specialist_*"))
        met = [name for of in specialists for name in settings_of(tmp_path, of, "objects.names")]
        expected = [names[1]] if which == "held" else [name for name in names if name != names[1]]
        assert sorted(met) == sorted(expected)
        teachers = settings_of(tmp_path, f"{line}generalist_2", "teacher")
        assert [Path(path).parts[-3] for path in teachers] == [*specialists, generalist]


@pytest.mark.slow
def test_where_nothing_is_held_there_are_no_specialists_for_it(tmp_path, work, monkeypatch):
    held_by_the_tests(monkeypatch)
    outcome = pipeline(tmp_path, PP, "specialist_objects=held", "budget=2000", settings=RIVAL)
    assert outcome.status == 0, outcome.err
    assert not list((tmp_path / "made").glob("*specialist*"))
    assert iterations(tmp_path, "vision_mesh") == 2000 // 16 // 4, "a round that sees was still to come"


@pytest.mark.slow
def test_where_everything_fails_the_generalist_teaches_nothing(tmp_path, work, monkeypatch):
    """Also where all are in one cluster. What policies are tested on does not matter."""
    held_by_the_tests(monkeypatch)
    choice = ("specialist_objects=failed", "specialists=1", "test.objects=starter")
    outcome = pipeline(tmp_path, PP, *choice, settings=RIVAL)
    assert outcome.status == 0, outcome.err
    assert len(settings_of(tmp_path, "specialist_1_1", "objects.names")) == 4
    for line in ("", "vision_mesh_"):
        (teacher,) = settings_of(tmp_path, f"{line}generalist_2", "teacher")
        assert Path(teacher).parts[-3] == f"{line}specialist_1_1"
    assert settings_of(tmp_path, "sorted_curriculum_3", "objects") == "zoo"
    assert settings_of(tmp_path, "test_curriculum_3", "objects") == "starter"


@pytest.mark.slow
@pytest.mark.parametrize("rounds, vision_rounds", [(0, 0), (1, 0), (0, 2)])
def test_the_budget_is_used_up_whatever_the_rounds(tmp_path, work, rounds, vision_rounds):
    """Two sources of clouds. The last training may have what none before it took: all, as stand-ins take nothing."""
    settings = (f"rounds={rounds}", f"vision_rounds={vision_rounds}", "students=[mesh,camera]", "saturation=0")
    outcome = pipeline(tmp_path, PP, *settings, "budget=4000", settings=RIVAL)
    assert outcome.status == 0, outcome.err
    last_one = "vision_camera" if not vision_rounds else f"vision_camera_generalist_{vision_rounds + 1}"
    together = 1 if vision_rounds else 2  # the two students are one lot
    assert iterations(tmp_path, last_one) in range(4000 // 16 // together - 1, 4000 // 16 // together + 1)
    seen = {path.name.split("_")[1] for path in (tmp_path / "made").glob("vision_*_specialist_*")}
    assert seen == ({"mesh", "camera"} if vision_rounds else set())


@pytest.mark.slow
def test_another_generalist_beside_it_tests_the_student_again(tmp_path, work):
    settings = (*RIVAL, PP, "vision_rounds=0")
    assert pipeline(tmp_path, settings=settings).status == 0
    redone = done(pipeline(tmp_path, "generalist.max_iterations=4", settings=settings))
    assert redone == ["generalist_2", "test_generalist_2", "test_vision_mesh"]


@pytest.mark.slow
def test_killed_in_the_midst_it_resumes_with_the_same_report(pp, tmp_path, monkeypatch):
    kills, log, update = [], Workspace._log, ResDexAgent.update_epoch
    killed = ("curriculum_2", "generalist_2", "vision_mesh_specialist_1_2", "vision_mesh_generalist_2")

    def once(what):
        if what not in kills:
            kills.append(what)
            raise Killed

    def killed_update(self):
        if self.epoch_num == 1 and self.experiment_name in killed:
            once(self.experiment_name)
        return update(self)

    def killed_log(self, text):
        log(self, text)
        if text.startswith("specialist_1_1 "):
            once("specialist_1_1")

    monkeypatch.setattr(Workspace, "_log", killed_log)
    monkeypatch.setattr(ResDexAgent, "update_epoch", killed_update)
    for _ in range(5):
        with pytest.raises(Killed):
            pipeline(tmp_path, PP, settings=RIVAL)
    assert pipeline(tmp_path, PP, settings=RIVAL).status == 0
    assert kills == ["curriculum_2", "specialist_1_1", *killed[1:]]
    assert report_of(tmp_path) == report_of(pp)


# UniDexGrasp, PPO


@pytest.mark.slow
def test_unidexgrasp_goes_on_once_a_stage_has_succeeded(tmp_path):
    """With a threshold of 0 a stage ends as soon as the window of episodes is full, but for the last."""
    outcome = pipeline(tmp_path, "method=unidexgrasp", "curriculum_threshold=0", settings=RIVAL)
    assert outcome.status == 0, outcome.err
    taken = {row["name"]: row["steps"] for row in read_json(tmp_path / "made" / "results.json")["trained"]}
    assert taken == {"curriculum_1": 32, "curriculum_2": 32, "curriculum_3": 48, "vision_mesh": 48}
    table = report_of(tmp_path).split("## Curriculum")[1].split("## ")[0]
    assert re.findall(r"(success|its iterations) \|$", table, re.M) == ["success", "success", "its iterations"]
    assert done(pipeline(tmp_path, "method=unidexgrasp", "curriculum_threshold=0", settings=RIVAL)) == []


@pytest.mark.slow
def test_ppo_meets_all_objects_at_once_within_its_budget(tmp_path):
    outcome = pipeline(tmp_path, "method=ppo", "budget=119", settings=RIVAL)
    assert outcome.status == 0, outcome.err
    assert len(last(tmp_path, "state").objects) == 4 and last(tmp_path, "state").spec.experts is None
    taken = [row["steps"] for row in read_json(tmp_path / "made" / "results.json")["trained"]]
    assert taken == [48, 64], "iterations of 16 steps"
    assert "Of a budget of 119" in report_of(tmp_path) and "| **112** |" in report_of(tmp_path)
    assert_one_sentence(pipeline(tmp_path, "method=base", settings=RIVAL), "method=ppo", "method=base")


# Stand-ins: which trainings there are, and how long


@pytest.fixture
def work(monkeypatch):
    replace_work(monkeypatch, {})


def iterations(folder, step):
    return int(
        re.search(r"max_iterations=(\d+)", read_json(folder / "made" / step / "step.json")["about"]["command"])[1]
    )


@pytest.mark.slow
def test_rounds_end_where_the_generalist_gains_nothing(tmp_path, work):
    """The stand-ins succeed as often after as before: no second round is begun, and its steps are for the student."""
    assert pipeline(tmp_path, PP, "rounds=2", "budget=2000", settings=RIVAL).status == 0
    assert not list((tmp_path / "made").glob("*_2_*"))
    # a stand-in takes no steps: those that see get all
    assert iterations(tmp_path, "vision_mesh") == 2000 // 16 // 4
    assert iterations(tmp_path, "vision_mesh_generalist_2") == 2000 // 16


@pytest.mark.slow
def test_a_changed_student_redoes_itself_alone(tmp_path, work):
    settings = (*RIVAL, "method=unidexgrasp")
    assert pipeline(tmp_path, settings=settings).status == 0
    redone = done(pipeline(tmp_path, "vision.max_iterations=4", settings=settings))
    assert redone == ["vision_mesh", "test_vision_mesh"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides, culprits",
    [
        (("method=sac",), ["method is 'sac'", "unidexgrasp_pp"]),
        ((PP, "specialists=9"), ["specialists is 9", "4 training objects"]),
        (("method=ppo", "budget=31"), ["budget: 31 steps", "less than an iteration of 16 steps"]),
        ((PP, "vision.train.params.network.cloud.codeUnits=[3]"), ["codeUnits is [3] for 'vision'", "vision_rounds=0"]),
        (
            (PP, "vision_specialist.task.env.vision.numPoints=9"),
            ["numPoints is 8 for 'vision' and 9", "'vision_specialist'"],
        ),
        (
            (PP, *(f"{section}.train.params.network.cloud.objectPosition=true" for section in SEEING)),
            ["objectPosition is true", "vision_rounds=0"],
        ),
        (("method=ppo", "students=[mesh,mesh]"), ["students names mesh twice"]),
        (("method=ppo", "submitit.timeout_min=3"), ["submitit is for launcher=submitit"]),
        (("method=ppo", "weights=a.pth"), ["weights is set by the pipeline"]),
    ],
)
def test_invalid_input_is_one_sentence(tmp_path, work, overrides, culprits):
    assert_one_sentence(pipeline(tmp_path, *overrides, settings=RIVAL), *culprits)
    for record in tmp_path.glob("made/*/step.json"):
        assert read_json(record)["done"], "nothing is left half made"


# Launchers


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Two base experts, trained in the pipeline's own process."""
    folder = tmp_path_factory.mktemp("alone")
    assert pipeline(folder, "method=base", settings=RIVAL).status == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [("jobs=2",), ("launcher=submitit", "submitit.cluster=local", "submitit.timeout_min=10")]
)
def test_whoever_trains_the_artifacts_are_the_same(alone, tmp_path, launcher):
    if "submitit" in launcher[0]:
        pytest.importorskip("submitit")
    outcome = pipeline(tmp_path, "method=base", *launcher, settings=[s for s in RIVAL if s != "jobs=1"])
    assert outcome.status == 0, outcome.err
    assert report_of(tmp_path) == report_of(alone)
    experts = sorted(path.name for path in (alone / "made").glob("expert_*"))
    assert len(experts) == 2 and all(f"{name}: done" in outcome.out for name in experts)
    assert [last(tmp_path, name).id for name in experts] == [last(alone, name).id for name in experts]


@pytest.mark.slow
def test_a_training_cut_after_its_last_iteration_is_not_gone_on_with(alone, tmp_path, monkeypatch):
    """As a job that was killed between its last checkpoint and its end."""
    shutil.copytree(alone / "made", tmp_path / "made")
    (name,) = [path.name for path in (tmp_path / "made").glob("expert_apple*")]
    record = tmp_path / "made" / name / "step.json"
    record.write_text(record.read_text().replace('"done": true', '"done": false'))
    monkeypatch.setattr(trainings, "train", None)
    assert done(pipeline(tmp_path, "method=base", settings=RIVAL)) == [name]
    assert report_of(tmp_path) == report_of(alone)
