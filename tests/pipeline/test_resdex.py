"""The pipeline from objects to report, on a few objects with networks of eight neurons."""

import re
import shlex
import shutil

import pytest
from helpers.command_line import TINIER, assert_one_sentence, files
from helpers.pipelines import Killed, done, pipeline, products, replace_work, report_of

from resdex_tasks.shapes.clusters import read_clusters
from resdex_tasks.utils.files import read_json
from runners.evaluation import gallery
from runners.evaluation.summary import EvaluationResult
from runners.evaluation.tables import teacher_table
from runners.launch import main as train_main
from runners.learning.agent import ResDexAgent
from runners.learning.monitor import TrainingStopped
from runners.pipeline import objects, trainings
from runners.pipeline.workspace import Workspace
from runners.policies.checkpoint import Checkpoint

STEPS = ["objects", "test_objects", "codes", "clusters", "start", "expert", "expert", "own", "own", "stage1", "stage2",
         "test_stage1", "test_stage2", "vision_mesh", "test_vision_mesh"]  # fmt: skip
REPORTED = ("# ResDex with k = 2 experts on 4 objects", "## Success", "## Vision", "## Base experts",
            "test_stage2/gallery.png", "test_vision_mesh/evaluation.md")  # fmt: skip


def kind_of(step):
    return re.sub(r"^(expert|own|zero_shot)_.*", r"\1", step)


def kinds(outcome):
    return {kind_of(name) for name in done(outcome)}


def clusters_of(folder):
    return read_clusters(folder / "made" / "clusters" / "clusters.yaml")


@pytest.fixture(scope="module", autouse=True)
def small_galleries():
    """Else most of the time would go into them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "WIDTH", 64)
        patch.setattr(gallery, "HEIGHT", 64)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of an uninterrupted run; tests may not change it."""
    folder = tmp_path_factory.mktemp("whole")
    assert pipeline(folder).status == 0
    return folder


# From objects to report


@pytest.mark.slow
def test_pipeline_writes_the_artifacts_of_the_method_and_a_report(whole):
    made, clusters = whole / "made", clusters_of(whole)
    assert clusters.k == 2 and clusters.num_objects == 4
    text = report_of(whole)
    for words in (*REPORTED, *clusters.centres, "Unseen category", "w1", "w2", "pipeline=tiny", "torch", "mujoco"):
        assert words in text
    stage2 = Checkpoint.read(made / "stage2" / "nn" / "last.pth")
    assert list(stage2.spec.experts.objects) == list(clusters.centres)
    summary = EvaluationResult.from_json(read_json(made / "test_stage2" / "evaluation.json")).summary
    assert [row.name for row in summary.splits] == ["train", "unseen_object", "unseen_category"]
    trained = {o["name"]: o["category"] for o in read_json(made / "objects" / "objects.json")["objects"]}
    for row in summary.objects:
        assert (row.name in trained) == (row.split == "train")
        assert (row.category in trained.values()) == (row.split != "unseen_category")


@pytest.mark.slow
def test_a_student_imitates_stage_2_and_is_reported_beside_it(whole):
    made = whole / "made"
    stage2, student = (Checkpoint.read(made / name / "nn" / "last.pth") for name in ("stage2", "vision_mesh"))
    assert student.made_by.teacher == {"name": "made/stage2/nn/last.pth", "id": stage2.id}
    assert student.task["env"]["vision"]["source"] == "mesh"
    beside = EvaluationResult.from_json(read_json(made / "test_vision_mesh" / "evaluation.json"))
    alone = EvaluationResult.from_json(read_json(made / "test_stage2" / "evaluation.json"))
    # on the starts of every other test
    theirs = [(row.name, row.teacher_once, row.teacher_at_end) for row in (*beside.teacher.splits, beside.teacher.all)]
    assert theirs == [
        (row.name, row.success_once, row.success_at_end) for row in (*alone.summary.splits, alone.summary.all)
    ]
    text = report_of(whole).split("## Vision")[1].split("## ")[0]
    assert teacher_table("ResDex, vision (mesh clouds)", beside, beside.teacher) in text
    assert "made/stage2/nn/last.pth (teacher)" in text


@pytest.mark.slow
def test_every_link_of_the_report_leads_to_a_file(whole):
    links = re.findall(r"\]\(([^)]+)\)", report_of(whole))
    assert len(links) > 4
    for link in links:
        assert (whole / "made" / link).is_file(), link


@pytest.mark.slow
def test_report_knows_no_time(whole):
    text = report_of(whole)
    log = (whole / "made" / "steps.log").read_text()
    assert all(f" {name} took " in log for name in ("objects", "stage1", "test_stage2"))
    assert " took " not in text and log[:10] not in text  # the day


@pytest.mark.slow
def test_training_commands_of_the_report_reproduce_the_weights(whole, tmp_path, monkeypatch):
    """The first of them, in an empty folder, gives the expert's weights."""
    command = next(line for line in report_of(whole).splitlines() if line.startswith("python train.py"))
    monkeypatch.chdir(tmp_path)
    assert train_main(shlex.split(command)[2:]) == 0
    (again,) = tmp_path.glob("made/*/nn/last.pth")
    first, other = Checkpoint.read(whole / again.relative_to(tmp_path)), Checkpoint.read(again)
    assert set(first.weights) == set(other.weights)
    assert all((first.weights[name] == value).all() for name, value in other.weights.items())


# Interruptions and reruns


@pytest.mark.slow
def test_rerun_does_and_touches_nothing(whole):
    times = {p: p.stat().st_mtime_ns for p in (whole / "made").rglob("*") if p.name != ".lock"}
    outcome = pipeline(whole)
    assert outcome.status == 0 and done(outcome) == []
    assert outcome.out.count("done already\n") == len(STEPS)
    assert {p: p.stat().st_mtime_ns for p in (whole / "made").rglob("*") if p.name != ".lock"} == times
    assert outcome.out.endswith("written to made/report.md\n")


@pytest.mark.slow
def test_killed_after_every_step_and_in_every_training_and_test_it_resumes(whole, tmp_path, monkeypatch):
    """Each kill comes once; the same command resumes each time, and the report is that of the uninterrupted run."""
    kills, evaluate, log, update = [], trainings.evaluate_checkpoint, Workspace._log, ResDexAgent.update_epoch

    def once(what):
        if what not in kills:
            kills.append(what)
            raise Killed

    def killed_update(self):
        if self.epoch_num == 1:  # last.pth is of the first of three iterations
            once(f"training {self.experiment_name}")
        return update(self)

    def killed_test(config, objects):
        name = config.command.experiment
        (tmp_path / "made" / name / "evaluation.md").write_text("half")
        once(f"test {name}")
        return evaluate(config, objects)

    def killed_log(self, text):
        log(self, text)
        once(f"after {text.split()[0]}")

    monkeypatch.setattr(trainings, "evaluate_checkpoint", killed_test)
    monkeypatch.setattr(Workspace, "_log", killed_log)
    monkeypatch.setattr(ResDexAgent, "update_epoch", killed_update)
    for calls in range(1, 100):
        try:
            assert pipeline(tmp_path).status == 0
            break
        except Killed:
            assert len(kills) == calls
    assert [kind_of(what[6:]) for what in kills if what.startswith("after ")] == STEPS
    assert sum(what.startswith("training ") for what in kills) == 6
    assert sum(what.startswith("test ") for what in kills) == 5
    assert report_of(tmp_path) == report_of(whole)


@pytest.mark.slow
def test_killed_before_the_first_checkpoint_the_training_starts_again(whole, tmp_path, monkeypatch):
    update, left = ResDexAgent.update_epoch, [1]

    def killed(self):
        if left and self.epoch_num == 0:
            left.pop()
            raise Killed
        return update(self)

    monkeypatch.setattr(ResDexAgent, "update_epoch", killed)
    with pytest.raises(Killed):
        pipeline(tmp_path)
    outcome = pipeline(tmp_path)
    assert outcome.status == 0 and done(outcome)[0] == "start" and ": resumed" in outcome.out
    (_,) = (tmp_path / "made" / done(outcome)[0] / "summaries").iterdir()
    assert report_of(tmp_path) == report_of(whole)


def test_ctrl_c_says_how_to_resume(tmp_path, monkeypatch):
    def stopped(config, objects):
        raise TrainingStopped

    monkeypatch.setattr(trainings, "train", stopped)
    outcome = pipeline(tmp_path)
    assert outcome.status == 130 and outcome.err == ""
    command = outcome.out.splitlines()[-1].split("resumes with: ")[1]
    assert shlex.split(command) == ["python", "-m", "runners.pipeline", *TINIER]


# Trainings and tests are stand-ins from here on: what is asked is which of them are done


@pytest.fixture()
def success_of(monkeypatch):
    """Trainings and tests are stand-ins. Maps an object to its expert's success at the end; else it is 1."""
    success = {}
    replace_work(monkeypatch, success)
    return success


@pytest.fixture(scope="module")
def made_by_stand_ins(tmp_path_factory):
    """Folder of a run with stand-ins; tests may not change it."""
    folder = tmp_path_factory.mktemp("stand_ins")
    with pytest.MonkeyPatch.context() as patch:
        replace_work(patch, {})
        assert pipeline(folder).status == 0
    return folder


@pytest.fixture()
def finished(made_by_stand_ins, success_of, tmp_path):
    """A folder of the test's own, in which the pipeline has run with stand-ins."""
    shutil.copytree(made_by_stand_ins / "made", tmp_path / "made")
    return tmp_path


# Experts


def chosen(folder):
    """Rows of the report's table of experts: [cluster, object, use]."""
    table = report_of(folder).split("## Base experts")[1].split("## ")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in row] for row in rows]


@pytest.mark.slow
def test_next_nearest_object_is_tried_where_the_nearest_is_not_learned(tmp_path, success_of):
    first_run, second_run = tmp_path / "first", tmp_path / "second"
    for folder in (first_run, second_run):
        folder.mkdir()
    assert pipeline(first_run, "objects.count=8", "threshold=0.8").status == 0
    first, second = clusters_of(first_run).clusters
    assert chosen(first_run) == [["1", first.ranking[0], "w1"], ["2", second.ranking[0], "w2"]]
    success_of[first.ranking[0]], success_of[first.ranking[1]] = 0.79, 0.8
    outcome = pipeline(second_run, "objects.count=8", "threshold=0.8")
    assert f"{first.ranking[0]}: success at the end 79.0 %, less than 80.0 %" in outcome.out
    assert chosen(second_run) == [
        ["1", first.ranking[0], "tried"],
        ["1", first.ranking[1], "w1"],
        ["2", second.ranking[0], "w2"],
    ]
    experts = re.search(r"'experts=(.*?)'", report_of(second_run))[1]
    assert f"made/expert_{first.ranking[1]}/nn/last.pth" in experts
    assert f"expert_{first.ranking[0]}" not in experts


@pytest.mark.slow
def test_best_tried_object_is_taken_and_reported_where_none_is_learned(tmp_path, success_of):
    first_run, second_run = tmp_path / "first", tmp_path / "second"
    for folder in (first_run, second_run):
        folder.mkdir()
    assert pipeline(first_run, "objects.count=8", "k=1").status == 0
    (group,) = clusters_of(first_run).clusters
    success_of.update(zip(group.ranking, (0.1, 0.4, 0.3, 0.9)))
    outcome = pipeline(second_run, "objects.count=8", "k=1", "threshold=0.8", "tries=3")
    assert outcome.status == 0
    assert f"no object of cluster 1 reached it; its expert is the best one, of {group.ranking[1]}" in outcome.out
    assert [row[2] for row in chosen(second_run)] == ["tried", "w1", "tried"]
    assert "none of the 3 tried objects reaches a success at the end of 80 %" in report_of(second_run)
    # one more may be tried: the others' experts are kept
    outcome = pipeline(second_run, "objects.count=8", "k=1", "threshold=0.8", "tries=4")
    assert done(outcome)[:2] == [f"expert_{group.ranking[3]}", f"own_{group.ranking[3]}"]
    assert [row[2] for row in chosen(second_run)] == ["tried", "tried", "tried", "w1"]


# Changed settings

EXPERTS = {"expert", "own"}
VISION = {"vision_mesh", "test_vision_mesh"}
HYPER = {"stage1", "stage2", "test_stage1", "test_stage2"} | VISION
TESTS = {"test_stage1", "test_stage2", "test_vision_mesh"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, rerun",
    [
        ("vision.max_iterations=4", VISION),
        ("stage2.max_iterations=4", {"stage2", "test_stage2"} | VISION),
        ("stage1.max_iterations=4", HYPER),
        ("base.max_iterations=4", EXPERTS | HYPER),
        ("start.max_iterations=4", {"start"} | EXPERTS | HYPER),
        ("base_start=scratch", EXPERTS | HYPER),
        ("base_start=made/start/nn/last.pth", {"expert"}),  # the same start: the same expert
        ("seed=3", {"start"} | EXPERTS | HYPER),
        ("expert_episodes=3", {"own"}),
        ("test_objects=2", {"test_objects"} | TESTS),
        ("test.num_episodes=3", TESTS),
        ("threshold=0.5", set()),
        ("sim.numThreads=2", set()),
        ("test_experts=true", {"zero_shot"}),
        ("students=[]", set()),
        ("students=[mesh,camera]", {"vision_camera", "test_vision_camera"}),
        ("cluster_seed=1", {"clusters"}),
        ("objects.count=5", {"objects", "test_objects", "codes", "clusters"} | HYPER),
    ],
)
def test_changed_setting_reruns_what_it_touches(finished, made_by_stand_ins, monkeypatch, change, rerun):
    if change.startswith(("cluster_seed", "objects.count")):  # else the centres may be others
        known = clusters_of(finished)
        monkeypatch.setattr(objects, "cluster", lambda *arguments, **settings: known)
    outcome = pipeline(finished, change)
    assert outcome.status == 0, outcome.err
    assert kinds(outcome) == rerun
    # and back: as if nothing had been changed
    assert pipeline(finished).status == 0
    before, after = products(made_by_stand_ins), products(finished)
    assert {name: after.get(name) for name in before} == before


@pytest.mark.slow
def test_another_k_keeps_the_experts_that_are_still_needed(tmp_path, success_of):
    pipeline(tmp_path, "k=4")  # of four objects
    outcome = pipeline(tmp_path, "k=2")
    assert outcome.status == 0
    assert kinds(outcome) == {"clusters"} | HYPER


@pytest.mark.slow
def test_without_students_there_is_no_vision_step(tmp_path, success_of):
    outcome = pipeline(tmp_path, "students=[]")
    assert outcome.status == 0 and [kind_of(step) for step in done(outcome)] == STEPS[:-2]
    assert not list((tmp_path / "made").glob("*vision*")) and "## Vision" not in report_of(tmp_path)


@pytest.mark.slow
def test_encoder_can_be_trained_by_the_pipeline(tmp_path, success_of):
    small = ("encoder=train", "encoder_training.epochs=1", "encoder_training.points=16", "encoder_training.batch=2",
             "encoder_training.encoded_points=16")  # fmt: skip
    outcome = pipeline(tmp_path, *small)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "made" / "codes" / "encoder" / "encoder.pth").is_file()
    assert "objects.codes=made/codes/encoder/encoder.pth" in report_of(tmp_path)
    assert done(pipeline(tmp_path, *small)) == []


@pytest.mark.slow
def test_other_sources_of_objects_do_not_inherit_the_zoos_settings(tmp_path, success_of):
    names = "objects.names=[box,sphere,mug]"
    outcome = pipeline(tmp_path, "objects=starter", names, settings=("pipeline=tiny", "out=made", "jobs=1"))
    assert outcome.status == 0, outcome.err
    assert "3 training objects" in report_of(tmp_path) and "tested on: 3 train." in report_of(tmp_path)


# Messages


@pytest.mark.parametrize(
    "override, culprits",
    [
        ("k=9", ["k is 9", "4 training objects"]),
        ("k=0", ["k is 0"]),
        ("k=two", ["k is 'two'", "integer"]),
        ("treshold=0.5", ["treshold", "threshold"]),
        ("threshold=80", ["threshold is 80"]),
        ("base.nonsense=1", ["nonsense"]),
        ("base.num_envs=many", ["num_envs"]),
        ("pipeline=huge", ["huge", "default", "tiny"]),
        ("objects=zoos", ["zoos", "zoo"]),
        ("objects.codes=shipped", ["objects.codes", "encoder"]),
        ("experiment=mine", ["experiment", "out"]),
        ("checkpoint=a.pth", ["checkpoint", "by itself"]),
        ("stage1=a.pth", ["stage1 is set by the pipeline"]),
        ("teacher=a.pth", ["teacher is set by the pipeline"]),
        ("vision.teacher=a.pth", ["teacher is set by the pipeline"]),
        ("students=[eyes]", ["students is ['eyes']", "mesh", "camera"]),
        ("students=mesh", ["students is 'mesh'"]),
        ("students=null", ["students is null"]),
        ("vision.task.env.vision.numPoints=0", ["numPoints"]),
        ("encoder=nofile.pth", ["nofile.pth"]),
        ("encoder=source", ["has no code", "encoder=shipped"]),
        ("encoder_training.epochs=3", ["encoder_training", "encoder=train"]),
        ("seed=-1", ["seed"]),
        ("out=", ["out"]),
        ("nonsense", ["nonsense", "key=value"]),
    ],
)
def test_invalid_input_is_one_sentence(tmp_path, success_of, override, culprits):
    outcome = pipeline(tmp_path, override)
    assert_one_sentence(outcome, *culprits)
    assert not list(tmp_path.rglob("*.part")) and not (tmp_path / "made" / "report.md").exists()
    for record in tmp_path.glob("made/*/step.json"):
        assert read_json(record)["done"], "nothing is left half made"


def test_folder_of_other_objects_is_rejected(finished):
    before = files(finished)
    outcome = pipeline(finished, "objects=starter", settings=("pipeline=tiny", "out=made", "jobs=1"))
    assert_one_sentence(outcome, "made", "objects=zoo", "objects=starter")
    assert files(finished) == before


def test_folder_of_something_else_is_rejected(tmp_path, success_of):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.tex").write_text("")
    assert_one_sentence(pipeline(tmp_path), "made", "something else")
    assert list(files(tmp_path)) == ["made/thesis.tex"]


def test_help_is_printed(tmp_path):
    outcome = pipeline(tmp_path, settings=("--help",))
    assert outcome.status == 0 and "pipeline=default|tiny" in outcome.out
