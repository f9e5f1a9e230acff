"""``python -m training STAGE --run DIR``: from portraits and clips to a bundle, stage by stage.

``label`` (one's own pictures and films made into portraits and clips), ``detector`` (landmarks),
``eyes`` (the same, near by), ``generator`` (needs both, or a whole model to start from), ``lids``
(eyes, painted near by), ``bundle`` (export). ``finder``, the face finder, ``matte``, which tells a
person from what is behind, and ``avatar``, fine-tuning on one person, stand by themselves. Each
stage may be killed at any moment and goes on when the same command is given again.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from config.errors import PuppetcamError, SettingsError
from config.schema import TrackingSettings
from models.compact import VARIANTS, CompactModel
from realtime.face import open_tracker
from realtime.finder import WEIGHTS
from realtime.matte import WEIGHTS as MATTE_WEIGHTS
from training import pairs
from training.data import Clip, Portraits, load_clips, load_portraits
from training.drawn import drawn_clips
from training.eyes import train_eyes
from training.finder import People, train_finder, write_finder
from training.generator import mean_face, student, train_generator, widened, with_lids
from training.keypoints import Faces, evaluate_detector, gather, train_detector
from training.label import label
from training.landmarker import Landmarker
from training.loop import Schedule
from training.matte import gather as gather_sitters
from training.matte import mattes, train_matte, write_matte
from training.personal import LEARNING_RATE, fine_tune, read_person
from training.weights import DEFAULT_WEIGHTS, NAME, load, read_model, write_weights

STAGES = "label", "detector", "eyes", "generator", "lids", "bundle", "finder", "matte", "avatar"
DRAWN = (300, 10)
"""Drawn people, and frames of each."""
NETWORK = "model.pt"
"""The whole network, in the run's folder."""


def main(argv: list[str] | None = None) -> int:
    """Run one stage; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--run", type=Path, required=True, help="folder of states and weights")
    parser.add_argument("--portraits", type=Path, help="folder of portraits with landmarks.npz")
    parser.add_argument("--clips", type=Path, help="folder of clips with landmarks.npz")
    parser.add_argument(
        "--pictures",
        type=Path,
        help="label: a folder of pictures and films; avatar: a picture, a folder, or a film",
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="training time (default 60)")
    parser.add_argument("--batch", type=int, default=8, help="pairs a step (default 8)")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument(
        "--kept",
        type=_share,
        default=1.0,
        metavar="SHARE",
        help="how far to go from the weights begun with to those learnt (default 1: all the way)",
    )
    parser.add_argument("--compile", action="store_true", help="the generator by TorchInductor")
    parser.add_argument(
        "--start-from",
        type=Path,
        help="weights to begin with: a stage's weights.pt, a whole model's file",
    )
    parser.add_argument("--size", choices=list(VARIANTS), help="of the generator (default m)")
    parser.add_argument(
        "--teacher", type=Path, help="a whole model, whose readings or pictures are imitated"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", type=Path, help="folder of the bundle")
    parser.add_argument("--licence", default="", help="of the weights, for the bundle")
    parser.add_argument("--origin", default="", help="of the weights, for the bundle")
    arguments = parser.parse_args(argv)
    # OpenCV's own threads would fight with torch's over the cores.
    cv2.setNumThreads(1)
    try:
        match arguments.stage:
            case "label":
                _label(arguments)
            case "detector":
                _detector(arguments)
            case "eyes":
                _eyes(arguments)
            case "generator":
                _generator(arguments)
            case "lids":
                _lids(arguments)
            case "bundle":
                _bundle(arguments)
            case "finder":
                _finder(arguments)
            case "matte":
                _matte(arguments)
            case "avatar":
                _avatar(arguments)
    except PuppetcamError as error:
        _say(str(error))
        return error.exit_code
    return 0


def _share(text: str) -> float:
    share = float(text)  # argparse tells a ValueError
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, found {text}")
    return share


def _schedule(arguments: argparse.Namespace) -> Schedule:
    return Schedule(
        arguments.minutes, arguments.learning_rate, device=arguments.device, kept=arguments.kept
    )


def _faces(arguments: argparse.Namespace) -> tuple[Faces, Portraits]:
    """What landmarks are learnt from, and the portraits held out."""
    portraits = load_portraits(_given(arguments, "portraits"))
    clips = load_clips(_given(arguments, "clips"))
    held_out = np.arange(len(portraits.images)) % 20 == 0
    drawn = drawn_clips(*DRAWN, arguments.run / "drawn.npz")
    return gather(portraits.select(~held_out), clips, drawn), portraits.select(held_out)


def _label(arguments: argparse.Namespace) -> None:
    tracker = open_tracker(TrackingSettings())
    with Landmarker() as landmarker:
        label(_given(arguments, "pictures"), arguments.run, tracker, landmarker, _say)


def _say(text: str) -> None:
    print(f"training: {text}", file=sys.stderr)


def _detector(arguments: argparse.Namespace) -> None:
    faces, held_out = _faces(arguments)
    network = train_detector(
        faces,
        arguments.run / "detector",
        _schedule(arguments),
        arguments.start_from,
        arguments.teacher,
    )
    found = evaluate_detector(network.cpu(), held_out)
    print("held-out portraits, pixels at 256:", found)


def _eyes(arguments: argparse.Namespace) -> None:
    faces, _ = _faces(arguments)
    train_eyes(faces, arguments.run / "eyes", _schedule(arguments), arguments.start_from)


def _generator(arguments: argparse.Namespace) -> None:
    portraits = load_portraits(_given(arguments, "portraits"))
    clips = load_clips(_given(arguments, "clips"))
    teacher = read_model(arguments.teacher) if arguments.teacher else None
    if arguments.start_from is not None:
        model = read_model(arguments.start_from)
        size = arguments.size or model.variant
        if VARIANTS[size] < VARIANTS[model.variant]:
            raise SettingsError(
                f"{arguments.start_from} is of size {model.variant}, and --size {size} was asked "
                "for; to make a smaller network of it, give it as --teacher"
            )
        if size != model.variant:
            model = widened(model, size)
        print(f"started from {arguments.start_from}")
    elif teacher is not None:
        model = student(teacher, arguments.size or "m")
    else:
        model = CompactModel(arguments.size or "m")
        model.template.copy_(mean_face(portraits.landmarks, portraits.images.shape[1]))
    for name, reader in (("detector", model.detector), ("eyes", model.eyes)):
        own = arguments.run / name / "weights.pt"
        if own.exists():
            load(reader, own, name)
        elif arguments.start_from is None and teacher is None:
            raise SettingsError(
                f"no {own}: run the stage '{name}' with the same --run first, or take the readers "
                f"of a whole model by --start-from, such as {DEFAULT_WEIGHTS}"
            )
    _train(model, arguments, portraits, clips, teacher)


def _lids(arguments: argparse.Namespace) -> None:
    portraits = load_portraits(_given(arguments, "portraits"))
    clips = load_clips(_given(arguments, "clips"))
    model = read_model(arguments.start_from or arguments.run / NETWORK)
    if model.painter.lids is None:
        model = with_lids(model)
    _train(model, arguments, portraits, clips)


def _train(
    model: CompactModel,
    arguments: argparse.Namespace,
    portraits: Portraits,
    clips: list[Clip],
    teacher: CompactModel | None = None,
) -> None:
    """What a stage of the generator trains of ``model``, which is then written whole."""
    train_generator(
        model,
        pairs.gather(
            portraits,
            mattes(portraits, arguments.run / "mattes.npy"),
            clips,
            drawn_clips(*DRAWN, arguments.run / "drawn.npz"),
        ),
        arguments.run / arguments.stage,
        _schedule(arguments),
        arguments.batch,
        arguments.compile,
        teacher=teacher,
        only_lids=arguments.stage == "lids",
    )
    torch.save(model.cpu().state_dict(), arguments.run / NETWORK)


def _bundle(arguments: argparse.Namespace) -> None:
    _export(read_model(arguments.run / NETWORK), arguments)


def _export(model: CompactModel, arguments: argparse.Namespace) -> None:
    from export.bundle import export_bundle

    output = _given(arguments, "output")
    export_bundle(
        model.eval(),
        output,
        format="onnx",
        licence=arguments.licence,
        origin=arguments.origin,
    )
    write_weights(model, output / NAME)


def _finder(arguments: argparse.Namespace) -> None:
    portraits = load_portraits(_given(arguments, "portraits"))
    drawn = drawn_clips(*DRAWN, arguments.run / "drawn.npz")
    # As many drawn people as filmed ones.
    clips = load_clips(_given(arguments, "clips"))
    people = People(
        portraits, mattes(portraits, arguments.run / "mattes.npy"), clips + drawn[: len(clips)]
    )
    network = train_finder(people, arguments.run / "finder", _schedule(arguments))
    write_finder(network.cpu(), arguments.output or WEIGHTS.parent)


def _matte(arguments: argparse.Namespace) -> None:
    sitters = gather_sitters(
        load_portraits(_given(arguments, "portraits")),
        load_clips(_given(arguments, "clips")),
        arguments.run / "sitters.npy",
    )
    network = train_matte(
        sitters, arguments.run / "matte", _schedule(arguments), arguments.start_from
    )
    write_matte(network.cpu(), arguments.output or MATTE_WEIGHTS.parent)


def _avatar(arguments: argparse.Namespace) -> None:
    model = read_model(arguments.start_from or DEFAULT_WEIGHTS)
    tracker = open_tracker(TrackingSettings())
    person = read_person(_given(arguments, "pictures"), tracker)
    frames = len(person[1].images) if person[1] else 0
    minutes = f"{arguments.minutes:g} minutes"
    print(f"{len(person[0].images)} pictures, {frames} frames of film; {minutes}")
    schedule = replace(_schedule(arguments), learning_rate=LEARNING_RATE)
    model.to(arguments.device)
    before, after = fine_tune(model, person, arguments.run / "avatar", schedule)
    found = f"error at eyes and mouth on what it did not see: {before:.4f} -> {after:.4f}"
    if after >= before:
        raise SettingsError(
            f"no bundle is written, for it would be no better than before ({found}); give "
            "more, and more varied, pictures, or the same --run more --minutes"
        )
    print(found)
    _export(model.cpu(), arguments)


def _given(arguments: argparse.Namespace, name: str) -> Path:
    value: Path | None = getattr(arguments, name)
    if value is None:
        raise SettingsError(f"the stage '{arguments.stage}' needs --{name}")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
