"""The page on a folder of meshes."""

import html.parser

import pytest
import trimesh

from runners.objects import __main__ as tool
from runners.objects.page import Page

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'name'.obj".replace("/", "_")


class Reader(html.parser.HTMLParser):
    """Collects the tags, the addresses and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.addresses, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


def read(path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "meshes"
    root.mkdir()
    box = trimesh.creation.box((3, 2, 1))
    box.export(str(root / "box.stl"))
    trimesh.Trimesh(box.vertices, box.faces[1:], process=False).export(str(root / HOSTILE), file_type="obj")
    (root / "page.obj").write_text("<html>&amp;</html>")
    (root / "part.fbx").write_text("")
    return root


def report(capsys, folder, out, *more):
    status = tool.main(["report", "objects=meshes", f"objects.root={folder}", "--out", str(out), *more])
    printed, err = capsys.readouterr()
    return status, printed, err


def test_the_page_names_every_file_with_what_happened_to_it_and_needs_no_network(capsys, folder, tmp_path):
    pytest.importorskip("mujoco", minversion="3.17")
    out = tmp_path / "page.html"
    status, printed, err = report(capsys, folder, out, "--episodes", "0", "--wanted", "0")
    assert status == 0, err
    assert "2 objects, 1 files left out" in printed and f"{HOSTILE}: repaired: 1 hole" in printed
    page = read(out)
    text = " ".join(page.words)
    assert "script" not in page.tags and HOSTILE in text and "box.stl" in text
    assert "1 hole in the surface was closed" in text and "as it is in the file" in text
    assert "page.obj" in text and "is a web page, not a mesh" in text and "1 .fbx" in text
    assert "10.0 x 6.7 x 3.3 cm" in text and "111 g" in text
    assert page.tags.count("img") == 6, "three poses each"
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.slow
def test_the_page_tells_of_grasps_and_of_success_and_goes_on_where_it_stopped(capsys, folder, tmp_path, monkeypatch):
    pytest.importorskip("mujoco.batch")
    out = tmp_path / "page.html"
    settings = ("--episodes", "2", "--wanted", "1", "sim.numThreads=1")
    status, _, err = report(capsys, folder, out, *settings)
    assert status == 0, err
    text = " ".join(read(out).words)
    assert "1 found" in text and "of 2 at the end" in text and "hyper_stage2" in text
    assert read(out).tags.count("img") == 8, "and the hand in the first grasp of each"
    first = out.read_bytes()

    def played_again(*_):
        raise AssertionError("what is known is not played again")

    monkeypatch.setattr("runners.objects.report.evaluate", played_again)
    assert report(capsys, folder, out, *settings)[0] == 0
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    "argv, culprit",
    [
        (["report", "objects=starter"], "objects=meshes"),
        (["report", "objects=meshes"], "objects.root"),
        (["report", "objects=meshes", "objects.root=.", "--episodes", "-1"], "--episodes"),
        (["report", "objects=meshes", "objects.root=.", "--out", "no/such/folder.html"], "no/such"),
        (["report", "objects=meshes", "objects.root=.", "--policies", "nobody"], "nobody"),
    ],
)
def test_bad_input_gives_one_sentence_before_anything_is_imported(capsys, tmp_path, monkeypatch, argv, culprit):
    monkeypatch.chdir(tmp_path)
    status = tool.main(argv)
    err = capsys.readouterr().err
    assert status == 2 and culprit in err and err.startswith("error: ") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_page_without_objects_is_a_page():
    text = Page("nothing", (), (), "").html()
    assert "0 objects came in" in text
