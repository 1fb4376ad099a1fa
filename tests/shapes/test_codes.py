"""The encoder and its training, and the files of codes."""

import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.factory import make_objects
from resdex_tasks.objects.geometry.surface import surface_points
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.starter import starter_objects
from resdex_tasks.proposals.file import proposals_for, read_proposals, write_proposals
from resdex_tasks.shapes.codes import (
    CodeFile,
    add_codes,
    cache_file,
    cached_codes,
    encode,
    read_codes,
    with_codes,
    write_codes,
)
from resdex_tasks.shapes.encoder import (
    LENGTH_UNIT,
    EncoderSizes,
    ObjectEncoder,
    PointAutoencoder,
    chamfer,
    read_encoder,
    write_encoder,
)
from resdex_tasks.shapes.encoder_training import EncoderTraining, _turns, train_encoder
from resdex_tasks.utils.disk_cache import CACHE_VARIABLE
from resdex_tasks.utils.errors import UserError
from runners.objects import __main__ as tool

STARTER = starter_objects()
TINY_SIZES = EncoderSizes(point_layers=(16, 32), code_layers=(32,), decoder_layers=(32,), decoded_points=64)
TINY = EncoderTraining(epochs=30, batch=4, points=64, encoded_points=128, learning_rate=3e-3)


def tiny_encoder(seed=0, points=256):
    torch.manual_seed(seed)
    return ObjectEncoder(PointAutoencoder(TINY_SIZES), torch.zeros(64), torch.ones(64), points, 0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Codes are kept in the test's own folder."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


# The network


def test_chamfer_distance_of_hand_computed_sets():
    a = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    b = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 2.0], [5.0, 0.0, 0.0]]])
    # a -> b: 0 and 1; b -> a: 0, 2 and 4
    expected = torch.tensor([(1 / 2 + 6 / 3) / 2])
    torch.testing.assert_close(chamfer(a, b), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(chamfer(b, a), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(chamfer(a, a), torch.zeros(1), atol=1e-5, rtol=0)


def test_chamfer_distance_and_its_gradient_agree_with_all_pairs():
    torch.manual_seed(0)
    a, b = torch.randn(3, 40, 3, requires_grad=True), torch.randn(3, 50, 3)
    pairs = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    expected = (pairs.amin(dim=2).mean(dim=1) + pairs.amin(dim=1).mean(dim=1)) / 2
    torch.testing.assert_close(chamfer(a, b), expected, atol=1e-5, rtol=0)
    (wanted,) = torch.autograd.grad(expected.sum(), a)
    (ours,) = torch.autograd.grad(chamfer(a, b).sum(), a)
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)
    same = a.detach().clone().requires_grad_()
    chamfer(same, a.detach()).sum().backward()
    assert torch.isfinite(same.grad).all()


def test_the_order_of_the_points_does_not_matter_but_size_and_attitude_do():
    encoder = tiny_encoder()
    points = torch.from_numpy(encoder.surface(STARTER.select(["mug"])[0]))
    with torch.no_grad():
        code = encoder.encode_points(points[None])
        torch.testing.assert_close(encoder.encode_points(points[torch.randperm(len(points))][None]), code)
        assert not torch.allclose(encoder.encode_points(1.5 * points[None]), code, atol=1e-3)
        assert not torch.allclose(encoder.encode_points(points[None].flip(-1)), code, atol=1e-3)


def test_a_code_does_not_depend_on_the_objects_beside_it():
    encoder = tiny_encoder()
    all_codes = encode(STARTER, encoder).codes
    assert all_codes.shape == (11, 64) and all_codes.dtype == np.float32
    for i in (0, 10):
        np.testing.assert_array_equal(encode(STARTER[i : i + 1], encoder).codes[0], all_codes[i])


def test_turned_examples_are_turned_by_rotations():
    turns = _turns(2000, 0.25, torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(
        turns @ turns.transpose(1, 2), torch.eye(3).double().expand(2000, 3, 3), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(torch.det(turns), torch.ones(2000).double(), atol=1e-5, rtol=0)
    still = (turns - torch.eye(3)).abs().amax(dim=(1, 2)) < 1e-6
    assert float(still.double().mean()) == pytest.approx(0.75, abs=0.04)
    torch.testing.assert_close(turns[~still].mean(dim=0), torch.zeros(3, 3).double(), atol=0.1, rtol=0)


# Training


@pytest.mark.slow
def test_a_training_learns_and_resumes_as_if_never_interrupted(tmp_path):
    whole = train_encoder(STARTER, TINY, tmp_path / "whole", TINY_SIZES)
    losses = whole.training["losses_mm"]
    assert len(losses) == 30 and losses[-1] < 0.8 * losses[0]
    with pytest.raises(KeyboardInterrupt):
        train_encoder(STARTER, TINY, tmp_path / "parts", TINY_SIZES, stop_after=11)
    assert not (tmp_path / "parts" / "encoder.pth").exists()
    parts = train_encoder(STARTER, TINY, tmp_path / "parts", TINY_SIZES)
    assert parts.training["losses_mm"] == losses and parts.id == whole.id
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(weight, parts.network.state_dict()[name])
    codes = encode(STARTER, whole).codes
    np.testing.assert_allclose(codes.mean(axis=0), 0.0, atol=1e-3)
    assert 0.5 < codes.std() <= 1.001


def test_a_training_does_not_resume_with_other_settings_or_objects(tmp_path):
    one_epoch = dataclasses.replace(TINY, epochs=1)
    train_encoder(STARTER, one_epoch, tmp_path, TINY_SIZES)
    with pytest.raises(UserError, match=r"training\.pth was begun with epochs=1, not 30"):
        train_encoder(STARTER, TINY, tmp_path, TINY_SIZES)
    with pytest.raises(UserError, match=r"begun with objects=11, not 10"):
        train_encoder(STARTER[:10], one_epoch, tmp_path, TINY_SIZES)
    with pytest.raises(UserError, match=r"begun with shapes="):
        train_encoder(ObjectSet(list(STARTER)[::-1]), one_epoch, tmp_path, TINY_SIZES)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"points": 1025}, "points is 1025; it can be at most 1024"),
        ({"turned": 1.5}, r"turned is 1\.5; it must be from 0 to 1"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_out_of_range_are_one_sentence(changes, message):
    with pytest.raises(UserError, match=message):
        EncoderTraining(**changes)


# The encoder's file


def test_an_encoder_returns_from_its_file(tmp_path):
    encoder = tiny_encoder()
    encoder.training["seed"] = 5
    write_encoder(tmp_path / "e.pth", encoder)
    again = read_encoder(str(tmp_path / "e.pth"))
    assert again.id == encoder.id and again.training == {"seed": 5}
    codes = encode(STARTER, encoder).codes
    np.testing.assert_array_equal(encode(STARTER, again).codes, codes)
    torch.testing.assert_close(
        again.reconstruct(torch.from_numpy(codes)), encoder.reconstruct(torch.from_numpy(codes)), atol=1e-3, rtol=0
    )


def test_the_id_is_that_of_what_decides_the_codes():
    encoder = tiny_encoder()
    assert encoder.id == tiny_encoder().id
    assert len({encoder.id, tiny_encoder(seed=1).id, tiny_encoder(points=255).id}) == 3
    before = encoder.id
    next(encoder.network.decoder.parameters()).zero_()
    assert encoder.id == before
    encoder.std = 2 * encoder.std
    assert encoder.id != before


class _Command:
    """What a stranger could put into a file: unpickling it executes a command."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def _changed(**changes):
    def write(path):
        write_encoder(path, tiny_encoder())
        state = torch.load(str(path), weights_only=True)
        torch.save({k: v for k, v in {**state, **changes}.items() if v is not None}, str(path))

    return write


BROKEN = {
    "missing": (lambda path: None, "no encoder"),
    "truncated": (lambda path: path.write_bytes(b"PK\x03\x04half"), "not readable as an encoder"),
    "no mark": (lambda path: torch.save({"weights": {}}, str(path)), "lacks the mark 'resdex-encoder-1'"),
    "a program": (lambda path: torch.save(_Command(), str(path)), "more than plain data"),
    "incomplete": (_changed(mean=None), "incomplete encoder: 'mean'"),
    "of other sizes": (_changed(sizes={"point_layers": [8]}), "incomplete encoder"),
    "changed": (_changed(points=99), "was changed after it was written"),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_broken_encoder_is_one_sentence(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write, message = BROKEN[what]
    path = tmp_path / "broken.pth"
    write(path)
    with pytest.raises(UserError, match=message) as error:
        make_objects({"source": "starter", "codes": str(path)})
    assert "broken.pth" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()


# Files of codes


class Counting(ObjectEncoder):
    """An encoder that counts what it encodes."""

    encoded = 0

    def encode(self, obj):
        self.encoded += 1
        return super().encode(obj)


def counting(seed=0):
    return Counting(**vars(tiny_encoder(seed)))


def test_codes_are_computed_once_and_return_from_the_cache(cache):
    encoder = counting()
    codes = cached_codes(STARTER[:3], encoder)
    assert encoder.encoded == 3 and cache_file(encoder).parent == cache
    np.testing.assert_array_equal(cached_codes(STARTER[:3], encoder), codes)
    assert encoder.encoded == 3
    cached_codes(STARTER[2:5], encoder)
    assert encoder.encoded == 5, "only what is missing"
    np.testing.assert_array_equal(cached_codes(STARTER[:3], encoder), codes)
    assert encoder.encoded == 5
    assert read_codes(cache_file(encoder)).names == tuple(STARTER.names[:5])


def test_a_changed_object_is_encoded_again():
    encoder = counting()
    before = cached_codes(STARTER[:2], encoder)
    larger = dataclasses.replace(STARTER[0].pieces[0], vertices=1.2 * STARTER[0].pieces[0].vertices)
    changed = ObjectSet([dataclasses.replace(STARTER[0], pieces=(larger,)), STARTER[1]])
    after = cached_codes(changed, encoder)
    assert encoder.encoded == 3
    assert not np.allclose(before[0], after[0], atol=1e-3)
    np.testing.assert_array_equal(before[1], after[1])


def test_encoders_do_not_share_a_cache():
    one, other = counting(0), counting(1)
    assert not np.allclose(cached_codes(STARTER[:1], one), cached_codes(STARTER[:1], other))
    assert cache_file(one) != cache_file(other)


def test_without_a_usable_cache_codes_still_come(cache, capsys):
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    encoder = counting()
    np.testing.assert_array_equal(cached_codes(STARTER[:1], encoder), encode(STARTER[:1], encoder).codes)
    assert "not kept for the next time" in capsys.readouterr().out
    cache.unlink()
    cache.mkdir()
    cache_file(encoder).write_bytes(b"damaged")
    cached_codes(STARTER[:1], encoder)
    assert str(cache_file(encoder)) in capsys.readouterr().out
    encoded = encoder.encoded
    cached_codes(STARTER[:1], encoder)
    assert encoder.encoded == encoded and capsys.readouterr().out == "", "a damaged cache is replaced"


def test_a_file_of_codes_of_another_encoder_is_refused(tmp_path):
    one, other = tiny_encoder(0), tiny_encoder(1)
    file = encode(STARTER[:2], one)
    write_codes(tmp_path / "codes.npz", file)
    again = read_codes(tmp_path / "codes.npz", one.id)
    assert again.names == file.names and again.shapes == file.shapes
    np.testing.assert_array_equal(again.codes, file.codes)
    with pytest.raises(UserError, match=rf"codes\.npz holds codes of encoder {one.id}, not of {other.id}"):
        read_codes(tmp_path / "codes.npz", other.id)
    with pytest.raises(UserError, match=f"codes are of encoder {one.id}, not of {other.id}"):
        encode(STARTER[:2], other, file)


def test_a_broken_file_of_codes_is_one_sentence(tmp_path):
    path = tmp_path / "codes.npz"
    with pytest.raises(UserError, match=r"no file of codes .*codes\.npz"):
        read_codes(path)
    path.write_bytes(b"PK\x03\x04half")
    with pytest.raises(UserError, match=r"codes\.npz is not readable as a file of codes"):
        read_codes(path)
    np.savez(str(path), codes=np.zeros((2, 64)))
    with pytest.raises(UserError, match=r"codes\.npz is not readable as a file of codes: .*format"):
        read_codes(path)
    write_codes(path, encode(STARTER[:2], tiny_encoder()))
    arrays = dict(np.load(str(path)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"codes\.npz is not readable as a file of codes"):
        read_codes(path)
    np.savez(str(path), **{**arrays, "codes": arrays["codes"][:, :8]})
    with pytest.raises(UserError, match="64 finite numbers"):
        read_codes(path)
    np.savez(str(path), **{**arrays, "names": np.array([_Command(), None], dtype=object)})
    with pytest.raises(UserError, match=r"codes\.npz is not readable as a file of codes"):
        read_codes(path)


def written(write) -> bytes:
    """What `write` writes to a file."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "file.npz")
        return (Path(folder) / "file.npz").read_bytes()


FILES = {
    "codes": (read_codes, written(lambda path: write_codes(path, encode(STARTER[:3], tiny_encoder())))),
    "grasps": (
        read_proposals,
        written(lambda path: write_proposals(path, [proposals_for(o, 5, o.proposals) for o in STARTER[:3]], {})),
    ),
}


@given(st.data())
@settings(max_examples=200)
def test_damaged_files_are_one_sentence_or_read(data):
    """Whatever bytes are wrong: codes, and grasp proposals, which are read alike."""
    read, whole = FILES[data.draw(st.sampled_from(list(FILES)))]
    damaged = bytearray(whole)
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.npz"
        path.write_bytes(bytes(damaged))
        try:
            read(path)
        except UserError as error:
            assert "damaged.npz" in str(error) and "\n" not in str(error)


def test_a_file_of_codes_keeps_those_of_other_objects(tmp_path):
    encoder, path = counting(), tmp_path / "codes.npz"
    add_codes(path, STARTER[:3], encoder)
    add_codes(path, STARTER[2:5], encoder)
    file = read_codes(path)
    assert sorted(file.names) == sorted(STARTER.names[:5]) and encoder.encoded == 5
    by_name = dict(zip(file.names, file.codes))
    expected = encode(STARTER[:5], encoder)
    np.testing.assert_array_equal(np.stack([by_name[name] for name in expected.names]), expected.codes)
    larger = dataclasses.replace(STARTER[0].pieces[0], vertices=1.2 * STARTER[0].pieces[0].vertices)
    changed = ObjectSet([dataclasses.replace(STARTER[0], pieces=(larger,))])
    file = add_codes(path, changed, encoder)
    assert file.names.count(STARTER.names[0]) == 1
    np.testing.assert_array_equal(file.codes[file.names.index(STARTER.names[0])], encoder.encode(changed[0]))


def test_objects_carry_their_codes():
    codes = np.arange(2 * 64, dtype=np.float32).reshape(2, 64)
    coded = with_codes(STARTER[:2], codes, "an encoder")
    assert coded.names == STARTER.names[:2] and coded.encoder == coded[1:].encoder == "an encoder"
    np.testing.assert_array_equal(np.stack([obj.code for obj in coded]), codes)
    with pytest.raises(ValueError, match="1 codes for 2 objects"):
        with_codes(STARTER[:2], codes[:1], "an encoder")
    with pytest.raises(ValueError, match="finite"):
        CodeFile("id", ("a",), ("s",), np.full((1, 64), np.nan))


# The configuration and the commands


def test_any_source_takes_its_codes_from_an_encoder(tmp_path):
    encoder = tiny_encoder()
    write_encoder(tmp_path / "e.pth", encoder)
    assert all(obj.code is None for obj in make_objects({"source": "starter", "codes": None}))
    for cfg in ({"source": "starter", "names": ["mug", "box"]}, {"source": "zoo", "names": ["mug-0000", "gem-0000"]}):
        coded = make_objects({**cfg, "codes": str(tmp_path / "e.pth")})
        assert coded.names == cfg["names"]
        np.testing.assert_array_equal(np.stack([obj.code for obj in coded]), encode(coded, encoder).codes)
    with pytest.raises(UserError, match=r"objects\.codes is 5"):
        make_objects({"source": "starter", "codes": 5})


@pytest.mark.slow
def test_the_commands_train_and_encode(tmp_path, capsys):
    few = ["objects=starter", "objects.names=[box,mug]"]
    out, codes = tmp_path / "run", tmp_path / "codes.npz"
    assert tool.main(["train-encoder", f"--out={out}", "--epochs=1", "--points=32", *few]) == 0
    encoder = read_encoder(str(out / "encoder.pth"))
    assert (
        encoder.training["source"]["names"] == ["box", "mug"] and "train-encoder --out" in encoder.training["command"]
    )
    assert tool.main(["encode", f"--encoder={out / 'encoder.pth'}", f"--out={codes}", *few]) == 0
    assert read_codes(codes, encoder.id).names == ("box", "mug")
    capsys.readouterr()
    write_encoder(tmp_path / "other.pth", tiny_encoder())
    assert tool.main(["encode", f"--encoder={tmp_path / 'other.pth'}", f"--out={codes}", *few]) == 2
    assert f"codes.npz holds codes of encoder {encoder.id}" in capsys.readouterr().err
    for arguments, message in (
        ([f"--out={codes}", f"--encoder={codes}"], "codes.npz is no encoder; if it holds shape codes"),
        ([f"--out={tmp_path / 'none' / 'codes.npz'}"], "there is no folder"),
        ([f"--out={tmp_path}"], "it is a folder"),
    ):
        assert tool.main(["encode", *arguments, *few]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, culprit",
    [
        (["objects=zooo"], "zooo"),
        (["objects=zoo", "objects.splitt=all"], "objects.splitt"),
        (["zoo"], "'zoo'"),
        (["objects=zoo", "objects.names=[a"], "objects.names=[a"),
        (["--device=cuda:99"], "cuda:99"),
        (["--points=5000"], "points is 5000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments_are_one_sentence(arguments, culprit, tmp_path, capsys):
    few = [] if any(a.startswith("objects") for a in arguments) else ["objects=starter"]
    assert tool.main(["train-encoder", f"--out={tmp_path / 'run'}", *arguments, *few]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and culprit in error
    assert not (tmp_path / "run").exists()


# The shipped encoder


def test_the_shipped_encoder_beats_the_mean_shape_on_shapes_it_has_not_seen():
    encoder = read_encoder("shipped")
    assert encoder.training["source"]["split"] == "train" and encoder.training["settings"]["seed"] == 0
    unseen = make_objects({"source": "zoo", "split": "unseen_object", "count": 20})
    truth = torch.from_numpy(np.stack([surface_points(obj, 1024, seed=9) for obj in unseen]))
    coded = encoder.reconstruct(torch.from_numpy(encode(unseen, encoder).codes))
    mean = encoder.reconstruct(torch.zeros(20, 64))
    errors, baseline = chamfer(coded, truth), chamfer(mean, truth)
    assert float(errors.mean()) < 0.0045 and float(errors.mean()) < 0.4 * float(baseline.mean())
    assert (errors < baseline).all()
    extents = np.ptp(coded.numpy(), axis=1) / np.ptp(truth.numpy(), axis=1)
    assert np.median(np.abs(extents - 1)) < 0.15, "size is in the code"


def test_the_shipped_encoder_is_of_a_modest_size_and_its_codes_of_unit_scale():
    from resdex_tasks.shapes.encoder import SHIPPED_ENCODER

    assert SHIPPED_ENCODER.stat().st_size < 2**21
    objects = make_objects({"source": "zoo", "count": 44, "codes": "shipped"})
    codes = np.stack([obj.code for obj in objects])
    assert 0.5 < codes.std() < 1.5 and np.abs(codes).max() < 10
    assert LENGTH_UNIT == 0.1


def test_a_policy_that_sees_everything_sees_the_codes():
    pytest.importorskip("mujoco.batch")
    from resdex_tasks.factory import make_task
    from resdex_tasks.observations import BLOCKS
    from runners.config import load_config

    chosen = ["objects.names=[box,mug]", "objects.codes=shipped", "task.env.observation=full"]
    config = load_config(["sim=mujoco", "sim.numThreads=1", *chosen])
    objects = make_objects(config.objects)
    task = make_task(config.task.env, config.sim_name, config.sim, objects, 4, seed=0)
    seen = task.reset()["full"][:, BLOCKS["object_code"].slice]
    codes = torch.from_numpy(np.stack([obj.code for obj in objects]))
    torch.testing.assert_close(seen, codes.clamp(-5, 5).repeat(2, 1))
    assert not torch.allclose(codes[0], codes[1], atol=0.1)
