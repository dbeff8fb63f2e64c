"""Data files, good and bad: idx, the binary version of CIFAR, downloads."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import importlib
import io
import struct
import tarfile
import threading
from dataclasses import replace
from functools import partial

import pytest
import torch

from experiments.data import Augment, _archives, _cifar, _files, _idx
from hwmodels.errors import NeurofaError
from hwmodels.registry import build

cifar100, mnist = (importlib.import_module(f"experiments.data.{name}") for name in ("cifar100", "mnist"))


def idx_file(values: torch.Tensor) -> bytes:
    header = b"\x00\x00\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(header + values.to(torch.uint8).numpy().tobytes(), mtime=0)


def images(n: int, *shape: int, levels: int = 256) -> torch.Tensor:
    return torch.randint(levels, (n, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An own data folder and an own cache folder."""
    named, cache = tmp_path / "named", tmp_path / "cache"
    named.mkdir()
    monkeypatch.setenv("NEUROFA_DATA", str(named))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(_files, "cache_folder", lambda: cache / "neurofa")
    return named, cache / "neurofa"


def one_line(error: pytest.ExceptionInfo[NeurofaError]) -> bool:
    text = str(error.value)
    return text.startswith("got ") and "; expected " in text and "\n" not in text


# ---------------------------------------------------------------------- idx


@pytest.fixture
def small_mnist(folders):
    """Forty + twenty images in the format of MNIST, with their own checksums."""
    named, _ = folders
    contents = {
        "train-images-idx3-ubyte.gz": idx_file(images(40, 6, 5)),
        "train-labels-idx1-ubyte.gz": idx_file(torch.arange(40) % 10),
        "t10k-images-idx3-ubyte.gz": idx_file(images(20, 6, 5)),
        "t10k-labels-idx1-ubyte.gz": idx_file(torch.arange(20) % 10),
    }
    raw = named / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, blob in contents.items():
        (raw / name).write_bytes(blob)
    checksums = {name: hashlib.sha256(blob).hexdigest() for name, blob in contents.items()}
    return raw, replace(mnist.SOURCE, checksums=checksums, addresses=())


def accept(source, path):
    """The source, with the present content of a file as the official one."""
    return replace(source, checksums={**source.checksums, path.name: hashlib.sha256(path.read_bytes()).hexdigest()})


def test_idx_files_become_a_standardised_data_set(small_mnist):
    _, source = small_mnist
    data = _idx.idx_dataset(source, validation=8, subset=None)
    assert [len(split) for split in data.splits().values()] == [32, 8, 20]
    assert data.input_shape == (1, 6, 5)
    assert data.train.x.mean().abs() < 1e-6
    assert data.train.x.std(correction=0) == pytest.approx(1, abs=1e-5)
    assert torch.equal(data.test.y, torch.arange(20) % 10)
    # undoing the standardisation gives the stored bytes
    mean, std = float(data.provenance["mean"]), float(data.provenance["std"])
    assert torch.equal((data.test.x * std + mean).round().to(torch.uint8)[:, 0], images(20, 6, 5))
    wanted = source.checksums["t10k-labels-idx1-ubyte.gz"]
    assert data.provenance["t10k-labels-idx1-ubyte.gz"] == f"sha256:{wanted}"


def test_train_and_validation_share_no_image_and_ignore_the_global_seed(small_mnist):
    _, source = small_mnist
    first = _idx.idx_dataset(source, validation=8, subset=None)
    state = torch.get_rng_state()
    again = _idx.idx_dataset(source, validation=8, subset=None)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.train.x, again.train.x)
    together = torch.cat([first.train.x, first.validation.x]).flatten(1)
    assert len(together.unique(dim=0)) == 40


def test_a_subset_begins_the_training_split_and_keeps_the_validation_split(small_mnist):
    _, source = small_mnist
    whole = _idx.idx_dataset(source, validation=8, subset=None)
    few = _idx.idx_dataset(source, validation=8, subset=5)
    assert torch.equal(few.train.y, whole.train.y[:5])
    assert torch.equal(few.validation.y, whole.validation.y)


@pytest.mark.parametrize(("validation", "subset"), [(-1, None), (40, None), (8, 0), (8, 33)])
def test_sizes_that_the_data_cannot_give_are_refused(small_mnist, validation, subset):
    with pytest.raises(NeurofaError, match=r"got mnist\((validation|subset)="):
        _idx.idx_dataset(small_mnist[1], validation=validation, subset=subset)


def test_a_truncated_file_is_named_with_both_sizes(small_mnist):
    raw, source = small_mnist
    path = raw / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(NeurofaError, match=r"train-images.*bytes unpacked; expected 1216") as error:
        _idx.idx_dataset(source, validation=8, subset=None)
    assert one_line(error)


def test_missing_images_behind_a_sound_gzip_are_noticed(small_mnist):
    raw, source = small_mnist
    path = raw / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-30]))
    with pytest.raises(NeurofaError, match=r"t10k-images.* 586 bytes unpacked; expected 616") as error:
        _idx.idx_dataset(accept(source, path), validation=8, subset=None)
    assert one_line(error)


@pytest.mark.parametrize("content", [b"", b"\x00\x00\x08", b"\x00\x00\x0d\x03" + bytes(20), b"\x00\x00\x08\x03\x00"])
def test_a_wrong_header_is_refused(small_mnist, content):
    raw, source = small_mnist
    path = raw / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(NeurofaError, match=r"train-labels.*(magic number|bytes unpacked)") as error:
        _idx.idx_dataset(accept(source, path), validation=8, subset=None)
    assert one_line(error)


def test_a_file_that_is_no_gzip_is_refused(small_mnist):
    raw, source = small_mnist
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(b"<html>not here</html>")
    with pytest.raises(NeurofaError, match="expected a gzip file") as error:
        _idx.idx_dataset(source, validation=8, subset=None)
    assert one_line(error)


def test_a_wrong_checksum_is_refused(small_mnist):
    raw, source = small_mnist
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(idx_file(torch.zeros(40)))
    with pytest.raises(NeurofaError, match=r"got sha256 .* expected .*; delete the file") as error:
        _idx.idx_dataset(source, validation=8, subset=None)
    assert one_line(error)


def test_labels_out_of_range_are_refused(small_mnist):
    raw, source = small_mnist
    path = raw / "train-labels-idx1-ubyte.gz"
    path.write_bytes(idx_file(torch.arange(40) % 11))
    with pytest.raises(NeurofaError, match=r"labels from 0 to 10 .*expected 0 to 9") as error:
        _idx.idx_dataset(accept(source, path), validation=8, subset=None)
    assert one_line(error)


def test_images_and_labels_of_different_counts_are_refused(small_mnist):
    raw, source = small_mnist
    path = raw / "train-labels-idx1-ubyte.gz"
    path.write_bytes(idx_file(torch.arange(39) % 10))
    with pytest.raises(NeurofaError, match=r"\(40, 6, 5\) with .*\(39,\)") as error:
        _idx.idx_dataset(accept(source, path), validation=8, subset=None)
    assert one_line(error)


def test_a_named_folder_that_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROFA_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(NeurofaError, match="nowhere'; expected an existing folder") as error:
        build("data", "mnist")
    assert one_line(error)


# ---------------------------------------------------------------------- downloads


class Site(http.server.BaseHTTPRequestHandler):
    """Serves ``server.files``; a name that begins with ``cut-`` breaks off half-way."""

    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        blob = self.server.files.get(name.removeprefix("cut-"))
        if blob is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(blob)))
        self.end_headers()
        self.wfile.write(blob[: len(blob) // 2] if name.startswith("cut-") else blob)

    def log_message(self, *args):
        pass


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.files = {}
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_missing_files_are_downloaded_into_the_cache_once(small_mnist, folders, site):
    raw, source = small_mnist
    server, address = site
    server.files = {path.name: path.read_bytes() for path in raw.iterdir()}
    for path in list(raw.iterdir()):
        path.unlink()
    data = _idx.idx_dataset(replace(source, addresses=(address,)), validation=8, subset=None)
    assert len(data.train) == 32
    assert sorted(p.name for p in (folders[1] / "MNIST" / "raw").iterdir()) == sorted(source.checksums)
    server.files = {}
    assert len(_idx.idx_dataset(source, validation=8, subset=None).train) == 32


def test_a_second_address_serves_when_the_first_fails(site, tmp_path):
    server, address = site
    server.files = {"whole.bin": b"content"}
    known = f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    target = _files.download([f"{address}gone.bin", f"{address}whole.bin"], known, tmp_path / "x.bin")
    assert target.read_bytes() == b"content"


@pytest.mark.parametrize(("name", "reason"), [("cut-a.bin", "Error"), ("a.bin", "wrong checksum"), ("b.bin", "HTTP")])
def test_a_failed_download_leaves_no_file(site, tmp_path, name, reason):
    server, address = site
    server.files = {"a.bin": b"x" * 100_000}
    with pytest.raises(NeurofaError, match=rf"got no a.bin .*{reason}.*NEUROFA_DATA") as error:
        _files.download([address + name], f"sha256:{'0' * 64}", tmp_path / "a.bin")
    assert one_line(error)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- cifar


def records(n: int, label_bytes: int, classes: int) -> bytes:
    labels = torch.zeros(n, label_bytes, dtype=torch.uint8)
    labels[:, -1] = torch.arange(n) % classes
    return torch.cat([labels, images(n, 3072)], dim=1).numpy().tobytes()


@pytest.fixture
def small_cifar(folders):
    folder = folders[0] / "cifar-100-binary"
    folder.mkdir()
    (folder / "train.bin").write_bytes(records(30, 2, 100))
    (folder / "test.bin").write_bytes(records(10, 2, 100))
    return folder


def test_records_are_cut_into_labels_and_channel_major_pixels(small_cifar):
    data = build("data", "cifar100(validation=5, flip=True, crop=2)")
    assert [len(split) for split in data.splits().values()] == [25, 5, 10]
    assert data.augment == Augment(flip=True, crop=2)
    assert torch.equal(data.test.y, torch.arange(10))
    mean = torch.tensor([float(v) for v in data.provenance["mean"].split(",")])[:, None, None]
    std = torch.tensor([float(v) for v in data.provenance["std"].split(",")])[:, None, None]
    stored = images(10, 3072).reshape(10, 3, 32, 32)
    assert torch.equal((data.test.x * std + mean).round().to(torch.uint8), stored)
    assert data.provenance["official"].startswith("not known")
    assert (
        data.provenance["test.bin"] == f"sha256:{hashlib.sha256((small_cifar / 'test.bin').read_bytes()).hexdigest()}"
    )


@pytest.mark.parametrize("cut", [0, 1, 3073, 3074 * 3 + 1])
def test_a_file_of_broken_records_is_refused(small_cifar, cut):
    (small_cifar / "train.bin").write_bytes(records(30, 2, 100)[:cut])
    with pytest.raises(NeurofaError, match=rf"train.bin with {cut} bytes; expected a multiple of 3074") as error:
        build("data", "cifar100(validation=5)")
    assert one_line(error)


def test_a_short_cifar10_batch_is_refused(folders):
    folder = folders[0] / "cifar-10-batches-bin"
    folder.mkdir()
    for k in range(1, 6):
        (folder / f"data_batch_{k}.bin").write_bytes(records(2, 1, 10))
    with pytest.raises(NeurofaError, match=r"6146 bytes; expected 30730000 \(10000 records of 3073\)") as error:
        build("data", "cifar10")
    assert one_line(error)


def test_a_cifar_label_out_of_range_is_refused(small_cifar):
    (small_cifar / "test.bin").write_bytes(records(120, 2, 120))
    with pytest.raises(NeurofaError, match=r"label 119 in .*test.bin; expected 0 to 99") as error:
        build("data", "cifar100(validation=5)")
    assert one_line(error)


def test_classes_and_grey_levels_are_chosen(small_cifar):
    whole, few = build("data", "cifar100(validation=5)"), build("data", "cifar100(validation=5, classes=60)")
    assert few.classes == 60
    assert int(few.train.y.max()) < 60
    assert sum(len(s) for s in few.splits().values()) == sum(int((s.y < 60).sum()) for s in whole.splits().values())
    raw, _ = _cifar.read_records((small_cifar / "test.bin").read_bytes(), small_cifar / "test.bin", cifar100.SOURCE)
    grey = build("data", "cifar100(validation=5, grey=True)")
    assert grey.input_shape == (1, 32, 32)
    wanted = (0.299 * raw[:, 0].float() + 0.587 * raw[:, 1].float() + 0.114 * raw[:, 2].float()).round()
    # standardised by one mean and one deviation: an affine image of the luminance
    scale = grey.test.x[0, 0].std() / wanted[0].std()
    centred = (wanted - wanted.mean()) * scale
    torch.testing.assert_close(grey.test.x[:, 0] - grey.test.x.mean(), centred, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("classes", [1, 101])
def test_a_number_of_classes_that_there_is_not_is_refused(small_cifar, classes):
    with pytest.raises(NeurofaError, match=rf"got cifar100\(classes={classes}\); expected 2 to 100"):
        build("data", f"cifar100(validation=5, classes={classes})")


def test_a_missing_cifar_file_is_named(small_cifar):
    (small_cifar / "train.bin").unlink()
    with pytest.raises(NeurofaError, match=r"got no train.bin in .*cifar-100-binary") as error:
        build("data", "cifar100")
    assert one_line(error)


def archive_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, blob in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(blob)
            tar.addfile(entry, io.BytesIO(blob))
    return stream.getvalue()


def test_an_archive_is_downloaded_unpacked_and_known_afterwards(folders, site):
    server, address = site
    blob = archive_of(
        {
            "cifar-100-binary/train.bin": records(30, 2, 100),
            "cifar-100-binary/test.bin": records(10, 2, 100),
            "../outside.bin": b"never unpacked",
        }
    )
    server.files = {"c.tar.gz": blob}
    md5 = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    archive = replace(cifar100.SOURCE.archive, addresses=(f"{address}c.tar.gz",), md5=md5)
    source = replace(cifar100.SOURCE, archive=archive)
    options = _cifar.CifarOptions(validation=5, subset=None, flip=False, crop=0, classes=None, grey=False)
    read = partial(_cifar.cifar_dataset, source, options)
    data = read()
    assert data.provenance["official"] == "yes"
    assert data.augment is None
    folder = folders[1] / "cifar-100-binary"
    assert sorted(p.name for p in folder.iterdir()) == ["SHA256SUMS", "test.bin", "train.bin"]
    assert [p.name for p in folders[1].iterdir()] == ["cifar-100-binary"]
    server.files = {}
    assert torch.equal(read().train.x, data.train.x)
    damaged = bytearray((folder / "train.bin").read_bytes())
    damaged[100] ^= 1
    (folder / "train.bin").write_bytes(damaged)
    with pytest.raises(NeurofaError, match=r"got sha256 .*train.bin; expected .*; delete the folder"):
        read()


def test_an_archive_without_a_file_leaves_nothing(tmp_path):
    (tmp_path / "c.tar.gz").write_bytes(archive_of({"cifar-100-binary/train.bin": records(1, 2, 100)}))
    finish = partial(_cifar._write_sums, names=("train.bin", "test.bin"), archive="c.tar.gz")
    with pytest.raises(NeurofaError, match=r"without cifar-100-binary/test\.bin"):
        _archives.unpack_member(tmp_path / "c.tar.gz", "cifar-100-binary", tmp_path, finish)
    assert [p.name for p in tmp_path.iterdir()] == ["c.tar.gz"]


# ---------------------------------------------------------------------- real files


@pytest.mark.parametrize(
    ("spec", "sizes", "shape", "classes"),
    [
        ("mnist", (55000, 5000, 10000), (1, 28, 28), 10),
        ("fashion_mnist(validation=10000, subset=1000)", (1000, 10000, 10000), (1, 28, 28), 10),
        ("cifar10(subset=2000)", (2000, 5000, 10000), (3, 32, 32), 10),
    ],
)
def test_real_files_are_read(real_data, spec, sizes, shape, classes):
    data = build("data", spec)
    assert tuple(len(split) for split in data.splits().values()) == sizes
    assert data.input_shape == shape
    assert data.test.y.bincount(minlength=classes).min() > 0.08 * len(data.test)
    assert data.train.x.std(correction=0) == pytest.approx(1, abs=1e-3)


def test_real_cifar100_is_read_whatever_its_size(real_data):
    data = build("data", "cifar100(validation=500)")
    assert data.classes == 100
    assert len(data.train.y.unique()) == 100
    assert data.test.x.shape[1:] == (3, 32, 32)


def test_real_mnist_begins_with_its_known_digits(real_data):
    data = build("data", "mnist(subset=1)")
    assert data.test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
