"""``neurofa device show``: figures that agree with the constants, panels that apply, pictures, refusals."""

import json

import pytest

from experiments.cli import run_command as run
from experiments.reports.device import device_constants, device_moments, device_panels
from hwmodels.registry import build, parts


def shown(capsys, *words):
    assert run(["device", "show", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_figures_and_a_picture_of_a_pulsed_device(tmp_path, capsys):
    found = shown(capsys, "reram_array_om", "--out", str(tmp_path / "x.png"), "--pulses", "10")
    assert found["verified"] == "read"
    assert found["tier"] == "array measured"
    assert found["moments"]["stuck"] == pytest.approx(0.1348, abs=0.01)
    assert found["panels"] == ["response", "programming"]
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    assert {c["name"]: c["value"] for c in found["constants"]}["dw_min"] == "0.0949"


@pytest.mark.parametrize("name", parts("device"))
def test_every_constant_of_every_device_is_explained(name):
    said = {c["name"]: c["meaning"] for c in device_constants(build("device", name))}
    assert not [key for key, meaning in said.items() if not meaning]


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("digital", []),
        ("fixed(bits=4)", ["response", "programming"]),
        ("constant_step(w_max_dtod=0, w_min_dtod=0)", ["response"]),
        ("pcm", ["response", "programming", "read", "drift"]),
        ("gaussian(read_noise=0.1, write_noise=0)", ["read"]),
    ],
)
def test_panels_are_those_in_which_something_varies(spec, names):
    assert list(device_panels(build("device", spec), pulses=5)) == names


def test_moments_are_those_of_the_constants():
    line = "constant_step(dw_min=0.01, dw_min_dtod=0, dw_min_std=0, up_down={}, up_down_dtod=0, scale=1"
    line += ", w_max_dtod=0, w_min_dtod=0)"
    even, odd = (device_moments(build("device", line.format(asymmetry))) for asymmetry in (0, 0.2))
    assert even["step up"] == pytest.approx(0.01, rel=1e-3)
    assert even["step down"] == pytest.approx(-0.01, rel=1e-3)
    assert odd["step down"] == pytest.approx(-0.008, rel=1e-3)
    assert even["states"] == pytest.approx(120, rel=0.02)
    assert "programming sigma" not in even
    assert device_moments(build("device", "pcm"))["programming sigma"] > 0.01


def test_text_for_people_and_wrong_names(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["device", "show", "fixed(bits=3)"]) == 0
    out = capsys.readouterr().out
    assert "width of one weight" in " ".join(out.split())
    assert (tmp_path / "device-fixed.png").is_file()
    assert run(["device", "show", "digital"]) == 0
    assert "no picture" in capsys.readouterr().out
    assert run(["device", "show", "reram"]) == 2
    assert "got device 'reram'" in capsys.readouterr().err


def test_the_step_of_a_device_is_not_that_of_its_write_noise(tmp_path, capsys):
    for spec in ("reram_es", "wear(device=reram_es)"):
        moments = shown(capsys, spec, "--out", str(tmp_path / "x.png"), "--pulses", "5")["moments"]
        # in device units 0.00135 (1 + 1.18445 exp(-2.5)) up; three times that in units of the largest initial weight
        assert moments["step up"] == pytest.approx(3 * 0.00135 * 1.0972, rel=0.05)
        assert moments["step down"] == pytest.approx(-3 * 0.00135 * 1.475, rel=0.05)
        assert moments["step spread"] == pytest.approx(5.1, rel=0.05)
        assert moments["write noise"] == pytest.approx(3 * 75 * 0.00135, rel=0.03)


def test_pictures_of_devices_say_their_units():
    for spec in ("reram_es", "pcm", "gaussian"):
        for panel in device_panels(build("device", spec), pulses=5).values():
            assert "(" in panel.y.label
            assert panel.x.label == "pulse" or "(" in panel.x.label
