"""Data of one's own: five layouts from the command line, and files that are wrong, each refused in one line."""

from __future__ import annotations

import importlib
import sys
import warnings
import wave
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from experiments.cli import WRONG_INPUT, run_command
from experiments.data import Dataset, Sequences, _files
from experiments.runs.build import load_data
from hwmodels.errors import NeurofaError
from hwmodels.registry import build, shelves

GEN = np.random.default_rng(0)
LABELS = np.arange(20) % 2
SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Relative paths, and the cache, are in a folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_files, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path


def npz(path="d.npz", **arrays):
    np.savez(path, **({"x": GEN.normal(size=(20, 3)), "y": LABELS} | arrays))


def images(root="img", count=5, size=(6, 4), mode="L"):
    for label in "ab":
        home = Path(root) / label
        home.mkdir(parents=True)
        for i in range(count):
            shape = (size[1], size[0], *((3,) if mode == "RGB" else ()))
            Image.fromarray(GEN.integers(0, 255, shape).astype(np.uint8), mode).save(home / f"{i}.png")


def csv(text="a,b,kind\n" + "1,2.5,x\n3,4,y\n" * 10, path="t.csv"):
    Path(path).write_text(text)


def sounds(root="snd", rate=8000, seconds=0.2):
    for label, pitch in (("high", 900), ("low", 250)):
        home = Path(root) / label
        home.mkdir(parents=True)
        for i in range(5):
            tone = 9000 * np.sin(2 * np.pi * (pitch + 20 * i) * np.arange(int(rate * seconds)) / rate)
            with wave.open(str(home / f"{i}.wav"), "wb") as file:
                file.setparams((1, 2, rate, 0, "NONE", ""))
                file.writeframes(tone.astype("<i2").tobytes())


def recordings(path="e.h5", **changed):
    """Twenty recordings of 30 events, a row each, in microseconds."""
    rows = {
        "x": [GEN.integers(0, 5, 30) for _ in LABELS],
        "y": [GEN.integers(0, 4, 30) for _ in LABELS],
        "t": [np.sort(GEN.integers(1, 1_000_000, 30)) for _ in LABELS],
        "p": [GEN.integers(0, 2, 30) for _ in LABELS],
        "label": LABELS,
    } | changed
    with h5py.File(path, "w") as file:
        for key, values in rows.items():
            if values is None:
                continue
            if isinstance(values, list):
                file.create_dataset(key, (len(values),), dtype=h5py.vlen_dtype(np.asarray(values[0]).dtype))
                for i, row in enumerate(values):
                    file[key][i] = row
            else:
                file[key] = values
    return rows


MAKERS = {
    "arrays(path=d.npz)": npz,
    "folder(path=img)": images,
    "table(path=t.csv, target=kind)": csv,
    "events(path=e.h5, unit=us, ticks=10, tick=0.1)": recordings,
    "sounds(path=snd, ticks=20, channels=10)": sounds,
}


@pytest.mark.filterwarnings("ignore:got layers that hardly spike")
@pytest.mark.parametrize("spec", MAKERS)
def test_five_layouts_are_trained_on_from_the_command_line(spec, capsys):
    MAKERS[spec]()
    sequences = spec.startswith(("events", "sounds"))
    network, rule = ("snn(hidden=[4])", "eprop") if sequences else ("mlp(hidden=[4])", "dfa")
    words = ["--data", spec, "--network", network, "--rule", rule, "--epochs", "1", "--no-control", "--quiet"]
    assert run_command(["train", *words, "--out", "run"]) == 0, capsys.readouterr().err
    assert (Path("run") / "result.json").is_file()


@pytest.mark.parametrize("spec", MAKERS)
def test_splits_are_disjoint_and_hold_all_samples_of_every_class(spec):
    MAKERS[spec]()
    data = build("data", spec)
    assert isinstance(data, Dataset | Sequences)
    held = {where: [] for where in SPLITS}
    for where in SPLITS:
        for x, y in data.batches(where, 7):
            dense = x.dense() if isinstance(data, Sequences) else x
            held[where] += [
                (float(row.double().pow(2).sum()), int(label))
                for row, label in zip(dense.transpose(0, 1) if isinstance(data, Sequences) else dense, y, strict=True)
            ]
    count = {"folder": 10, "sounds": 10}.get(spec.split("(")[0], 20)
    assert sum(map(len, held.values())) == count
    assert {label for _, label in held["train"]} == {0, 1}
    again = build("data", spec)
    assert dict(again.provenance) == dict(data.provenance)


# ---------------------------------------------------------------------- what is read


def test_arrays_of_any_file_are_the_same_data():
    npz()
    with np.load("d.npz") as file:
        x, y = file["x"], file["y"]
    Path("npy").mkdir()
    np.save("npy/x.npy", x)
    np.save("npy/y.npy", y.astype(np.uint8))
    with h5py.File("d.h5", "w") as file:
        file["group/inputs"], file["group/labels"] = x.astype(">f8"), y
    first = build("data", "arrays(path=d.npz)")
    assert abs(first.train.x.mean(0)).max() < 1e-6
    assert first.train.x.std(0, correction=0).numpy() == pytest.approx(1, abs=1e-5)
    for spec in ("arrays(path=npy)", "arrays(path=d.h5, x='group/inputs', y='group/labels')"):
        other = build("data", spec)
        assert (other.train.x == first.train.x).all()
        assert (other.test.y == first.test.y).all()


def test_files_that_changed_are_read_again():
    npz()
    first = load_data("arrays(path=d.npz)")
    assert load_data("arrays(path=d.npz)") is first
    npz(x=GEN.normal(size=(20, 4)))
    assert load_data("arrays(path=d.npz)").input_shape == (4,)


def test_splits_in_the_file_are_taken_as_they_are():
    x = GEN.normal(size=(9, 2))
    np.savez("d.npz", x_train=x[:5], y_train=[0, 1, 2, 0, 1], x_val=x[5:7], y_val=[0, 1], x_test=x[7:], y_test=[2, 2])
    data = build("data", "arrays(path=d.npz, standardise=False)")
    assert [len(split) for split in data.splits().values()] == [5, 2, 2]
    assert data.test.x.numpy() == pytest.approx(x[7:].astype(np.float32))
    assert data.classes == 3


def test_numbers_to_predict_are_no_labels():
    npz(y=GEN.normal(size=20))
    data = build("data", "arrays(path=d.npz, regression=True)")
    assert data.regression
    assert data.train.y.shape == (16, 1)


def test_images_may_have_their_colours_last():
    pixels = GEN.integers(0, 255, (20, 6, 5, 3)).astype(np.uint8)
    npz(x=pixels)
    assert build("data", "arrays(path=d.npz, channels=last)").input_shape == (3, 6, 5)
    assert build("data", "arrays(path=d.npz, channels=first)").input_shape == (6, 5, 3)


def test_pixels_of_a_folder_are_those_of_its_images():
    images("img/train", mode="RGB")
    images("img/val", count=1, mode="RGB")
    images("img/test", count=2, mode="RGB")
    data = build("data", "folder(path=img, standardise=False)")
    assert [len(split) for split in data.splits().values()] == [10, 2, 4]
    with Image.open("img/test/b/1.png") as image:
        assert (data.test.x[3].numpy() == np.moveaxis(np.asarray(image), 2, 0)).all()
    assert data.test.y.tolist() == [0, 0, 1, 1]
    assert data.provenance["classes"] == "a, b"


def test_images_of_several_sizes_are_scaled_where_the_user_says_so():
    images()
    Image.new("RGB", (9, 9)).save("img/a/9.png")
    data = build("data", "folder(path=img, size=8, channels=1)")
    assert data.input_shape == (1, 8, 8)
    assert "8 x 8" in data.provenance["size"]


def test_words_of_a_table_are_classes_in_the_order_of_the_alphabet():
    csv("city;size;note\nRome;1;a\nBern;2;b\n" * 1 + "Rome;1;a\nBern;2;b\n" * 9)
    data = build("data", "table(path=t.csv, target=city, drop=[note], separator=';', standardise=False, test=0)")
    assert data.provenance["classes"] == "Bern, Rome"
    assert {(x.item(), int(y)) for x, y in zip(data.train.x, data.train.y, strict=True)} == {(1.0, 1), (2.0, 0)}


def test_events_go_to_their_tick_and_channel_in_every_unit_and_layout():
    rows = recordings()
    first = build("data", "events(path=e.h5, unit=us, ticks=10, tick=0.1, validation=0, test=0)")
    assert first.input_shape == (2, 4, 5)
    xs, _ = first.train.cut(LABELS_INDEX)
    dense = xs.dense().view(10, 20, 2, 4, 5)
    counted = np.zeros((10, 20, 2, 4, 5))
    for i in range(20):
        at = rows["t"][i] // 100_000
        np.add.at(counted, (at, i, rows["p"][i], rows["y"][i], rows["x"][i]), 1)
    assert (dense.numpy() == counted).all()
    flat = {key: np.concatenate(rows[key]) for key in "xyp"}
    starts = np.arange(20) * 30
    seconds = np.concatenate([row + 7_000_000 * i for i, row in enumerate(rows["t"])]) * 1000
    np.savez("flat.npz", **flat | {"p": 2 * flat["p"] - 1}, t=seconds, starts=starts, label=LABELS)
    again = "events(path=flat.npz, unit=ns, starts=starts, rebase=True, ticks=10, tick=0.1, validation=0, test=0)"
    assert build("data", again).input_shape == (2, 4, 5)


LABELS_INDEX = torch.arange(20)


def test_how_many_events_fell_outside_is_said():
    recordings(t=[np.array([1, 2, 3] * 9 + [900_000] * 3) for _ in LABELS])
    with pytest.warns(UserWarning, match=r"60 fell outside: raise ticks or tick"):
        data = build("data", "events(path=e.h5, unit=us, ticks=8, tick=0.1)")
    assert data.provenance["kept"].startswith("540 of 600 events (90.0%)")


def test_sounds_of_any_rate_and_width_are_read():
    sounds()
    tone = 0.5 * np.sin(2 * np.pi * 900 * np.arange(9600) / 48000)
    for name, width in (("8", 1), ("24", 3), ("32", 4)):
        whole = np.round(tone * (2 ** (8 * width - 1) - 1)).astype(np.int64) + (128 if width == 1 else 0)
        raw = whole.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
        with wave.open(f"snd/high/w{name}.wav", "wb") as file:
            file.setparams((1, width, 48000, 0, "NONE", ""))
            file.writeframes(raw.tobytes())
    data = build("data", "sounds(path=snd, ticks=20, channels=10, validation=0, test=0)")
    counts = data.train.cut(LABELS_INDEX[:8])[0].dense().sum((0, 2))
    # one tone, stored in three ways at another rate, is heard alike
    assert counts[5:8].max() - counts[5:8].min() <= 0.1 * counts[5:8].max()


def test_sound_that_is_cut_off_is_said():
    sounds()
    with pytest.warns(UserWarning, match=r"sounds cuts 1 of 2 s off, at the end of 10 of 10 files"):
        build("data", "sounds(path=snd, ticks=10, channels=4)")


# ---------------------------------------------------------------------- what is refused


def truncate(path, keep=0.6):
    blob = Path(path).read_bytes()
    Path(path).write_bytes(blob[: int(keep * len(blob))])


def after(make, *changes):
    def run():
        make()
        for change in changes:
            change()

    return run


def image(path, *arguments):
    return lambda: Image.new(*arguments).save(path)


BROKEN = {
    "no file": (lambda: None, "arrays(path=d.npz)", "does not exist"),
    "no unit of time": (recordings, "events(path=e.h5)", "without 'unit'"),
    "another unit of time": (recordings, "events(path=e.h5, unit=min)", "expected s or ms or us or ns"),
    "the wrong unit of time": (recordings, "events(path=e.h5, unit=s)", "as us 100.0% would fit"),
    "labels from 1": (lambda: npz(y=LABELS + 1), "arrays(path=d.npz)", "subtract 1"),
    "labels with gaps": (lambda: npz(y=LABELS * 3), "arrays(path=d.npz)", "of which 1 is missing"),
    "labels below zero": (lambda: npz(y=-LABELS), "arrays(path=d.npz)", "labels -1 to 0"),
    "one label": (lambda: npz(y=0 * LABELS), "arrays(path=d.npz)", "the single label 0"),
    "labels that are floats": (lambda: npz(y=LABELS / 1), "arrays(path=d.npz)", "expected whole-number labels"),
    "one-hot labels": (lambda: npz(y=np.eye(2, dtype=int)[LABELS]), "arrays(path=d.npz)", r"argmax\(1\)"),
    "fewer labels": (lambda: npz(y=LABELS[:9]), "arrays(path=d.npz)", "20 inputs with 9 targets"),
    "NaN": (lambda: npz(x=np.where(np.eye(20, 3) > 0, np.nan, 1)), "arrays(path=d.npz)", r"got nan at \(0, 0\)"),
    "missing key": (npz, "arrays(path=d.npz, y=labels)", "expected 'labels'"),
    "no inputs": (lambda: np.savez("d.npz", a=LABELS), "arrays(path=d.npz)", "expected x and y, or x_train"),
    "words": (lambda: npz(x=np.array([["a"]] * 20)), "arrays(path=d.npz)", "of type <U1"),
    "complex numbers": (lambda: npz(x=np.ones((20, 2)) * 1j), "arrays(path=d.npz)", "of type complex128"),
    "pickled objects": (lambda: npz(x=np.array([{}] * 20)), "arrays(path=d.npz)", "cannot be read"),
    "truncated npz": (after(npz, lambda: truncate("d.npz")), "arrays(path=d.npz)", "expected a whole .npz"),
    "a png named npz": (image("d.npz.png", "L", (4, 4)), "arrays(path=d.npz.png)", "ends in '.png'"),
    "channels last": (lambda: npz(x=np.ones((20, 8, 8, 3))), "arrays(path=d.npz)", "look like channels last"),
    "truncated h5": (after(recordings, lambda: truncate("e.h5")), "events(path=e.h5, unit=us)", "whole HDF5 file"),
    "missing column": (lambda: recordings(p=None), "events(path=e.h5, unit=us)", "expected 'p'"),
    "an event outside": (recordings, "events(path=e.h5, unit=us, sensor=[4, 4])", "expected 0 to 3"),
    "unequal columns": (
        lambda: recordings(x=[np.arange(29) % 5 for _ in LABELS]),
        "events(path=e.h5, unit=us)",
        "29 values in column 'x' and 30 times",
    ),
    "polarity of 2": (
        lambda: recordings(p=[np.full(30, 2) for _ in LABELS]),
        "events(path=e.h5, unit=us)",
        "polarities from 2",
    ),
    "no starts": (
        lambda: recordings(x=np.arange(600) % 5),
        "events(path=e.h5, unit=us)",
        "name the column of the first event",
    ),
    "empty class folder": (
        after(images, Path("img/c").mkdir),
        "folder(path=img)",
        "empty class folder 'img/c'",
    ),
    "no class folder": (lambda: Path("img").mkdir(), "folder(path=img)", "got 0 class folders"),
    "mixed sizes": (after(images, image("img/b/9.png", "L", (5, 5))), "folder(path=img)", r"say size=\[4, 6\]"),
    "grey and colours": (after(images, image("img/b/9.png", "RGB", (6, 4))), "folder(path=img)", "say channels=1"),
    "transparency": (after(images, image("img/b/9.png", "RGBA", (6, 4))), "folder(path=img)", "of kind RGBA"),
    "16 bits": (after(images, image("img/b/9.png", "I;16", (6, 4))), "folder(path=img)", "more than 8 bits"),
    "truncated png": (after(images, lambda: truncate("img/a/0.png")), "folder(path=img)", "whole image"),
    "a text among images": (
        after(images, lambda: Path("img/a/notes.txt").write_text("x")),
        "folder(path=img)",
        "remove it",
    ),
    "a class of the test alone": (
        after(lambda: images("img/train"), lambda: images("img/test"), lambda: Path("img/test/b").rename("img/test/c")),
        "folder(path=img)",
        "class 'c'",
    ),
    "no such column": (csv, "table(path=t.csv, target=price)", "expected 'price'"),
    "an empty cell": (lambda: csv("a,b,kind\n1,,x\n3,4,y\n"), "table(path=t.csv, target=kind)", "column 'b', line 2"),
    "a word among numbers": (
        lambda: csv("a,kind\n1,x\nmany,y\n"),
        "table(path=t.csv, target=kind)",
        "got 'many' in column 'a', line 3",
    ),
    "a short row": (lambda: csv("a,b,kind\n1,2,x\n3,y\n"), "table(path=t.csv, target=kind)", "2 values in line 3"),
    "no heading": (lambda: csv("1,2,0\n3,4,1\n"), "table(path=t.csv, target='0')", "names of the columns"),
    "an open quote": (lambda: csv('a,kind\n1,"x\n'), "table(path=t.csv, target=kind)", "a table in UTF-8"),
    "another encoding": (
        lambda: Path("t.csv").write_bytes("größe,kind\n1,x\n".encode("utf-16")),
        "table(path=t.csv, target=kind)",
        "a table in UTF-8",
    ),
    "classes that are fractions": (lambda: csv("a,b\n1,0.5\n2,1\n"), "table(path=t.csv, target=b)", "line 2"),
    "truncated wav": (
        after(sounds, lambda: truncate("snd/low/0.wav")),
        "sounds(path=snd, ticks=20)",
        r"3200 bytes|whole wave",
    ),
    "a wav that is none": (
        after(sounds, lambda: Path("snd/low/0.wav").write_bytes(b"RIFF")),
        "sounds(path=snd, ticks=20)",
        "whole wave file",
    ),
    "another file named wav": (
        after(sounds, lambda: Path("snd/low/0.wav").write_bytes(b"OggS" + bytes(60))),
        "sounds(path=snd, ticks=20)",
        "whole wave file",
    ),
    "a slow wav": (lambda: sounds(rate=4000), "sounds(path=snd, ticks=20)", "expected 1 channel, 8000 or more"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_wrong_file_is_one_line_and_exit_code_2(case, capsys):
    make, spec, said = BROKEN[case]
    make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run_command(["train", "--data", spec, "--epochs", "1", "--out", "run"]) == WRONG_INPUT
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith("neurofa: got ")
    assert "; expected " in line
    assert not Path("run").exists()
    with pytest.raises(NeurofaError, match=said):
        build("data", spec)


def test_there_are_cases_of_every_layout():
    assert len(BROKEN) >= 20
    assert {spec.split("(")[0] for _, spec, _ in BROKEN.values()} == {spec.split("(")[0] for spec in MAKERS}


# ---------------------------------------------------------------------- data of another package

PACKAGE = '''
"""Two clouds of points."""

import torch

from experiments.data import Dataset, Split
from hwmodels import recipe


@recipe("data", "clouds", source="our laboratory")
def clouds(*, samples: int = 40, distance: float = 4.0) -> Dataset:
    """Two clouds of points in the plane."""
    gen = torch.Generator().manual_seed(0)

    def split(n):
        y = torch.arange(n) % 2
        return Split(torch.randn(n, 2, generator=gen) + distance * y[:, None], y)

    splits = split(samples), split(samples), split(samples)
    return Dataset.of("clouds", splits, classes=2, provenance={"seed": "0"})
'''


def test_a_data_set_of_another_package_registers_as_any_part_does(tmp_path, monkeypatch, capsys):
    (tmp_path / "our_clouds.py").write_text(PACKAGE)
    info = tmp_path / "our_clouds-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-clouds\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[neurofa.data]\nclouds = our_clouds\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    monkeypatch.setattr(shelves, "_LOADED", shelves._LOADED - {"data"})
    monkeypatch.setattr(shelves, "_PARTS", {kind: dict(known) for kind, known in shelves._PARTS.items()})
    words = ["--data", "clouds(samples=30)", "--network", "mlp(hidden=[4])", "--epochs", "1", "--no-control", "-q"]
    try:
        assert run_command(["train", *words, "--out", "run"]) == 0, capsys.readouterr().err
        with pytest.raises(NeurofaError, match="expected samples, distance"):
            build("data", "clouds(size=3)")
    finally:
        sys.modules.pop("our_clouds", None)
