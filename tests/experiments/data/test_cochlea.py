"""The cochlea and the spoken digits that go through it."""

from __future__ import annotations

import wave

import numpy as np
import pytest
import torch

from experiments.data import _files, _fsdd
from experiments.data.cochlea import STEP, Cochlea, by_recording
from hwmodels.errors import NeurofaError
from hwmodels.registry import build

RATE = 8000


def one_line(error: pytest.ExceptionInfo[NeurofaError]) -> bool:
    text = str(error.value)
    return text.startswith("got ") and "; expected " in text and "\n" not in text


def tone(hertz: float, seconds: float = 0.3, scale: float = 1000.0):
    return scale * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def counts(cells: Cochlea, wave) -> np.ndarray:
    _, units, _ = cells.spikes([wave])
    return np.bincount(units, minlength=cells.channels)


def test_centres_are_evenly_spaced_in_equivalent_rectangular_bandwidths():
    cells = Cochlea(channels=50, low=100, high=3600)
    centres = cells.centres()
    assert centres[[0, -1]] == pytest.approx([100, 3600])
    bandwidth = 24.7 * (4.37e-3 * centres + 1)
    steps = np.diff(centres) / ((bandwidth[1:] + bandwidth[:-1]) / 2)
    assert steps == pytest.approx(np.full(49, steps.mean()), rel=1e-3)


@pytest.mark.parametrize("hertz", [200, 500, 1200, 2500])
def test_a_tone_excites_the_place_of_its_frequency(hertz):
    cells = Cochlea(channels=60)
    found = counts(cells, tone(hertz))
    place = np.average(np.arange(60), weights=found.astype(float) ** 4)
    assert cells.centres()[round(place)] == pytest.approx(hertz, rel=0.12)
    assert found.max() > 20
    assert (found == 0).sum() > 10  # far places are silent


def test_the_level_of_a_recording_does_not_matter():
    cells = Cochlea(channels=30)
    quiet, loud = cells.spikes([tone(700)]), cells.spikes([tone(700, scale=3.0)])
    assert all(np.array_equal(one, other) for one, other in zip(quiet, loud, strict=True))


def test_recordings_do_not_leak_into_each_other():
    draw = np.random.default_rng(0)
    cells = Cochlea(channels=20)
    waves = [tone(300, 0.25), draw.normal(size=1501), tone(1500, 0.1)]
    together = list(by_recording(*cells.spikes(waves)))
    for each, (times, units) in zip(waves, together, strict=True):
        (alone,) = by_recording(*cells.spikes([each]))
        # a filter may still ring 50 dB below after the gap, which moves a spike at most
        assert len(alone[0]) == pytest.approx(len(times), abs=2)
        assert np.bincount(alone[1], minlength=20) == pytest.approx(np.bincount(units, minlength=20), abs=1)


def test_hair_cells_are_leaky_integrators_one_at_a_time():
    """The vectorised cells against a loop over one channel, from its drive."""
    cells = Cochlea(channels=5, seconds=0.2, gain=6000.0)
    x = np.random.default_rng(1).normal(size=2400)
    times, units, _ = cells.spikes([x])
    assert times.max() < 200  # the rest is cut off
    sound, _, lengths = cells._joined([x], 8, 200)
    for channel, centre in enumerate(cells.centres()):
        v, wanted = np.float32(0), []
        for t, drive in enumerate(cells._drive(sound, centre, 8)[: lengths[0]]):
            v = v * np.float32(np.exp(-STEP / cells.tau)) + np.float32(cells.gain * STEP) * drive
            if v > 1:
                v = v - np.float32(1)
                wanted.append(t)
        assert len(wanted) > 5
        assert times[units == channel].tolist() == wanted


def test_spikes_come_in_order_of_recording_time_and_channel():
    times, units, offsets = Cochlea(channels=20).spikes([tone(300), tone(900)])
    assert offsets[[0, -1]].tolist() == [0, len(times)]
    for begin, end in ((0, offsets[1]), (offsets[1], offsets[2])):
        key = times[begin:end].astype(int) * 20 + units[begin:end]
        assert (np.diff(key) > 0).all()  # at most one spike a step and channel


@pytest.mark.parametrize("sound", [np.zeros(0), np.zeros(100), np.array([1.0, np.nan])])
def test_silence_is_refused(sound):
    with pytest.raises(NeurofaError, match="recording 1") as error:
        Cochlea(channels=4).spikes([tone(300), sound])
    assert one_line(error)


@pytest.mark.parametrize(
    "bad",
    [
        {"channels": 1},
        {"high": 4000.0},
        {"low": 0.0},
        {"low": 3700.0},
        {"tau": 0.0},
        {"gain": -1.0},
        {"power": 0.0},
        {"seconds": 0.0},
        {"rate": 11025.0},
    ],
)
def test_impossible_ears_are_refused(bad):
    with pytest.raises(NeurofaError, match="got") as error:
        Cochlea(**bad)
    assert one_line(error)


# ---------------------------------------------------------------------- spoken digits


SPEAKERS = ("anna", "bert", "carl", "dora")


@pytest.fixture
def small_speech(tmp_path, monkeypatch):
    """Two digits, four speakers, eight takes as wave files: digit d of speaker s is a tone of its own."""
    named, cache = tmp_path / "named", tmp_path / "cache"
    folder = named / _fsdd.FOLDER / "recordings"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for digit in range(2):
        for i, speaker in enumerate(SPEAKERS):
            for take in range(8):
                x = tone(400 * (1 + digit) + 20 * i, 0.05 + 0.01 * draw.random()) + draw.normal(0, 50, 1)
                with wave.open(str(folder / f"{digit}_{speaker}_{take}.wav"), "wb") as out:
                    out.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
                    out.writeframes(x.astype("<i2").tobytes())
    monkeypatch.setenv("NEUROFA_DATA", str(named))
    monkeypatch.setattr(_files, "cache_folder", lambda: cache)
    monkeypatch.setattr(_fsdd, "RECORDINGS", 64)
    return folder, cache


SMALL = "spoken_digits(ticks=10, channels=12"


def test_the_authors_split_goes_by_takes(small_speech):
    data = build("data", f"{SMALL}, validation=1)")
    assert [len(split) for split in data.splits().values()] == [16, 8, 40]
    assert data.train.y.bincount().tolist() == [8, 8]
    assert (data.ticks, data.tick, data.input_shape, data.classes) == (10, 0.01, (12,), 10)
    assert data.provenance["official"].startswith("no")
    xs, _ = data.test.cut(torch.arange(40))
    low, high = (xs.dense().sum(0)[data.test.y == digit].mean(0) for digit in range(2))
    assert low.argmax() < high.argmax()
    assert xs.dense()[7:].sum() == 0  # recordings last up to 60 ms


def test_speakers_are_disjoint(small_speech):
    speech = _fsdd.load_speech()
    assert speech.names == list(SPEAKERS)
    whole = build("data", f"{SMALL}, validation=0)")
    assert len(whole.validation) == 0
    spoken = [build("data", f"{SMALL}, split=speakers, fold={fold})") for fold in range(4)]
    for fold, data in enumerate(spoken):
        assert [len(split) for split in data.splits().values()] == [32, 16, 16]
        assert data.provenance["test"] == f"speaker {SPEAKERS[fold]}"
        after = spoken[(fold + 1) % 4].test
        assert torch.equal(data.validation.units, after.units)
        assert torch.equal(data.validation.starts, after.starts)
    with pytest.raises(NeurofaError, match=r"got spoken_digits\(fold=4\); expected 0 to 3"):
        build("data", f"{SMALL}, split=speakers, fold=4)")


def test_the_second_run_reads_what_the_first_one_worked_out(small_speech, monkeypatch):
    _, cache = small_speech
    first = build("data", f"{SMALL}, validation=1)")
    (kept,) = (cache / "spoken_digits").iterdir()
    monkeypatch.setattr(Cochlea, "spikes", None)
    again = build("data", f"{SMALL}, validation=1)")
    assert torch.equal(first.train.units, again.train.units)
    assert torch.equal(first.train.at, again.train.at)
    with pytest.raises(TypeError):  # other options have to be worked out
        build("data", "spoken_digits(ticks=10, channels=13, validation=1)")
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(NeurofaError, match="expected cached spikes; delete it") as error:
        build("data", f"{SMALL}, validation=1)")
    assert one_line(error)


def test_other_sound_is_another_cache_file(small_speech):
    folder, cache = small_speech
    before = build("data", f"{SMALL}, validation=1)").provenance["recordings"]
    one = folder / "1_dora_7.wav"
    blob = bytearray(one.read_bytes())
    blob[-1] ^= 1
    one.write_bytes(blob)
    assert build("data", f"{SMALL}, validation=1)").provenance["recordings"] != before
    assert len(list((cache / "spoken_digits").iterdir())) == 2


def test_arrays_and_wave_files_are_the_same_data(small_speech, monkeypatch):
    folder, _ = small_speech
    speech = _fsdd.load_speech()
    path = folder.parents[1] / _fsdd.FILE
    path.parent.mkdir()
    order = np.random.default_rng(0).permutation(64)
    waves = [speech.waves[i] for i in order]
    names = list(reversed(SPEAKERS))
    np.savez(
        path,
        audio=np.concatenate(waves),
        offsets=np.cumsum([0, *map(len, waves)]),
        digit=speech.digit[order],
        speaker=np.array([names.index(SPEAKERS[i]) for i in speech.speaker[order]]),
        take=speech.take[order],
        speaker_names=np.array(names),
    )
    monkeypatch.setattr(_fsdd, "SHA256", _files.sha256(path.read_bytes()))
    other = _fsdd.load_speech()
    assert other.content == speech.content
    assert all(np.array_equal(one, two) for one, two in zip(speech.waves, other.waves, strict=True))
    assert other.speaker.tolist() == speech.speaker.tolist()
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(NeurofaError, match=r"fsdd_8khz_int16\.npz .*fetch it again") as error:
        _fsdd.load_speech()
    assert one_line(error)


def test_broken_wave_files_are_one_line(small_speech):
    folder, _ = small_speech
    path = folder / "0_anna_0.wav"
    blob = path.read_bytes()

    def broken(what):
        with pytest.raises(NeurofaError, match=what) as error:
            _fsdd.load_speech()
        assert one_line(error)

    for size in (0, 30):
        path.write_bytes(blob[:size])
        broken(r"0_anna_0\.wav .*expected a whole wave file")
    path.write_bytes(blob[:-101])
    broken(r"0_anna_0\.wav of 1 channels, 16 bits, 8000 Hz")
    with wave.open(str(path), "wb") as out:
        out.setparams((2, 2, RATE, 0, "NONE", "not compressed"))
        out.writeframes(b"\0" * 400)
    broken("of 2 channels")
    path.rename(folder / "zero.wav")
    broken(r"zero\.wav; expected <digit>_<speaker>_<take>\.wav")
    (folder / "zero.wav").unlink()
    broken("got 63 recordings")


@pytest.mark.parametrize("bad", ["channels=1", "channels=701", "ticks=0", "validation=3", "split=random"])
def test_options_that_do_not_fit_are_refused(small_speech, bad):
    with pytest.raises(NeurofaError, match=rf"got spoken_digits\({bad.split('=')[0]}") as error:
        build("data", f"spoken_digits({bad})")
    assert one_line(error)


def test_an_official_file_says_so(small_speech, monkeypatch):
    monkeypatch.setattr(_fsdd, "CONTENT", _fsdd.load_speech().content)
    assert build("data", f"{SMALL}, validation=1)").provenance["official"] == "yes"


# ---------------------------------------------------------------------- real sound


@pytest.mark.slow
def test_counts_of_spikes_tell_the_real_digits_apart(real_data, tmp_path, monkeypatch):
    if not (real_data / _fsdd.FILE).exists():
        pytest.skip(f"no {_fsdd.FILE} among the real data files")
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr(_files, "cache_folder", lambda: tmp_path)
    data = build("data", "spoken_digits(channels=32)")
    assert data.provenance["official"] == "yes"
    assert [len(split) for split in data.splits().values()] == [2400, 300, 300]
    assert data.test.y.bincount().tolist() == [30] * 10

    def features(split):
        dense = split.cut(torch.arange(len(split)))[0].dense()
        return dense.unflatten(0, (10, 10)).sum(1).transpose(0, 1).flatten(1).sqrt().numpy()

    fitted = LogisticRegression(C=0.01, max_iter=1000).fit(features(data.train), data.train.y.numpy())
    assert fitted.score(features(data.test), data.test.y.numpy()) > 0.93
