"""Fine-tuning on one person, and the weights it starts from."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from config.errors import AvatarError, SettingsError, SourceError  # noqa: E402
from config.schema import TrackingSettings  # noqa: E402
from models.compact import CompactModel  # noqa: E402
from realtime.assembly import SHIPPED  # noqa: E402
from realtime.face import LandmarkTracker, open_tracker  # noqa: E402
from training import personal  # noqa: E402
from training.__main__ import main  # noqa: E402
from training.data import SIZE  # noqa: E402
from training.generator import mean_face  # noqa: E402
from training.loop import Schedule  # noqa: E402
from training.personal import fine_tune, read_person  # noqa: E402
from training.weights import load, read_model, read_weights, write_weights  # noqa: E402


@pytest.fixture(scope="module")
def tracker() -> LandmarkTracker:
    return open_tracker(TrackingSettings())


def test_weights_come_back_as_they_were_to_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = CompactModel()
    path = tmp_path / "weights.safetensors"
    write_weights(model, path)
    assert path.stat().st_size < 0.6 * sum(4 * v.numel() for v in model.state_dict().values())
    back = read_model(path).state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(back[name], value, rtol=1e-3, atol=1e-6)


def test_what_holds_no_weights_is_one_line(tmp_path: Path) -> None:
    for name in ("no.safetensors", "no.pt"):
        with pytest.raises(SettingsError, match="no such file"):
            read_weights(tmp_path / name)
        (tmp_path / name).write_bytes(b"not weights at all")
        with pytest.raises(SettingsError, match="holds no weights"):
            read_weights(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(SettingsError, match="holds no weights"):
        read_weights(tmp_path / "list.pt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(SettingsError, match="other weights"):
        read_model(tmp_path / "other.pt")


def test_a_part_is_read_from_its_own_file_or_a_whole_models(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = CompactModel()
    torch.save(model.eyes.state_dict(), tmp_path / "eyes.pt")
    torch.save(model.state_dict(), tmp_path / "model.pt")
    for name in ("eyes.pt", "model.pt"):
        read = load(CompactModel().eyes, tmp_path / name, "eyes")
        torch.testing.assert_close(read.heatmaps.weight, model.eyes.heatmaps.weight)
    with pytest.raises(SettingsError, match="other weights than those of the detector"):
        load(CompactModel().detector, tmp_path / "eyes.pt", "detector")
    with pytest.raises(SettingsError, match="other weights than those of the compact network"):
        read_model(tmp_path / "eyes.pt")


def test_pictures_without_a_face_are_refused(tmp_path: Path, tracker: LandmarkTracker) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 300, 3), 120, np.uint8))
    with pytest.raises(AvatarError, match="no face in it"):
        read_person(tmp_path, tracker)
    with pytest.raises(SourceError):
        read_person(tmp_path / "none.mp4", tracker)


def test_a_folder_of_pictures_is_framed_as_networks_expect_it(tracker: LandmarkTracker) -> None:
    portraits, clip = read_person(SHIPPED, tracker)
    assert clip is None
    assert portraits.images.shape[1:] == (SIZE, SIZE, 3)
    heights = np.ptp(portraits.landmarks[..., 1], axis=1) / SIZE
    assert (np.abs(heights - 1 / 1.85) < 0.08).all()
    nose, temple = 24, 45
    assert (portraits.depth[:, nose] < portraits.depth[:, temple]).all()


def test_fine_tuning_changes_the_generator_and_not_the_detector(
    tmp_path: Path, tracker: LandmarkTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(personal, "DRAWN", (2, 3))
    monkeypatch.setattr(personal, "CHECKS", 1)
    torch.manual_seed(0)
    model = CompactModel()
    person = read_person(SHIPPED, tracker)
    model.template.copy_(mean_face(person[0].landmarks, SIZE))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    before, after = fine_tune(model, person, tmp_path, Schedule(9, 3e-4, steps=2))
    assert 0 < before < 1
    assert 0 < after < 1
    assert after != before
    changed = {n.split(".")[0] for n, v in model.state_dict().items() if not v.equal(start[n])}
    assert changed == {"encoder", "motion", "painter"}

    # Half of the way to what was learnt.
    learnt = torch.load(tmp_path / "state.pt", weights_only=True)["mean"]
    names = [name for name, _ in model.painter.named_parameters()]
    gone, whole = (
        torch.cat([(now[f"painter.{n}"] - start[f"painter.{n}"]).flatten() for n in names])
        for now in (model.state_dict(), learnt)
    )
    assert whole.norm() > 1e-4
    assert float((gone - whole / 2).norm() / whole.norm()) < 0.1


def test_a_person_who_got_no_better_gets_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.__main__.fine_tune", lambda *_: (0.02, 0.02))
    words = f"avatar --run {tmp_path / 'run'} --pictures {SHIPPED} --output {tmp_path / 'bundle'}"
    assert main(words.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith("training: no bundle is written")
    assert "0.0200 -> 0.0200" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "bundle").exists()
