"""Event files, good and bad: each published format is written small and read back."""

from __future__ import annotations

import hashlib
import importlib
import io
import sys
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.data import Split, _archives, _files, _spike_hdf5
from experiments.data._archives import Archive
from experiments.data._event_camera import read_words
from experiments.data._held_out import held_groups
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.events import Events

# the package offers the data sets under the names of their modules
dvs_gesture, nmnist, nmnist_small, shd, ssc = (
    importlib.import_module(f"experiments.data.{name}")
    for name in ("dvs_gesture", "nmnist", "nmnist_small", "shd", "ssc")
)


def one_line(error: pytest.ExceptionInfo[NeurofaError]) -> bool:
    text = str(error.value)
    return text.startswith("got ") and "; expected " in text and "\n" not in text


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An own data folder and an own cache folder."""
    named, cache = tmp_path / "named", tmp_path / "cache"
    named.mkdir()
    monkeypatch.setenv("NEUROFA_DATA", str(named))
    monkeypatch.setattr(_files, "cache_folder", lambda: cache)
    return named, cache


def whole(data, where: str) -> torch.Tensor:
    split = getattr(data, where)
    return split.cut(torch.arange(len(split)))[0].dense()


# ---------------------------------------------------------------------- HDF5 of the Heidelberg data sets


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="h5py is not installed: no HDF5 files")


def spoken(n: int, classes: int, seed: int):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(20, 80, n)
    times = [np.sort(draw.uniform(0, 1.2, k)).astype(np.float16) for k in sizes]
    units = [draw.integers(0, 700, k).astype(np.uint16) for k in sizes]
    return times, units, np.arange(n) % classes, np.arange(n) % 4


def write_spikes(h5py, path, times, units, labels, speakers):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, rows, kind in (("times", times, np.float16), ("units", units, np.uint16)):
            ragged = file.create_dataset(f"spikes/{key}", (len(rows),), dtype=h5py.vlen_dtype(kind))
            for i, row in enumerate(rows):
                ragged[i] = row
        file["labels"] = labels.astype(np.uint16)
        file["extra/speaker"] = speakers.astype(np.uint16)
        file["extra/keys"] = [b"zero", b"one"]


@pytest.fixture
def small_shd(h5py, folders):
    train, test = spoken(24, 20, 0), spoken(10, 20, 1)
    for name, rows in (("shd_train.h5", train), ("shd_test.h5", test)):
        write_spikes(h5py, folders[0] / "SHD" / name, *rows)
    return folders[0] / "SHD", train, test


def test_shd_is_read_from_its_published_layout(small_shd):
    folder, _, test = small_shd
    data = build("data", "shd")
    assert (data.input_shape, data.classes, data.ticks, data.tick) == ((700,), 20, 100, 0.01)
    wanted = Events.from_times(
        [torch.from_numpy(row.astype(np.float64)) for row in test[0]],
        [torch.from_numpy(row.astype(np.int64)) for row in test[1]],
        ticks=100,
        tick=0.01,
        channels=700,
    )
    assert torch.equal(whole(data, "test"), wanted.dense())
    assert data.test.y.tolist() == test[2].tolist()
    digest = hashlib.sha256((folder / "shd_train.h5").read_bytes()).hexdigest()
    assert data.provenance["shd_train.h5"] == f"sha256:{digest}"


def test_shd_holds_out_whole_speakers(small_shd):
    _, train, _ = small_shd
    data = build("data", "shd(validation=0.3)")
    held = [int(who) for who in data.provenance["validation_speakers"].split(", ")]
    assert len(held) == 2  # one speaker has 6 of 24 recordings, less than 0.3
    kept = [i for i in range(24) if train[3][i] not in held]
    assert data.train.y.tolist() == train[2][kept].tolist()
    assert len(data.train) + len(data.validation) == 24
    assert len(build("data", "shd(validation=0)").validation) == 0
    with pytest.raises(NeurofaError, match=r"got shd\(validation=1\) with 4 speakers"):
        build("data", "shd(validation=1)")


def test_channels_are_pooled_by_neighbours(small_shd):
    fine, coarse = build("data", "shd"), build("data", "shd(channels=70)")
    assert torch.equal(whole(coarse, "test"), whole(fine, "test").unflatten(2, (70, 10)).sum(3))
    binary = build("data", "shd(channels=70, binary=True)")
    assert whole(coarse, "train").max() > 1
    assert torch.equal(whole(binary, "train"), whole(coarse, "train").clamp_max(1))
    with pytest.raises(NeurofaError, match=r"got shd\(channels=300\); expected a divisor of 700"):
        build("data", "shd(channels=300)")
    with pytest.raises(NeurofaError, match=r"got shd\(ticks=0, tick=0.01\)"):
        build("data", "shd(ticks=0)")


def test_ssc_has_three_files(h5py, folders):
    for name, n in (("train", 12), ("valid", 7), ("test", 5)):
        write_spikes(h5py, folders[0] / "SSC" / f"ssc_{name}.h5", *spoken(n, 35, n))
    data = build("data", "ssc(ticks=50, tick=0.02)")
    assert [len(split) for split in data.splits().values()] == [12, 7, 5]
    assert data.classes == 35
    files = {f"ssc_{which}.h5" for which in ("train", "valid", "test")}
    assert set(data.provenance) == files | {f"{file}, kept" for file in files}
    assert all("% within" in data.provenance[f"{file}, kept"].replace(") ", " ") for file in files)


def test_a_truncated_hdf5_file_is_one_line(small_shd):
    path = small_shd[0] / "shd_test.h5"
    blob = path.read_bytes()
    for size in (0, 100, len(blob) // 2, len(blob) - 1):
        path.write_bytes(blob[:size])
        with pytest.raises(NeurofaError, match=r"shd_test\.h5.*expected a whole HDF5 file") as error:
            build("data", "shd")
        assert one_line(error)


@pytest.mark.parametrize("lost", ["spikes/times", "spikes", "labels", "extra/speaker"])
def test_another_layout_is_one_line(h5py, small_shd, lost):
    with h5py.File(small_shd[0] / "shd_train.h5", "a") as file:
        del file[lost]
    with pytest.raises(NeurofaError, match=r"shd_train\.h5 without spikes/times") as error:
        build("data", "shd")
    assert one_line(error)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t, u, y, s: u[2].__setitem__(0, 700), r"channels from \d+ to 700 in .*recording 2"),
        (lambda t, u, y, s: t[3].__setitem__(0, -1), "negative or non-finite time in .*recording 3"),
        (lambda t, u, y, s: t[3].__setitem__(0, np.inf), "negative or non-finite time in .*recording 3"),
        (lambda t, u, y, s: t.__setitem__(1, t[1][:-1]), "one channel a time"),
        (lambda t, u, y, s: y.__setitem__(5, 20), "labels from 0 to 20"),
        (lambda t, u, y, s: t.pop(), r"23 spikes/times, 24 spikes/units"),
    ],
)
def test_impossible_recordings_are_one_line(h5py, small_shd, change, what):
    folder, train, _ = small_shd
    rows = [list(train[0]), list(train[1]), train[2].copy(), train[3]]
    change(*rows)
    write_spikes(h5py, folder / "shd_train.h5", *rows)
    with pytest.raises(NeurofaError, match=what) as error:
        build("data", "shd")
    assert one_line(error)


@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("labels", np.arange(24)[:, None] % 20, r"labels of int64 and shape \(24, 1\)"),
        ("labels", np.array([b"3"] * 24), "labels of object|labels of .S1"),
        ("labels", np.full(24, np.nan), "no whole numbers"),
        ("labels", np.full(24, 1.5), "no whole numbers"),
        ("labels", np.arange(24) * 1j, "labels of complex128"),
        ("labels", np.int64(3), "without spikes/times"),
        ("extra/speaker", np.full(24, np.nan), "speakers that are no whole numbers"),
        ("spikes/times", np.zeros((24, 3), np.complex64), "times of complex64"),
        ("spikes/units", np.full((24, 3), np.nan), "channels that are no whole numbers"),
    ],
)
def test_columns_of_other_types_are_one_line(h5py, small_shd, name, values, what):
    with h5py.File(small_shd[0] / "shd_train.h5", "a") as file:
        del file[name]
        file[name] = values
    with pytest.raises(NeurofaError, match=what) as error:
        build("data", "shd")
    assert one_line(error)


@pytest.mark.parametrize("kind", [">i4", ">f8", "<u8"])
def test_labels_of_any_number_type_are_read(h5py, small_shd, kind):
    wanted = build("data", "shd").train.labels
    with h5py.File(small_shd[0] / "shd_train.h5", "a") as file:
        labels = file["labels"][()]
        del file["labels"]
        file["labels"] = labels.astype(kind)
    assert torch.equal(build("data", "shd").train.labels, wanted)


def test_labels_in_a_column_of_their_own_are_refused():
    with pytest.raises(NeurofaError, match=r"labels of shape \(4, 1\)"):
        Split(torch.zeros(4, 2), torch.zeros(4, 1, dtype=torch.int64))


def test_without_h5py_the_line_says_how_to_install_it(folders, monkeypatch):
    (folders[0] / "SHD").mkdir()
    (folders[0] / "SHD" / "shd_train.h5").write_bytes(b"any")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(NeurofaError, match=r"got no h5py .*pip install 'neurofa\[datasets\]'") as error:
        build("data", "shd")
    assert one_line(error)


def test_a_published_zip_is_known_by_its_checksum_and_unpacked_once(h5py, folders, monkeypatch):
    named, cache = folders
    (named / "SHD").mkdir()
    for where, part, n in (("TRAIN", "train", 24), ("TEST", "test", 10)):
        write_spikes(h5py, named / f"shd_{part}.h5", *spoken(n, 20, n))
        path = named / "SHD" / f"shd_{part}.h5.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(named / f"shd_{part}.h5", f"shd_{part}.h5")
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setattr(shd, where, replace(getattr(shd, where), md5=md5))
    data = build("data", "shd")
    assert sorted(path.name for path in (cache / "SHD").iterdir()) == ["shd_test.h5", "shd_train.h5"]
    assert (cache / "SHD" / "shd_test.h5").read_bytes() == (named / "shd_test.h5").read_bytes()
    assert (named / "SHD" / "shd_test.h5.zip").exists()
    monkeypatch.setattr(_archives, "unpack_member", None)  # a second reading unpacks nothing
    assert torch.equal(whole(build("data", "shd"), "train"), whole(data, "train"))


# ---------------------------------------------------------------------- archives


def archive_of(path, members: dict[str, bytes]):
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as out:
            for name, blob in members.items():
                out.writestr(name, blob)
    else:
        with tarfile.open(path, "w:gz") as out:
            for name, blob in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(blob)
                out.addfile(entry, io.BytesIO(blob))
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_only_the_member_is_unpacked(tmp_path, name):
    path = archive_of(
        tmp_path / name,
        {"Train/1/a.bin": b"one", "Train/2/b.bin": b"two", "Other/c.bin": b"no", "Train/../../evil": b"no"},
    )
    target = tmp_path / "target"
    target.mkdir()
    _archives.unpack_member(path, "Train", target)
    files = {file.relative_to(target).as_posix(): file.read_bytes() for file in target.rglob("*") if file.is_file()}
    assert files == {"Train/1/a.bin": b"one", "Train/2/b.bin": b"two"}
    assert not (tmp_path / "evil").exists()
    with pytest.raises(NeurofaError, match="without 'Test'") as error:
        _archives.unpack_member(path, "Test", target)
    assert one_line(error)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_broken_archive_leaves_nothing(tmp_path, name):
    path = archive_of(tmp_path / name, {"Train/a.bin": np.random.default_rng(0).bytes(5000)})
    path.write_bytes(path.read_bytes()[:3000])
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(NeurofaError, match="expected a whole archive") as error:
        _archives.unpack_member(path, "Train", target)
    assert one_line(error)
    assert list(target.iterdir()) == []


def test_another_archive_is_refused_by_its_checksum(folders):
    (folders[0] / "SHD").mkdir()
    archive_of(folders[0] / "SHD" / "shd_train.h5.zip", {"shd_train.h5": b"other"})
    with pytest.raises(NeurofaError, match=r"got md5 \w+ for .*expected f3252aeb598ac776c1b526422d90eecb") as error:
        build("data", "shd")
    assert one_line(error)


def test_what_cannot_be_downloaded_is_one_line(folders):
    nowhere = Archive(name="x.zip", member="x", md5="0" * 32, addresses=("http://127.0.0.1:9/x.zip",))
    with pytest.raises(NeurofaError, match=r"got no x\.zip .*check the network") as error:
        _archives.unpacked("X", nowhere)
    assert one_line(error)


def test_groups_are_held_out_whole():
    groups = torch.tensor([5, 5, 5, 7, 7, 9, 9, 9, 9, 11])
    kept, held, who = held_groups("test", groups, 0.2)
    assert set(groups[held].tolist()) == set(who)
    assert not set(groups[kept].tolist()) & set(who)
    assert sorted(torch.cat([kept, held]).tolist()) == list(range(10))
    assert len(held) >= 2


# ---------------------------------------------------------------------- N-MNIST


def words(x, y, p, micros) -> bytes:
    value = x.astype(np.uint64) << 32 | y.astype(np.uint64) << 24 | p.astype(np.uint64) << 23 | micros.astype(np.uint64)
    return b"".join(int(each).to_bytes(5, "big") for each in value)


def camera_events(n: int, side: int, seed: int, end: int = 300_000):
    draw = np.random.default_rng(seed)
    return (
        draw.integers(0, side, n),
        draw.integers(0, side, n),
        draw.integers(0, 2, n),
        np.sort(draw.integers(0, end, n)),
    )


@pytest.fixture
def small_nmnist(folders, monkeypatch):
    """Twenty + ten recordings in the published folders."""
    base = folders[0] / "NMNIST"
    events = {}
    for where, n in (("Train", 20), ("Test", 10)):
        for i in range(n):
            path = base / where / str(i % 10) / f"{i + 1:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            events[where, i] = camera_events(50, 34, i)
            path.write_bytes(words(*events[where, i]))
    monkeypatch.setattr(nmnist, "TRAIN", replace(nmnist.TRAIN, recordings=20))
    monkeypatch.setattr(nmnist, "TEST", replace(nmnist.TEST, recordings=10))
    return base, events


def test_nmnist_is_read_from_its_published_folders(small_nmnist):
    _, events = small_nmnist
    (small_nmnist[0] / "Train" / "0" / "._00001.bin").write_bytes(b"\x00\x05\x16\x07")  # what macOS leaves
    data = build("data", "nmnist(validation=5)")
    assert [len(split) for split in data.splits().values()] == [15, 5, 10]
    assert data.input_shape == (2, 34, 34)
    assert data.test.y.tolist() == list(range(10))
    wanted = torch.zeros(60, 10, 2, 34, 34)
    for i in range(10):
        for x, y, p, t in zip(*events["Test", i], strict=True):
            wanted[t // 5000, i, p, y, x] += 1
    assert torch.equal(whole(data, "test").view(wanted.shape), wanted)
    pooled = build("data", "nmnist(validation=5, pool=2)")
    wanted = wanted.unflatten(4, (17, 2)).unflatten(3, (17, 2)).sum((4, 6))
    assert torch.equal(whole(pooled, "test").view(60, 10, 2, 17, 17), wanted)
    assert len(build("data", "nmnist(validation=5, subset=4)").train) == 4


def test_the_clock_of_40_bit_events_runs_over(tmp_path):
    x, y = np.array([1, 0, 2]), np.array([3, 240, 4])
    (tmp_path / "a.bin").write_bytes(words(x, y, np.array([0, 0, 1]), np.array([100, 0, 50])))
    found = read_words(tmp_path / "a.bin")
    assert [each.tolist() for each in found] == [[1, 2], [3, 4], [0, 1], pytest.approx([100e-6, (8192 + 50) * 1e-6])]


def test_the_longest_time_of_40_bit_events_fits(tmp_path):
    (tmp_path / "a.bin").write_bytes(words(*(np.array([v]) for v in (33, 33, 1, 2**23 - 1))))
    assert [each.tolist() for each in read_words(tmp_path / "a.bin")] == [[33], [33], [1], [(2**23 - 1) * 1e-6]]


@pytest.mark.parametrize(
    ("blob", "what"),
    [
        (b"\0" * 12, "12 bytes; expected a multiple of 5"),
        (b"", "0 bytes; expected a multiple of 5"),
        (words(*(np.array([v]) for v in (34, 0, 0, 0))), "columns from 34 to 34"),
        (words(*(np.array([v]) for v in (0, 35, 0, 0))), "rows from 35 to 35"),
    ],
)
def test_broken_recordings_of_nmnist_are_one_line(small_nmnist, blob, what):
    (small_nmnist[0] / "Train" / "3" / "00004.bin").write_bytes(blob)
    with pytest.raises(NeurofaError, match=rf"{what}|{what}.*") as error:
        build("data", "nmnist(validation=5)")
    assert one_line(error)
    assert "00004.bin" in str(error.value)


def test_missing_recordings_of_nmnist_are_counted(small_nmnist):
    (small_nmnist[0] / "Train" / "3" / "00004.bin").unlink()
    with pytest.raises(NeurofaError, match=r"got 19 recordings in .*Train; expected 20") as error:
        build("data", "nmnist(validation=5)")
    assert one_line(error)
    with pytest.raises(NeurofaError, match=r"got nmnist\(pool=3\)"):
        build("data", "nmnist(validation=5, pool=3)")


# ---------------------------------------------------------------------- DVS gestures


@pytest.fixture
def small_gestures(folders, monkeypatch):
    base, events = folders[0] / "DVSGesture", []
    for where, users in (("ibmGestureTrain", 4), ("ibmGestureTest", 1)):
        for user in range(users):
            for label in range(11):
                path = base / where / f"user{user + 1:02}_fluorescent" / f"{label}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                rows = np.stack(camera_events(40, 128, 100 * user + label, 1500), 1)
                np.save(path, rows.astype(np.float64))
                if where == "ibmGestureTest":
                    events.append((label, rows))
    monkeypatch.setattr(dvs_gesture, "TRAIN", replace(dvs_gesture.TRAIN, recordings=44))
    monkeypatch.setattr(dvs_gesture, "TEST", replace(dvs_gesture.TEST, recordings=11))
    return base, events


def test_gestures_are_read_from_tonics_files(small_gestures):
    _, events = small_gestures
    data = build("data", "dvs_gesture")
    assert data.input_shape == (2, 32, 32)
    assert [len(split) for split in data.splits().values()] == [33, 11, 11]
    found = whole(data, "test").view(150, 11, 2, 32, 32)
    wanted = torch.zeros_like(found)
    for i, label in enumerate(data.test.y.tolist()):
        for x, y, p, t in dict(events)[label]:
            wanted[t // 10, i, p, y // 4, x // 4] += 1
    assert torch.equal(found, wanted)


def test_gestures_are_validated_on_other_persons(small_gestures):
    data = build("data", "dvs_gesture(validation=0.3)")
    assert len(data.provenance["validation_persons"].split(", ")) == 2
    assert len(data.validation) == 22


def test_broken_gestures_are_one_line(small_gestures):
    path = small_gestures[0] / "ibmGestureTrain" / "user02_fluorescent" / "3.npy"
    blob = path.read_bytes()

    def broken(what):
        with pytest.raises(NeurofaError, match=what) as error:
            build("data", "dvs_gesture")
        assert one_line(error)
        assert str(path) in str(error.value) or "recordings in" in str(error.value)

    for size in (0, 20, 200):
        path.write_bytes(blob[:size])
        broken("expected a whole .npy file")
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    broken("expected a whole .npy file")
    np.save(path, np.zeros((5, 3)))
    broken(r"shape \(5, 3\)")
    np.save(path, np.full((5, 4), 128.0))
    broken("columns from 128.0 to 128.0")
    path.rename(path.with_name("11.npy"))
    with pytest.raises(NeurofaError, match=r"11\.npy; expected user<number>_<light>/<0 to 10>\.npy"):
        build("data", "dvs_gesture")
    path.with_name("11.npy").unlink()
    broken("got 43 recordings in .*expected 44")


# ---------------------------------------------------------------------- the small N-MNIST


@pytest.fixture
def tiny_nmnist(folders, monkeypatch):
    parts = [camera_events(30, 34, i) for i in range(12)]
    x, y, p, _ = (np.concatenate(column) for column in zip(*parts, strict=True))
    steps = np.concatenate([np.diff(part[3], prepend=0) for part in parts])
    arrays = {
        "x": x.astype(np.uint8),
        "y": y.astype(np.uint8),
        "p_packed": np.packbits(p.astype(np.uint8)),
        "dt_us": steps.astype(np.uint16),
        "offsets": np.arange(0, 361, 30),
        "label": (np.arange(12) % 10),
        "is_test": np.arange(12) >= 10,
    }
    path = folders[0] / nmnist_small.FILE
    path.parent.mkdir()
    np.savez(path, **arrays)
    monkeypatch.setattr(nmnist_small, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(nmnist_small, "TRAIN", 10)
    return path, parts


def test_the_small_nmnist_is_read(tiny_nmnist):
    _, parts = tiny_nmnist
    assert max(np.diff(part[3], prepend=0).max() for part in parts) < 2**16
    data = build("data", "nmnist_small(validation=3)")
    assert [len(split) for split in data.splits().values()] == [7, 3, 2]
    wanted = torch.zeros(60, 2, 2, 34, 34)
    for i in range(2):
        for x, y, p, t in zip(*parts[10 + i], strict=True):
            wanted[t // 5000, i, p, y, x] += 1
    assert torch.equal(whole(data, "test").view(wanted.shape), wanted)


def test_another_or_truncated_small_nmnist_is_one_line(tiny_nmnist):
    path, _ = tiny_nmnist
    blob = path.read_bytes()
    np.savez(path, x=np.zeros(3))
    with pytest.raises(NeurofaError, match=r"nmnist_small\.npz .*expected a whole \.npz of x, y") as error:
        build("data", "nmnist_small(validation=3)")
    assert one_line(error)
    path.write_bytes(blob[: len(blob) // 2])
    with pytest.raises(NeurofaError, match=r"expected a whole \.npz") as error:
        build("data", "nmnist_small(validation=3)")
    assert one_line(error)
    flipped = bytearray(blob)
    flipped[-1] ^= 1  # in the zip's trailing comment length, which numpy may or may not notice
    path.write_bytes(flipped)
    with pytest.raises(NeurofaError, match=r"nmnist_small\.npz"):
        build("data", "nmnist_small(validation=3)")
    path.unlink()
    with pytest.raises(NeurofaError, match=r"got no nmnist_small/nmnist_small\.npz") as error:
        build("data", "nmnist_small(validation=3)")
    assert one_line(error)


# ---------------------------------------------------------------------- real files


def test_the_real_small_nmnist_tells_digits_apart(real_data):
    if not (real_data / nmnist_small.FILE).exists():
        pytest.skip(f"no {nmnist_small.FILE} among the real data files")
    from sklearn.linear_model import LogisticRegression

    data = build("data", "nmnist_small(pool=2, ticks=3, tick=0.1)")
    assert [len(split) for split in data.splits().values()] == [900, 100, 100]
    train, test = (whole(data, where).transpose(0, 1).flatten(1).numpy() for where in ("train", "test"))
    assert 3000 < train.sum() / 900 < 5000
    fitted = LogisticRegression(C=0.001, max_iter=1000).fit(np.sqrt(train), data.train.y.numpy())
    assert fitted.score(np.sqrt(test), data.test.y.numpy()) > 0.88


@pytest.mark.parametrize(
    ("spec", "file", "sizes"),
    [
        ("shd", "SHD/shd_train.h5", (8156, 2264)),
        ("ssc", "SSC/ssc_train.h5", None),
        ("nmnist", "NMNIST/Train", (60000, 10000)),
        ("dvs_gesture", "DVSGesture/ibmGestureTrain", (1077, 264)),
    ],
)
def test_real_event_files_are_read(real_data, spec, file, sizes):
    if not (real_data / file).exists():
        pytest.skip(f"no {file} among the real data files")
    data = build("data", spec)
    if sizes is not None:
        assert (len(data.train) + len(data.validation), len(data.test)) == sizes
    assert data.train.y.bincount(minlength=data.classes).min() > 0
    assert {_spike_hdf5.UNITS, 2312, 2048} >= {whole(data, "test").shape[2]}


def test_every_reader_names_its_source():
    assert shd.shd.source == ssc.ssc.source
    assert all(each.source for each in (nmnist.nmnist, nmnist_small.nmnist_small, dvs_gesture.dvs_gesture))
