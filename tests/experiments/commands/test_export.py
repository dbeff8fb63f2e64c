"""``neurofa export``, ``verify``, ``inspect``, ``import`` and ``bringup``: the whole loop from the command line."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch

from experiments.charts.export import _matrix_panel
from experiments.cli import run_command as run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    words = ["train", "--network", "mlp(hidden=[24, 16])", "--epochs", "2", "--no-control", "-q", "--out", str(out)]
    assert run(words) == 0
    return out


def printed(capsys, *words, code=0):
    capsys.readouterr()
    assert run([*map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def accuracy(capsys, folder):
    return printed(capsys, "evaluate", folder)["accuracy"]


@pytest.mark.long
def test_the_loop_closes(trained, tmp_path, capsys):
    file, measured = tmp_path / "n.h5", tmp_path / "m.h5"
    assert run(["export", str(trained), "--tile", "16x16", "--bits", "6", "-o", str(file)]) == 0
    checks = printed(capsys, "verify", file, "--against", trained)
    assert checks["ok"]
    assert set(checks) == {"file", "ok", "checks"}
    assert all(set(c) == {"name", "ok", "detail"} for c in checks["checks"])
    assert printed(capsys, "bringup", file, "--device", "reram_wan", "-o", measured)["device"] == "reram_wan"
    said = printed(capsys, "verify", measured, code=2)
    assert not said["ok"]
    assert "out of tolerance, the worst: " in next(c["detail"] for c in said["checks"] if c["name"] == "tolerance")
    copy = tmp_path / "copy"
    fitted = printed(capsys, "import", measured, "--into", trained, "-o", copy)["matrices"]
    assert {f["path"] for f in fitted} == {"feedback/matrix", *(f"layers/dense{i}/weight" for i in (1, 2, 3))}
    assert all(0.98 < f["cosine"] < 0.99999 for f in fitted)
    before, after = accuracy(capsys, trained), accuracy(capsys, copy)
    assert after > 0.5
    assert abs(before - after) < 0.05
    # the exact state comes back over the measured one, in a folder of its own
    held = {path.name: path.read_bytes() for path in copy.glob("*.*")}
    assert run(["import", str(file), "--into", str(copy)]) == 0
    again = tmp_path / "copy-imported"
    assert {path.name: path.read_bytes() for path in copy.glob("*.*")} == held
    assert printed(capsys, "evaluate", again)["loss"] == printed(capsys, "evaluate", trained)["loss"]
    assert printed(capsys, "verify", file, "--against", again)["ok"]
    assert run(["import", str(file), "--into", str(copy)]) == 2  # what is there is not replaced
    assert "which exists" in capsys.readouterr().err


def test_all_formats_at_once(trained, tmp_path, capsys):
    found = printed(capsys, "export", trained, "--format", "all", "--tile", "32x32", "-o", tmp_path / "files")
    names = {f["file"].rpartition("/")[2] for f in found["files"]}
    assert names == {"network.h5", "inference.onnx", "inference_int8.onnx", "feedback.onnx", "learning.onnx", "tiles"}
    for name in sorted(names - {"tiles"}):
        assert printed(capsys, "verify", tmp_path / "files" / name, "--against", trained)["ok"], name
    assert {p.suffix for p in (tmp_path / "files" / "tiles").iterdir()} == {".csv", ".npz"}


@pytest.mark.long
def test_inspect_shows_and_draws(trained, tmp_path, capsys):
    assert run(["export", str(trained), "--tile", "16x16", "-o", str(tmp_path / "n.h5")]) == 0
    found = printed(capsys, "inspect", tmp_path / "n.h5", "--picture", tmp_path / "n.png")
    assert [layer["kind"] for layer in found["layers"]] == ["flatten", "dense", "dense", "dense"]
    assert (tmp_path / "n.png").read_bytes()[:4] == b"\x89PNG"
    assert run(["export", str(trained), "--format", "onnx", "--part", "learning", "-o", str(tmp_path / "l.onnx")]) == 0
    shown = printed(capsys, "inspect", tmp_path / "l.onnx")
    assert {"input", "target", "lr", "dense1.weight"} <= {put["name"] for put in shown["inputs"]}
    assert run(["inspect", str(tmp_path / "n.h5")]) == 0
    assert "feedback matrix" in " ".join(capsys.readouterr().out.split())


def test_a_profile_chooses_bits_and_is_recorded(trained, tmp_path, capsys):
    assert run(["export", str(trained), "--profile", "reckon", "-o", str(tmp_path / "n.h5")]) == 0
    assert "limit broken" in capsys.readouterr().err
    with h5py.File(tmp_path / "n.h5") as file:
        assert file["layers/dense1/weight_quantized"].attrs["bits"] == 8
        assert file["provenance"].attrs["profile"] == "reckon"
        assert "verdict" in file["provenance"].attrs["profile_findings"]


def test_a_file_of_a_lab_without_a_format_is_imported(trained, tmp_path, capsys):
    assert run(["export", str(trained), "-o", str(tmp_path / "n.h5")]) == 0
    with h5py.File(tmp_path / "n.h5") as file:
        b = file["feedback/matrix"][()]
    with h5py.File(tmp_path / "lab.h5", "w") as file:
        file["feedback/matrix"] = (0.5 * b + 0.001 * np.random.default_rng(0).normal(size=b.shape)).astype(np.float32)
    (fitted,) = printed(capsys, "import", tmp_path / "lab.h5", "--into", trained, "-o", tmp_path / "copy")["matrices"]
    assert fitted["scale"] == pytest.approx(0.5, abs=0.01)
    assert fitted["cosine"] > 0.999


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "RUN", "--format", "pdf"], "format 'pdf'"),
        (["export", "RUN", "--tile", "16"], "such as 256x256"),
        (["export", "RUN", "--bits", "1"], "2 to 16 bits"),
        (["export", "RUN", "--format", "tables"], "add --tile"),
        (["export", "RUN", "--format", "nir", "--part", "forward", "-o", "TMP/x.nir"], "for NIR"),
        (["export", "RUN", "--format", "nir", "--part", "learning"], "expected forward or feedback"),
        (["export", "nowhere"], "without run.json"),
        (["verify", "nowhere.h5", "--against", "nowhere"], "without run.json"),
        (["import", "nowhere.h5", "--into", "RUN"], "no file"),
        (["bringup", "nowhere.h5", "--device", "pcm"], "no file"),
        (["inspect", "nowhere.onnx"], "no file"),
    ],
)
def test_wrong_words_are_refused_in_one_line(trained, tmp_path, capsys, words, said):
    words = [str(trained) if w == "RUN" else w.replace("TMP", str(tmp_path)) for w in words]
    capsys.readouterr()
    assert run(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_damaged_file_is_exit_code_2(trained, tmp_path, capsys):
    assert run(["export", str(trained), "-o", str(tmp_path / "n.h5")]) == 0
    (tmp_path / "n.h5").write_bytes((tmp_path / "n.h5").read_bytes()[:5000])
    assert not printed(capsys, "verify", tmp_path / "n.h5", code=2)["ok"]


@pytest.mark.slow
def test_a_transformer_comes_back_from_its_whole_numbers(tmp_path, capsys):
    words = ["--data", "digits", "--network", "vit(width=16, depth=1, heads=2)", "--rule", "bp", "--epochs", "10"]
    words += ["--optimizer", "adam(lr=0.003)"]
    assert run(["train", *words, "--no-control", "-q", "--out", str(tmp_path / "run")]) == 0
    lost = {}
    for bits in (8, 2):
        file, copy = tmp_path / f"{bits}.h5", tmp_path / f"copy{bits}"
        assert run(["export", str(tmp_path / "run"), "--bits", str(bits), "-o", str(file)]) == 0
        assert printed(capsys, "verify", file, "--against", tmp_path / "run")["ok"]
        said = printed(capsys, "import", file, "--into", tmp_path / "run", "--values", "quantized", "-o", copy)
        paths = {f["path"] for f in said["matrices"]}
        assert {"layers/block1/qkv.weight", "layers/block1/mlp.2.weight"} <= paths
        lost[bits] = accuracy(capsys, tmp_path / "run") - accuracy(capsys, copy)
        assert printed(capsys, "verify", file, "--against", copy, code=2)["ok"] is False  # it is no longer the run
    assert accuracy(capsys, tmp_path / "run") > 0.5
    assert abs(lost[8]) < 0.03
    assert lost[2] > 0.1  # two bits do not hold a transformer: the numbers that were read in are those that compute


class Stored:
    """One matrix of a file, as a picture asks for it."""

    def __init__(self, *shape):
        self.matrix = np.zeros(shape, np.float32)

    def __getitem__(self, name):
        return self.matrix

    def rows(self, path, rows):
        return torch.from_numpy(self.matrix[rows])

    def attributes(self, path):
        return {"unit": "1"}


@pytest.mark.parametrize("shape", [(1472, 300), (10, 16, 9, 9), (5, 7)])
def test_a_thinned_matrix_keeps_the_numbers_of_its_rows_and_columns(shape):
    (image,) = _matrix_panel(Stored(*shape), "w").marks
    assert max(len(image.values), len(image.values[0])) <= 400
    rows, columns = shape[0], int(np.prod(shape[1:]))
    assert image.extent == (-0.5, columns - 0.5, rows - 0.5, -0.5)
    assert image.scale == "weight"


def test_siemens_are_printed_with_four_digits(trained, tmp_path, capsys):
    assert run(["export", str(trained), "--tile", "16x16", "-o", str(tmp_path / "n.h5")]) == 0
    capsys.readouterr()
    assert run(["inspect", str(tmp_path / "n.h5")]) == 0
    text = "".join(capsys.readouterr().out.split())
    assert "2.5e-05" in text
    assert "99999" not in text
    assert "00000000" not in text
