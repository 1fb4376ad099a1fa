"""K-means on codes, the objects nearest to the centres, and the file that keeps them."""

import dataclasses

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from resdex_tasks.factory import make_objects
from resdex_tasks.objects.object_set import CODE_SIZE
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.shapes.clusters import assign, cluster, read_clusters, write_clusters
from resdex_tasks.shapes.encoder import EncoderSizes, ObjectEncoder, PointAutoencoder, read_encoder, write_encoder
from resdex_tasks.utils.disk_cache import CACHE_VARIABLE
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.paths import CHECKPOINT_DIR
from runners.objects import __main__ as tool


def on_a_line(*places):
    """Codes (N, 64) that differ in their first number alone."""
    codes = np.zeros((len(places), CODE_SIZE), dtype=np.float32)
    codes[:, 0] = places
    return codes


NAMES = ["a", "b", "c", "d", "e", "f"]
CODES = on_a_line(10.0, 0.0, 11.5, 2.0, 1.2, 20.0)
"""Three clusters: b, e, d around 16/15; a, c around 10.75; f alone."""


def made(**changes):
    arguments = {"names": NAMES, "codes": CODES, "k": 3, "seed": 0, "encoder": "abc", "objects": {"source": "zoo"}}
    return cluster(**{**arguments, **changes})


def test_clusters_of_a_line_and_their_rankings():
    found = made()
    assert found.k == 3 and found.num_objects == 6
    assert [c.size for c in found.clusters] == [3, 2, 1], "the largest first"
    first, second, third = found.clusters
    assert first.ranking == ("e", "b", "d") or first.ranking == ("e", "d", "b")
    np.testing.assert_allclose(first.distances, [1.2 - 16 / 15, 2 - 16 / 15, 16 / 15], atol=1e-4)
    assert first.ranking == ("e", "d", "b")
    assert set(second.ranking) == {"a", "c"} and third.ranking == ("f",)
    np.testing.assert_allclose(second.distances, [0.75, 0.75], atol=1e-4)
    assert found.centres == ("e", second.ranking[0], "f")
    assert found.inertia == pytest.approx(np.var([0.0, 2.0, 1.2]) * 3 + 2 * 0.75**2, abs=1e-3)
    assert assign(["f", "b", "a", "other"], found) == {"f": 2, "b": 0, "a": 1}


def test_a_ranking_can_be_cut_but_the_size_remains():
    (first, *_) = made().ranked(2).clusters
    assert first.ranking == ("e", "d") and len(first.distances) == 2 and first.size == 3


def test_the_order_of_the_objects_does_not_matter():
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.normal(centre, 1.0, (20 + centre, CODE_SIZE)) for centre in (0, 5, 10)])
    names = [f"object-{i:02d}" for i in range(len(codes))]
    order = rng.permutation(len(codes))
    one, other = cluster(names, codes, 3), cluster([names[i] for i in order], codes[order], 3)
    assert one == other
    assert [c.size for c in one.clusters] == [30, 25, 20]
    for c in one.clusters:
        assert list(c.distances) == sorted(c.distances)


def test_one_cluster_holds_all_and_as_many_as_objects_hold_one_each():
    (single,) = made(k=1).clusters
    assert single.size == 6 and set(single.ranking) == set(NAMES)
    assert all(c.size == 1 and c.distances == (0.0,) for c in made(k=6).clusters)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"k": 7}, "k is 7, but there are 6 objects"),
        ({"k": 0}, "k is 0; it must be an integer of at least 1"),
        ({"k": 2.0}, r"k is 2\.0; it must be an integer"),
        ({"seed": -1}, "the seed is -1; it must be an integer from 0"),
        ({"codes": on_a_line(1, 1, 1, 1, 2, 2)}, "k is 3, but the 6 objects have only 2 different codes"),
    ],
    ids=["more than objects", "none", "no integer", "negative seed", "more than shapes"],
)
def test_an_impossible_k_is_one_sentence(changes, message):
    with pytest.raises(UserError, match=message):
        made(**changes)


def test_clusters_return_from_their_file(tmp_path):
    found = made()
    path = tmp_path / "clusters.yaml"
    write_clusters(path, found, "the command")
    assert read_clusters(path, "abc") == found
    written = yaml.safe_load(path.read_text())
    assert [written[key] for key in ("encoder", "command", "k", "seed")] == ["abc", "the command", 3, 0]
    assert written["clusters"][0]["centre"] == "e" and "scikit-learn" in written["versions"]
    with pytest.raises(UserError, match=r"clusters\.yaml holds clusters of encoder abc, not of xyz"):
        read_clusters(path, "xyz")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": "other"}, "lacks the mark"),
        ({"k": 4}, "do not belong together"),
        ({"clusters": []}, "do not belong together"),
        ({"clusters": [{"size": 1, "ranking": ["a"]}]}, "lacks 'distances'"),
        ({"seed": "x"}, "invalid literal"),
    ],
    ids=["another mark", "another k", "no clusters", "no distances", "no seed"],
)
def test_a_broken_file_of_clusters_is_one_sentence(changes, message, tmp_path):
    path = tmp_path / "clusters.yaml"
    write_clusters(path, made())
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
    with pytest.raises(UserError, match=message) as error:
        read_clusters(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_no_yaml_or_is_missing_is_one_sentence(tmp_path):
    path = tmp_path / "clusters.yaml"
    with pytest.raises(UserError, match="no file of clusters"):
        read_clusters(path)
    path.write_text("format: [")
    with pytest.raises(UserError, match=r"clusters\.yaml is not a readable file of clusters"):
        read_clusters(path)


def test_the_command_clusters_objects(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    torch.manual_seed(0)
    sizes = EncoderSizes((8,), (8,), (8,), 8)
    encoder = ObjectEncoder(PointAutoencoder(sizes), torch.zeros(64), torch.ones(64), 64, 0)
    write_encoder(tmp_path / "e.pth", encoder)
    path = tmp_path / "clusters.yaml"
    arguments = ["cluster", f"--encoder={tmp_path / 'e.pth'}", f"--out={path}", "objects=starter", "objects.names=null"]
    assert tool.main([*arguments, "--k=2"]) == 0
    found = read_clusters(path, encoder.id)
    assert found.num_objects == 11 and sum(c.size for c in found.clusters) == 11
    assert found.objects["source"] == "starter"
    before = path.read_bytes()
    assert tool.main([*arguments, "--k=12"]) == 2
    assert "k is 12, but there are 11 objects" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert tool.main([*arguments, "--k=2", f"--picture={tmp_path / 'clusters.jpg'}"]) == 2
    assert "must end in .png" in capsys.readouterr().err


@pytest.mark.slow
def test_the_clusters_are_drawn(tmp_path):
    """Every object has a dot, and every centre a star and its picture, for many objects and for few."""
    pytest.importorskip("mujoco", minversion="3.17")
    from runners.objects.cluster_picture import draw_clusters

    rng = np.random.default_rng(0)
    for count in (3, 11):
        objects = starter_objects()[:count]
        codes = rng.standard_normal((count, CODE_SIZE))
        found = cluster(objects.names, codes, 3)
        draw_clusters(objects, codes, found, tmp_path / f"{count}.png")
        image = np.asarray(Image.open(tmp_path / f"{count}.png"))
        assert image.shape[0] == 640 and image.std() > 20


@pytest.mark.parametrize("k", range(1, 7))
def test_the_shipped_clusters_are_those_of_the_shipped_encoder(k):
    found = read_clusters(CHECKPOINT_DIR / f"zoo_clusters_k{k}.yaml", read_encoder("shipped").id)
    assert found.k == k and found.num_objects == 3200
    assert sum(c.size for c in found.clusters) == 3200
    assert all(len(c.ranking) == 20 for c in found.clusters)
    # the configuration in the file finds the centres again
    centres = make_objects({**dict(found.objects), "names": list(found.centres)})
    assert centres.names == list(found.centres)


def test_clusters_are_values():
    assert dataclasses.replace(made(), seed=1) != made()
