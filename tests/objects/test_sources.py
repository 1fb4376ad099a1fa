"""What a source has, before any of it is made."""

import pytest
import trimesh

from resdex_tasks.objects.sources import DexGraspNetConfig, MeshesConfig, StarterConfig, ZooConfig


def told(objects):
    return {(obj.name, obj.category, obj.split) for obj in objects}


def test_what_is_listed_is_what_is_made(tmp_path):
    (tmp_path / "boxes").mkdir()
    for name in ("boxes/a.stl", "ball_07.ply"):
        trimesh.creation.box((0.06, 0.05, 0.07)).export(str(tmp_path / name))
    for source in (StarterConfig("starter"), MeshesConfig("meshes", root=str(tmp_path), cache=str(tmp_path / "cache"))):
        assert told(source.listed()) == told(source.make())


def test_all_of_the_zoo_is_listed_whatever_is_chosen():
    chosen = ZooConfig("zoo", split="unseen_object", categories=["mug"], count=3)
    listed = chosen.listed()
    assert len(listed) == 3200 + 141 + 100
    assert told(chosen.make()) <= told(listed)


@pytest.mark.parametrize("settings", [{}, {"categories": ["bottle"], "count": 1}, {"sizes": "both", "split": "all"}])
def test_one_of_the_zoos_is_made_alone(settings):
    source = ZooConfig("zoo", **settings)
    for obj in (source.listed()[5], source.listed()[-1]):
        assert told(source.only(obj).make()) == {tuple(obj)}


@pytest.mark.parametrize("layout", ["unidexgrasp_layout", "dexgraspnet_layout"])
def test_real_objects_are_listed_and_made_alone(sample_data, tmp_path, layout):
    source = DexGraspNetConfig("dexgraspnet", root=str(sample_data / layout), cache=str(tmp_path))
    listed, made = source.listed(), source.make()  # some have no grasps that can be used
    assert told(made) <= told(listed)
    one = next(obj for obj in listed if obj.name == made[-1].name)
    assert told(source.only(one).make()) == {tuple(one)}
