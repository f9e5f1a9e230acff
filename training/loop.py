"""The training loop: time budget, EMA weights, resume after a kill at any moment."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from config.errors import SettingsError

Network = TypeVar("Network", bound=nn.Module)
Batch = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast."""

    minutes: float
    """Training time, counted over all resumed parts."""
    learning_rate: float = 1e-3
    """Peak; warmed up over 100 steps, then a cosine down to a thousandth of it."""
    ema: float = 0.998
    """Decay of the running mean of the weights, per step."""
    save_every_s: float = 60.0
    device: str = "cpu"
    seed: int = 0
    steps: int | None = None
    """End after so many steps, if the time is not over before."""
    kept: float = 1.0
    """Share of the way from the weights that training begins with to those learnt that is gone in
    the end: what neither saw is often better on the way (Wortsman et al. 2022, arXiv 2109.01903).
    """


def train(
    network: Network,
    make_batch: Callable[[np.random.Generator], Batch],
    step: Callable[[Batch, torch.autocast], tuple[Tensor, dict[str, float]]],
    run: Path,
    schedule: Schedule,
) -> Network:
    """Train ``network`` in place and return it with its EMA weights.

    ``step`` returns the loss and figures to show. The state (weights, optimizer, EMA, elapsed
    time) lies in ``run/state.pt``, written to a temporary file and renamed, so a kill loses at most
    ``save_every_s``; the result is ``run/weights.pt``. SIGTERM saves and ends. Raises SettingsError
    for a state of another network.
    """
    run.mkdir(parents=True, exist_ok=True)
    state_path = run / "state.pt"
    network.to(schedule.device).train()
    optimizer = torch.optim.AdamW(
        network.parameters(), schedule.learning_rate, betas=(0.8, 0.99), weight_decay=1e-4
    )
    mean = {name: value.detach().clone() for name, value in network.state_dict().items()}
    begun = {name: value.clone() for name, value in mean.items()}
    elapsed, steps = 0.0, 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True, map_location=schedule.device)
        try:
            network.load_state_dict(state["network"])
        except RuntimeError as error:
            raise SettingsError(
                f"{state_path} is of another network than this one: give another --run"
            ) from error
        optimizer.load_state_dict(state["optimizer"])
        mean, elapsed, steps = state["mean"], state["elapsed"], state["steps"]
        print(f"resumed at step {steps}, {elapsed / 60:.1f} of {schedule.minutes} min", flush=True)
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def save() -> None:
        _write(
            {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "mean": mean,
                "elapsed": elapsed,
                "steps": steps,
            },
            state_path,
        )

    budget = schedule.minutes * 60
    autocast = torch.autocast(schedule.device, torch.bfloat16)
    shown: dict[str, float] = {}
    last_save = last_show = time.monotonic()
    rng = np.random.default_rng([schedule.seed, steps])
    # One batch ahead, made in a thread: OpenCV and numpy release the interpreter lock.
    with ThreadPoolExecutor(1) as maker:
        ahead = maker.submit(make_batch, rng)
        while elapsed < budget and steps != schedule.steps and not stop.is_set():
            begin = time.monotonic()
            data = tuple(x.to(schedule.device) for x in ahead.result())
            ahead = maker.submit(make_batch, rng)
            cosine = 0.5 * (1 + math.cos(math.pi * elapsed / budget)) + 1e-3
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate * min(1.0, (steps + 1) / 100) * cosine
            loss, figures = step(data, autocast)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 3.0)
            optimizer.step()
            _follow(mean, network.state_dict(), min(schedule.ema, (steps + 1) / (steps + 10)))
            steps += 1
            now = time.monotonic()
            elapsed += now - begin
            for name, value in figures.items():
                shown[name] = 0.98 * shown.get(name, value) + 0.02 * value
            if now - last_show > 15:
                text = " ".join(f"{name} {value:.4f}" for name, value in shown.items())
                left = (budget - elapsed) / 60
                print(f"step {steps} {elapsed / 60:.1f} min, {left:.1f} left: {text}", flush=True)
                last_show = now
            if now - last_save > schedule.save_every_s:
                save()
                last_save = now
    save()
    _follow(begun, mean, 1 - schedule.kept)
    network.load_state_dict(begun)
    _write(begun, run / "weights.pt")
    return network.eval()


def _follow(mean: dict[str, Tensor], other: Mapping[str, Tensor], kept: float) -> None:
    """Bring ``mean`` nearer to other weights, keeping that share of it; counters are theirs."""
    with torch.no_grad():
        for name, value in other.items():
            if value.dtype.is_floating_point:
                mean[name].lerp_(value, 1 - kept)
            else:
                mean[name].copy_(value)


def _write(value: Any, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(value, temporary)
    os.replace(temporary, path)
