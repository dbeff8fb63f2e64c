"""The files of one export, by format and part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from experiments.exporting.load import LoadedRun
from experiments.files import make_folder
from exports.files.listing import begin_listing, list_files
from exports.graph.model import Model
from exports.hdf5.read import open_hardware_file
from exports.hdf5.write import Content, write_hdf5
from exports.nir import write as nir
from exports.onnx import inference, learning, spiking
from exports.onnx.builder import write_onnx
from exports.programming.conductances import TileMapping
from exports.programming.integers import NumberFormat
from exports.programming.probes import probe_learner
from exports.tables import write_tables
from hwmodels.errors import NeurofaError
from hwmodels.files import StorageError, scratch_path

FORMATS = ("hdf5", "onnx", "nir", "tables", "all")
PARTS = ("forward", "feedback", "learning", "all")
NOISY_READS = 32
"""Passes over which the noise of a probe is measured."""


@dataclass(kw_only=True)
class ExportRequest:
    """Which formats and parts of a run are exported, and with which options.

    Args:
        format: one of :data:`FORMATS`.
        part: one of :data:`PARTS`; HDF5 always holds all of them.
        mapping: how weights become conductances, tile by tile; None: no conductances are written.
        numbers: format of whole-number copies of the weights; None: no copies are written.
        compression: level of gzip in HDF5, 0 to 9.
        vectors: number of probe vectors in HDF5, inputs that a chip can be checked with.
        convert_reset: of NIR: whether neurons that subtract the threshold may reset to zero instead.
        dt: of NIR: length of a tick, s; None: that of the neurons.
        inputs: samples of the run's data for probe vectors and ranges; None: random normal numbers.

    Raises:
        NeurofaError: an unknown format or part, or tables without a mapping.
    """

    format: str = "hdf5"
    part: str = "all"
    mapping: TileMapping | None = None
    numbers: NumberFormat | None = None
    compression: int = 1
    vectors: int = 8
    convert_reset: bool = False
    dt: float | None = None
    inputs: Tensor | None = None

    def __post_init__(self) -> None:
        for key, words in (("format", FORMATS), ("part", PARTS)):
            if getattr(self, key) not in words:
                raise NeurofaError(f"got {key} '{getattr(self, key)}'; expected {', '.join(words)}; choose one")
        if self.format == "tables" and self.mapping is None:
            raise NeurofaError("got --format tables without tiles; expected their size; add --tile 256x256")

    def has(self, format: str) -> bool:  # noqa: A002
        """Return whether a format is to be written: whether it is the chosen one, or all are."""
        return self.format in (format, "all")


@dataclass
class ExportedFiles:
    """The files of an export, and what could not be written."""

    files: list[Path] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """What a format cannot hold, by file, with the reason."""
    notes: list[str] = field(default_factory=list)
    """Remarks for the user, such as what a conversion changed."""


Job = Callable[[Path], list[str] | None]
"""Writes a file; may return notes."""


def write_export(run: LoadedRun, model: Model, request: ExportRequest, out: Path) -> ExportedFiles:
    """Write the files of an export.

    Args:
        run: the run that is exported.
        model: neutral graph of the run.
        request: formats and parts.
        out: the file, where the export has exactly one and ``out`` has its suffix; else a folder.

    Raises:
        StorageError: a file cannot be written.
        NeurofaError: no format can hold the model; with several files, those that cannot are listed in the result.
    """
    jobs = _jobs(run, model, request)
    written = ExportedFiles()
    single = len(jobs) == 1 and out.suffix == Path(next(iter(jobs))).suffix != ""
    folder = make_folder(out.parent if single else out)
    begin_listing(folder, [out.name] if single else list(jobs))
    for name, job in jobs.items():
        path = out if single else out / name
        try:
            written.notes += job(path) or []
        except StorageError:  # a full disk is no matter of a format: what is missing must not look chosen
            raise
        except NeurofaError as error:
            if len(jobs) == 1:
                raise
            written.refused[name] = str(error)
            continue
        written.files.append(path)
    if not written.files:
        raise NeurofaError(next(iter(written.refused.values())))
    if not single:
        list_files(folder, written.files)
    return written


def _jobs(run: LoadedRun, model: Model, request: ExportRequest) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    parts = PARTS[:-1] if request.part == "all" else (request.part,)
    if request.has("hdf5"):
        jobs["network.h5"] = lambda path: _write_hdf5(run, model, request, path)
    if request.has("onnx"):
        jobs |= _onnx_jobs(run, model, request, parts)
    if request.format == "nir" or (request.has("nir") and model.spiking):
        jobs |= _nir_jobs(model, request, parts)
    if request.has("tables") and request.mapping is not None:
        jobs["tiles"] = lambda path: _write_tables(run, model, request, path)
    if not jobs:
        raise NeurofaError(f"got part '{request.part}' for {request.format}; expected forward or feedback; choose one")
    return jobs


def _write_hdf5(run: LoadedRun, model: Model, request: ExportRequest, path: Path) -> None:
    seed, vectors = run.spec.seed, request.vectors
    probes = []
    if vectors:
        probes = probe_learner(run.learner, count=vectors, repeats=NOISY_READS, seed=seed, inputs=request.inputs)
    content = Content(
        mapping=request.mapping, numbers=request.numbers, vectors=vectors, seed=seed, compression=request.compression
    )
    write_hdf5(path, model, probes, content)


def _onnx_jobs(run: LoadedRun, model: Model, request: ExportRequest, parts: tuple[str, ...]) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    if "forward" in parts and model.spiking:
        jobs["step.onnx"] = lambda path: write_onnx(spiking.tick_graph(model), path)
        jobs["loop.onnx"] = lambda path: write_onnx(spiking.loop_graph(model), path)
    elif "forward" in parts:
        jobs["inference.onnx"] = lambda path: write_onnx(inference.inference_graph(model), path)
        if request.part == "all" or request.format == "all":
            jobs["inference_int8.onnx"] = lambda path: _write_int8(run, model, request, path)
    if "feedback" in parts:
        jobs["feedback.onnx"] = lambda path: write_onnx(learning.feedback_graph(model), path)
    if "learning" in parts:
        jobs["learning.onnx"] = lambda path: write_onnx(learning.learning_graph(model), path)
    return jobs


def _write_int8(run: LoadedRun, model: Model, request: ExportRequest, path: Path) -> list[str]:
    x, notes = request.inputs, list[str]()
    if x is None:
        x = probe_learner(run.learner, count=64, repeats=1, seed=run.spec.seed)[0].inputs
        notes = [f"{path.name}: ranges of activations are those of normal numbers, since the run's data are missing"]
    write_onnx(inference.int8_inference_graph(model, x), path)
    return notes


def _nir_jobs(model: Model, request: ExportRequest, parts: tuple[str, ...]) -> dict[str, Job]:
    data = "random spikes" if request.inputs is None else "data of the run"

    def forward(path: Path) -> list[str]:
        graph, changed = nir.network_to_nir(model, convert=request.convert_reset, dt=request.dt, inputs=request.inputs)
        nir.write_nir(graph, path)
        return [
            f"{path.name}: layer '{m.layer}' resets to zero instead; {m.share:.2%} of its slots (tick, sample, neuron)"
            f" differ on {data} ({m.spikes[0]} to {m.spikes[1]} spikes)"
            for m in changed
        ]

    jobs: dict[str, Job] = {}
    if "forward" in parts:
        jobs["forward.nir"] = forward
    if "feedback" in parts:
        jobs["feedback.nir"] = lambda path: nir.write_nir(nir.feedback_to_nir(model), path)
    return jobs


def _write_tables(run: LoadedRun, model: Model, request: ExportRequest, path: Path) -> list[str]:
    with scratch_path(path.with_name("tiles.h5")) as whole:
        _write_hdf5(run, model, replace(request, vectors=0), whole)
        with open_hardware_file(whole) as stored:
            tables = write_tables(stored, path)
    return [f"{path.name}: {len(tables)} files, a CSV and an npz a tile"]
