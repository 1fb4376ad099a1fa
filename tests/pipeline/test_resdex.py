"""The pipeline from objects to report, on a few objects with networks of eight neurons."""

import copy
import functools
import json
import os
import re
import shlex
from pathlib import Path

import pytest
import yaml
from helpers.command_line import Outcome, assert_one_sentence, files

from resdex_tasks.shapes.clusters import read_clusters
from resdex_tasks.utils.paths import CFG_DIR
from runners.config import load_config
from runners.launch import main as train_main
from runners.learning.ppo import ResDexPPO
from runners.pipeline.methods import resdex as pipeline
from runners.pipeline.settings import SECTIONS, hydra_value, read_settings
from runners.pipeline.workspace import Workspace
from runners.policies import checkpoint as checkpoints

TINIER = (
    "pipeline=tiny",
    "out=made",
    "sim.numThreads=1",
    "num_envs=4",
    "task.env.episodeLength=6",
    "train.params.network.mlp.units=[8]",
    "train.params.config.horizon_length=4",
    "train.params.config.mini_epochs=1",
    "train.params.config.games_to_track=4",
    "train.params.config.save_frequency=1",
    "max_iterations=3",
    "expert_episodes=2",
    "test_objects=1",
    "test_experts=false",
    "objects.count=4",
    "test.num_episodes=1",
)
STAGES = ["objects", "test_objects", "codes", "clusters", "expert", "own", "expert", "own", "stage1", "stage2",
          "test_stage1", "test_stage2"]  # fmt: skip
REPORTED = ("# ResDex with k = 2 experts on 4 objects", "## Success", "## Base experts", "test_stage2/gallery.png")


class Killed(BaseException):
    """A kill: nothing may catch it."""


@pytest.fixture(scope="module", autouse=True)
def composed_once():
    """The same command line gives the same configuration, which takes a while to compose."""
    composed = functools.lru_cache(maxsize=None)(lambda *overrides: load_config(overrides))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "load_config", lambda overrides: copy.deepcopy(composed(*overrides)))
        yield


def call(folder, capsys, *overrides, tiny=TINIER):
    """The pipeline's command in `folder`."""
    before = os.getcwd()
    os.chdir(str(folder))
    capsys.readouterr()
    try:
        status = pipeline.main([*tiny, *overrides])
    finally:
        os.chdir(before)
        out, err = capsys.readouterr()
        call.out = out
    return Outcome(status, out, err)


def done(out):
    """The stages that were worked on, by the header lines."""
    return [name for name, rest in re.findall(r"^\[(\S+)\] (.*)$", out, re.M) if rest != "done already"]


def kind_of(stage):
    return re.sub(r"^(expert|own|zero_shot)_.*", r"\1", stage)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of an uninterrupted run; tests may not change it."""
    folder = tmp_path_factory.mktemp("whole")
    before = os.getcwd()
    os.chdir(str(folder))
    try:
        assert pipeline.main(list(TINIER)) == 0
    finally:
        os.chdir(before)
    return folder


def report_of(folder):
    return (folder / "made" / "report.md").read_text(encoding="utf-8")


# From objects to report


def test_it_leaves_the_method_s_artifacts_and_a_report(whole):
    made = whole / "made"
    clusters = read_clusters(made / "clusters" / "clusters.yaml")
    assert clusters.k == 2 and clusters.num_objects == 4
    text = report_of(whole)
    for words in (*REPORTED, *clusters.centres, "Unseen category", "w1", "w2", "pipeline=tiny", "torch", "mujoco"):
        assert words in text
    stage2 = checkpoints.read_checkpoint(str(made / "stage2" / "nn" / "last.pth"))
    assert stage2["train"]["network"]["experts"]["objects"] == list(clusters.centres)
    result = json.loads((made / "test_stage2" / "evaluation.json").read_text())
    assert [row["name"] for row in result["splits"]] == ["train", "unseen_object", "unseen_category"]
    trained = {o["name"]: o["category"] for o in json.loads((made / "objects" / "objects.json").read_text())["objects"]}
    for row in result["objects"]:
        assert (row["name"] in trained) == (row["split"] == "train")
        assert (row["category"] in trained.values()) == (row["split"] != "unseen_category")


def test_every_link_of_the_report_leads_to_a_file(whole):
    links = re.findall(r"\]\(([^)]+)\)", report_of(whole))
    assert len(links) > 4
    for link in links:
        assert (whole / "made" / link).is_file(), link


def test_the_report_knows_no_time(whole):
    text = report_of(whole)
    log = (whole / "made" / "stages.log").read_text()
    assert all(f" {name} took " in log for name in ("objects", "stage1", "test_stage2"))
    assert " took " not in text and log[:10] not in text  # the day


def test_the_commands_of_the_report_train_the_same(whole, tmp_path, monkeypatch):
    """The first of them, in an empty folder, gives the expert's weights."""
    command = next(line for line in report_of(whole).splitlines() if line.startswith("python train.py"))
    monkeypatch.chdir(tmp_path)
    assert train_main(shlex.split(command)[2:]) == 0
    (again,) = tmp_path.glob("made/*/nn/last.pth")
    first = checkpoints.read_checkpoint(str(whole / again.relative_to(tmp_path)))
    other = checkpoints.read_checkpoint(str(again))
    assert all((first["model"][name] == value).all() for name, value in other["model"].items())


# Cuts and reruns


def test_a_rerun_does_and_touches_nothing(whole, capsys):
    times = {p: p.stat().st_mtime_ns for p in (whole / "made").rglob("*") if p.name != ".lock"}
    outcome = call(whole, capsys)
    assert outcome.status == 0 and done(outcome.out) == []
    assert outcome.out.count("done already\n") == len(STAGES)
    assert {p: p.stat().st_mtime_ns for p in (whole / "made").rglob("*") if p.name != ".lock"} == times
    assert outcome.out.endswith("written to made/report.md\n")


def test_killed_at_every_stage_boundary_and_in_every_training_and_test(whole, tmp_path, capsys, monkeypatch):
    """Each cut comes once; the same command goes on each time, and the report is that of the uninterrupted run."""
    cut, test, log, update = [], pipeline.test, Workspace._log, ResDexPPO.update_epoch

    def once(what):
        if what not in cut:
            cut.append(what)
            raise Killed

    def cut_update(self):
        if self.epoch_num == 1:  # last.pth is of the first of three iterations
            once(f"training {self.experiment_name}")
        return update(self)

    def cut_test(cfg):
        (tmp_path / "made" / cfg.experiment / "evaluation.md").write_text("half")
        once(f"test {cfg.experiment}")
        return test(cfg)

    def cut_log(self, text):
        log(self, text)
        once(f"after {text.split()[0]}")

    monkeypatch.setattr(pipeline, "test", cut_test)
    monkeypatch.setattr(Workspace, "_log", cut_log)
    monkeypatch.setattr(ResDexPPO, "update_epoch", cut_update)
    for calls in range(1, 100):
        try:
            assert call(tmp_path, capsys).status == 0
            break
        except Killed:
            assert len(cut) == calls
    assert [kind_of(what[6:]) for what in cut if what.startswith("after ")] == STAGES
    assert sum(what.startswith("training ") for what in cut) == 4
    assert sum(what.startswith("test ") for what in cut) == 4
    assert report_of(tmp_path) == report_of(whole)


def test_a_kill_before_the_first_checkpoint_starts_that_training_again(whole, tmp_path, capsys, monkeypatch):
    update, left = ResDexPPO.update_epoch, [1]

    def killed(self):
        if left and self.epoch_num == 0:
            left.pop()
            raise Killed
        return update(self)

    monkeypatch.setattr(ResDexPPO, "update_epoch", killed)
    with pytest.raises(Killed):
        call(tmp_path, capsys)
    outcome = call(tmp_path, capsys)
    assert outcome.status == 0 and "expert" in kind_of(done(outcome.out)[0]) and ": goes on" in outcome.out
    (_,) = (tmp_path / "made" / done(outcome.out)[0] / "summaries").iterdir()
    assert report_of(tmp_path) == report_of(whole)


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def stopped(cfg, overrides):
        raise pipeline.TrainingStopped

    monkeypatch.setattr(pipeline, "train", stopped)
    outcome = call(tmp_path, capsys)
    assert outcome.status == 130 and outcome.err == ""
    command = outcome.out.splitlines()[-1].split("goes on with: ")[1]
    assert shlex.split(command) == ["python", "-m", "runners.pipeline", *TINIER]


# The trainings and tests are stand-ins from here on: what is asked is which of them are done


@pytest.fixture()
def fakes(monkeypatch):
    """Instead of trainings and tests: files of the right kind. `held` maps an object to its expert's success."""
    held = {}

    def train(cfg, overrides):
        path = f"{cfg.runs_dir}/{cfg.experiment}/nn"
        os.makedirs(path)
        sources = {"ResDexBase": [], "ResDexHyper": cfg.experts, "ResDexHyperStage2": [cfg.stage1]}[cfg.task.name]
        own = [cfg.experiment, cfg.seed, cfg.max_iterations, cfg.train.params.config.gamma, cfg.objects.get("count")]
        text = f"{own} of {[Path(source).read_text() for source in sources]}"
        Path(f"{path}/last.pth").write_text(text)

    def test(cfg):
        name = cfg.objects.names[0]
        rate = {"rate": held.get(name, 1.0), "low": 0.0, "high": 1.0}
        row = {"name": "all", "episodes": 2, "diverged": 0, "held": rate, "latched": rate, "D": None, "weights": None}
        result = {"all": row, "splits": [], "categories": [], "objects": [], "policy": Path(cfg.checkpoint).read_text()}
        result["episodes"] = [cfg.num_episodes, cfg.episodes_per_object]
        Path(f"{cfg.runs_dir}/{cfg.experiment}/evaluation.json").write_text(json.dumps(result))

    monkeypatch.setattr(pipeline, "train", train)
    monkeypatch.setattr(pipeline, "test", test)
    return held


def chosen(folder):
    """Rows of the report's table of experts: [cluster, object, use]."""
    table = report_of(folder).split("## Base experts")[1].split("## ")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_next_nearest_object_is_tried_where_the_nearest_is_not_learned(tmp_path, capsys, fakes):
    assert call(tmp_path, capsys, "objects.count=8", "threshold=0.8").status == 0
    first, second = read_clusters(tmp_path / "made" / "clusters" / "clusters.yaml").clusters
    assert chosen(tmp_path) == [["1", first.ranking[0], "w1"], ["2", second.ranking[0], "w2"]]
    fakes[first.ranking[0]], fakes[first.ranking[1]] = 0.79, 0.8
    (tmp_path / "again").mkdir()
    outcome = call(tmp_path / "again", capsys, "objects.count=8", "threshold=0.8")
    assert f"{first.ranking[0]} is held in 79.0 % of the episodes, less than 80.0 %" in outcome.out
    assert chosen(tmp_path / "again") == [
        ["1", first.ranking[0], "tried"],
        ["1", first.ranking[1], "w1"],
        ["2", second.ranking[0], "w2"],
    ]
    text = report_of(tmp_path / "again")
    assert f"made/expert_{first.ranking[1]}/nn/last.pth" in re.search(r"'experts=(.*?)'", text)[1]
    assert f"expert_{first.ranking[0]}" not in re.search(r"'experts=(.*?)'", text)[1]


def test_where_no_object_is_learned_the_best_is_taken_and_this_is_said(tmp_path, capsys, fakes):
    call(tmp_path, capsys, "objects.count=8", "k=1")
    (group,) = read_clusters(tmp_path / "made" / "clusters" / "clusters.yaml").clusters
    fakes.update(zip(group.ranking, (0.1, 0.4, 0.3, 0.9)))
    (tmp_path / "again").mkdir()
    outcome = call(tmp_path / "again", capsys, "objects.count=8", "k=1", "threshold=0.8", "tries=3")
    assert outcome.status == 0
    assert f"no object of cluster 1 reached it; its expert is the best one, of {group.ranking[1]}" in outcome.out
    assert [row[2] for row in chosen(tmp_path / "again")] == ["tried", "w1", "tried"]
    assert "none of the 3 tried objects is held in 80 %" in report_of(tmp_path / "again")
    # one more may be tried: the others' experts are kept
    outcome = call(tmp_path / "again", capsys, "objects.count=8", "k=1", "threshold=0.8", "tries=4")
    assert done(outcome.out)[:2] == [f"expert_{group.ranking[3]}", f"own_{group.ranking[3]}"]
    assert [row[2] for row in chosen(tmp_path / "again")] == ["tried", "tried", "tried", "w1"]


EXPERTS = {"expert", "own"}
HYPER = {"stage1", "stage2", "test_stage1", "test_stage2"}


@pytest.mark.parametrize(
    "change, redone",
    [
        ("stage2.max_iterations=4", {"stage2", "test_stage2"}),
        ("stage1.max_iterations=4", HYPER),
        ("base.max_iterations=4", EXPERTS | HYPER),
        ("seed=3", EXPERTS | HYPER),
        ("expert_episodes=3", {"own"}),
        ("test_objects=2", {"test_objects", "test_stage1", "test_stage2"}),
        ("test.num_episodes=3", {"test_stage1", "test_stage2"}),
        ("threshold=0.5", set()),
        ("sim.numThreads=2", set()),
        ("test_experts=true", {"zero_shot"}),
        ("cluster_seed=1", {"clusters"}),
        ("objects.count=5", {"objects", "test_objects", "codes", "clusters"} | HYPER),
    ],
)
def test_a_changed_setting_redoes_what_it_touches(tmp_path, capsys, fakes, monkeypatch, change, redone):
    if change.startswith(("cluster_seed", "objects.count")):  # else the centres may be others
        found = pipeline.cluster
        monkeypatch.setattr(pipeline, "cluster", lambda names, codes, k, **_: found(names[:4], codes[:4], k))
    call(tmp_path, capsys)
    outcome = call(tmp_path, capsys, change)
    assert outcome.status == 0, outcome.err
    assert {kind_of(name) for name in done(outcome.out)} == redone
    # and back
    assert call(tmp_path, capsys).status == 0
    assert done(call(tmp_path, capsys).out) == []


def test_another_k_keeps_the_experts_that_are_still_asked_for(tmp_path, capsys, fakes):
    call(tmp_path, capsys, "k=4")  # of four objects
    outcome = call(tmp_path, capsys, "k=2")
    assert outcome.status == 0
    assert not EXPERTS & {kind_of(name) for name in done(outcome.out)}
    assert {kind_of(name) for name in done(outcome.out)} == {"clusters"} | HYPER


def test_an_encoder_can_be_trained_on_the_way(tmp_path, capsys, fakes):
    small = ("encoder=train", "encoder_training.epochs=1", "encoder_training.points=16", "encoder_training.batch=2",
             "encoder_training.encoded_points=16")  # fmt: skip
    outcome = call(tmp_path, capsys, *small)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "made" / "codes" / "encoder" / "encoder.pth").is_file()
    assert "objects.codes=made/codes/encoder/encoder.pth" in report_of(tmp_path)
    assert done(call(tmp_path, capsys, *small).out) == []


# The zoo is not all there is


def test_other_objects_leave_the_zoo_s_settings_behind(tmp_path, capsys, fakes):
    outcome = call(
        tmp_path, capsys, "objects=starter", "objects.names=[box,sphere,mug]", tiny=("pipeline=tiny", "out=made")
    )
    assert outcome.status == 0, outcome.err
    assert "3 training objects" in report_of(tmp_path) and "tested on: 3 train." in report_of(tmp_path)


# Messages


@pytest.mark.parametrize(
    "override, culprits",
    [
        ("k=9", ["k is 9", "4 training objects"]),
        ("k=0", ["k is 0"]),
        ("k=two", ["k is 'two'", "whole number"]),
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
        ("encoder=nofile.pth", ["nofile.pth"]),
        ("encoder=source", ["has no code", "encoder=shipped"]),
        ("encoder_training.epochs=3", ["encoder_training", "encoder=train"]),
        ("seed=-1", ["seed"]),
        ("out=", ["out"]),
        ("nonsense", ["nonsense", "key=value"]),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, fakes, override, culprits):
    outcome = call(tmp_path, capsys, override)
    assert_one_sentence(outcome, *culprits)
    assert not list(tmp_path.rglob("*.part")) and not (tmp_path / "made" / "report.md").exists()
    for record in tmp_path.glob("made/*/stage.json"):
        assert json.loads(record.read_text())["done"], "nothing is left half made"


def test_a_folder_of_other_objects_is_refused(tmp_path, capsys, fakes):
    call(tmp_path, capsys)
    before = files(tmp_path)
    outcome = call(tmp_path, capsys, "objects=starter", tiny=("pipeline=tiny", "out=made"))
    assert_one_sentence(outcome, "made", "objects=zoo", "objects=starter")
    assert files(tmp_path) == before


def test_a_folder_of_something_else_is_refused(tmp_path, capsys, fakes):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.tex").write_text("")
    assert_one_sentence(call(tmp_path, capsys), "made", "something else")
    assert list(files(tmp_path)) == ["made/thesis.tex"]


def test_help_is_told(capsys):
    assert pipeline.main(["--help"]) == 0
    assert "pipeline=default|tiny" in capsys.readouterr().out


# Settings


def test_the_command_line_comes_before_the_file_and_a_part_s_own_before_all():
    settings = read_settings(["pipeline=tiny", "num_envs=8", "base.num_envs=4", "all.seed=3", "k=3"])
    assert settings.k == 3 and settings.threshold == 0.0 and settings.tries == 3
    assert "num_envs=4" in settings.overrides("base", {}) and "num_envs=8" in settings.overrides("stage1", {})
    assert "seed=3" in settings.overrides("test", {}) and "seed=1" in settings.overrides("test", {"seed": 1})


@pytest.mark.parametrize("value", ["a/b.pth", "with space", "null", "3", 'a"b', True, None, 0.5, ["x@0.08", "a,b"]])
def test_values_survive_hydra_s_command_line(value):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert OverridesParser.create().parse_override(f"key={hydra_value(value)}").value() == value


@pytest.mark.parametrize("name", sorted(path.stem for path in (CFG_DIR / "pipeline").glob("*.yaml")))
def test_every_file_of_settings_composes(name):
    values = yaml.safe_load((CFG_DIR / "pipeline" / f"{name}.yaml").read_text())
    settings = read_settings([f"pipeline={name}"])
    assert pipeline._check_configurations(settings) == "zoo"
    assert {key for key in values if isinstance(values[key], dict)} <= {*SECTIONS, "encoder_training"}


def test_objects_of_any_name_make_a_folder_s_name_of_their_own():
    names = ["jar-0070", "core/mug@0.08", "core_mug_0.08", "a" * 90, "a" * 91, "../x"]
    slugs = [pipeline.slug(name) for name in names]
    assert len(set(slugs)) == len(names) and slugs[0] == "jar-0070"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,60}", slug) for slug in slugs)
