"""The training loop: epochs, validation, learning rate, weights files, one line per epoch.

Numbers of the released recipe are the defaults of the scripts; what differs from the released
program is listed in docs/differences.md#training.

Source: the released recipe, as far as it has an effect.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models import moment_label_from_prob
from utils.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from utils.device import peak_memory_gib
from utils.errors import CaimError, CheckpointError, UserError
from utils.loading import Batches, to_device
from utils.losses import caim_loss
from utils.metrics import ConfusionMatrix, area_scores, moment_scores
from utils.plotting import draw_learning_curve
from utils.precision import Precision, autocast
from utils.progress import progress, say
from utils.run_log import write_csv_rows

__all__ = ["SELECTION", "TrainingPlan", "fit", "learning_rate"]

SELECTION = "val_moment_f1_macro_all"
"""The score that decides which epoch becomes best.pth."""

CHECK_EVERY = 10
"""Steps between looks at the losses; looking waits for the GPU, so not at every step."""


@dataclass(frozen=True)
class TrainingPlan:
    """What the loop needs to know; the scripts' settings carry fields of the same names.

    Attributes:
        epochs: Passes over the training patches.
        lr: Learning rate of Adam(0.9, 0.999).
        schedule: "step" multiplies ``lr`` by ``lr_factor`` at each milestone; "cosine" falls from
            ``lr`` to 0 over all steps after one twentieth of warming up (not in the paper).
        lr_milestones: Epochs, counted from 0, at which the step schedule lowers the rate.
        lr_factor: By how much.
        weight_decay: Of Adam.
        clip_norm: Largest gradient norm, None to leave gradients alone.
        rebuild_optimizer: Start a new optimiser every epoch, as the released program does.
        precision: Of the network's heavy part.
        area_factors, moment_factors: Extra class factors of the loss, None for ones.
        seed: Of the shuffling, dropout and augmentation.
    """

    epochs: int
    lr: float = 1e-4
    schedule: Literal["step", "cosine"] = "step"
    lr_milestones: tuple[int, ...] = ()
    lr_factor: float = 0.5
    weight_decay: float = 0.0
    clip_norm: float | None = 4.0
    rebuild_optimizer: bool = False
    precision: Precision = "float32"
    area_factors: tuple[float, ...] | None = None
    moment_factors: tuple[float, ...] | None = None
    seed: int = 1

    @classmethod
    def from_settings(cls, settings: Any, num_classes: int) -> TrainingPlan:
        """The plan that a script's settings describe, for so many change moments.

        Raises:
            UserError: The number of class factors is wrong.
        """
        plan = cls(**{f.name: getattr(settings, f.name) for f in dataclasses.fields(cls)})
        given = {"area": (plan.area_factors, 2), "moment": (plan.moment_factors, num_classes)}
        for task, (factors, expected) in given.items():
            if factors is not None and len(factors) != expected:
                raise UserError(
                    f"--{task}-factors: found {len(factors)} numbers, expected {expected}, one "
                    "per class starting with 'unchanged', or none."
                )
        return plan


@dataclass
class _Epoch:
    """What one pass over a split gave."""

    losses: dict[str, float]
    scores: dict[str, float]
    patches_per_second: float


def learning_rate(plan: TrainingPlan, epochs_done: float) -> float:
    """Learning rate after so many (possibly broken) epochs, counted from 0."""
    if plan.schedule == "cosine":
        done = epochs_done / plan.epochs
        warm = min(1.0, (done + 1e-3) * 20)
        return plan.lr * warm * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    passed = sum(epochs_done >= milestone for milestone in plan.lr_milestones)
    return plan.lr * plan.lr_factor**passed


def fit(
    network: nn.Module,
    train: Batches,
    val: Batches,
    plan: TrainingPlan,
    folder: Path,
    template: Checkpoint,
    resume: bool = False,
) -> dict[str, Any]:
    """Train, validate after every epoch, keep the last and the best weights.

    Args:
        network: On the device of the batches; its ``forward`` gives a ``CAIMNetOutput``.
        train: Training batches.
        val: Validation batches; every patch is counted.
        plan: What to do.
        folder: Gets metrics.csv, last.pth, best.pth and learning_curve.png.
        template: What a weights file says of network and data; weights are filled in here.
        resume: Go on after the epoch that folder/last.pth holds.

    Returns:
        The row of the best epoch.

    Raises:
        CaimError: The loss is not finite; epoch, step and AOIs are named.
        UserError: There is nothing to train on, or nothing left to resume.
    """
    if len(train) == 0 or len(val) == 0:
        raise UserError(
            f"training: found {len(train)} training and {len(val)} validation batches, expected "
            "at least one each; lower --batch-size, or add scenes."
        )
    optimizer = _adam(network, plan)
    rows, first = _resumed(network, optimizer, plan, folder) if resume else _fresh(folder)
    for epoch in range(first, plan.epochs):
        torch.manual_seed(plan.seed * 7_919 + epoch)  # dropout and augmentation, also when resumed
        if plan.rebuild_optimizer:
            optimizer = _adam(network, plan)
        begun = time.perf_counter()
        trained = run_epoch("train", network, train, plan, epoch, optimizer)
        validated = run_epoch("val", network, val, plan, epoch)
        row = {
            "epoch": epoch + 1,
            **{f"train_{k}": v for k, v in (trained.losses | trained.scores).items()},
            **{f"val_{k}": v for k, v in (validated.losses | validated.scores).items()},
            "learning_rate": optimizer.param_groups[0]["lr"],
            "patches_per_second": trained.patches_per_second,
            "memory_gib": peak_memory_gib(train.device),
            "seconds": time.perf_counter() - begun,
        }
        is_best = all(row[SELECTION] > float(earlier[SELECTION]) for earlier in rows)
        rows.append(row)
        _keep(network, optimizer, template, folder, rows, is_best)
        say(_line(row, plan.epochs, is_best))
    return max(rows, key=lambda row: float(row[SELECTION]))


def run_epoch(
    mode: Literal["train", "val"],
    network: nn.Module,
    batches: Batches,
    plan: TrainingPlan,
    epoch: int,
    optimizer: torch.optim.Optimizer | None = None,
) -> _Epoch:
    """One pass over a split: with an optimiser it learns, without it only scores."""
    device, learning = batches.device, optimizer is not None
    network.train(learning)
    factors = _factors(plan, device)
    watch, tally = _LossWatch(epoch), _Tally(device)
    begun = time.perf_counter()
    with nullcontext() if learning else torch.inference_mode():
        bar = progress(batches.epoch(epoch), f"{mode} {epoch + 1}", len(batches), "batch")
        for step, cpu_batch in enumerate(bar):
            batch = to_device(cpu_batch, device)
            with autocast(device, plan.precision):
                output = network(batch["images"])
            terms = caim_loss(output, batch["area_label"], batch["moment_label"], *factors)
            if optimizer is not None:
                rate = learning_rate(plan, epoch + step / len(batches))
                _learn(network, optimizer, terms.total, plan.clip_norm, rate)
            watch.see(step, batch["aoi"], torch.stack([t.detach() for t in terms]))
            tally.add(output.moment_prob.detach(), batch)
            if step == 1 and learning and epoch == 0 and device.type == "cpu":
                _announce_time(time.perf_counter() - begun, len(batches), plan.epochs)
    losses = watch.means()
    speed = tally.patches / max(time.perf_counter() - begun, 1e-9)
    return _Epoch(losses, tally.scores(), speed)


def _learn(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    clip_norm: float | None,
    rate: float,
) -> None:
    """One step of the optimiser."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def _factors(plan: TrainingPlan, device: torch.device) -> list[Tensor | None]:
    """Class factors of area and moment on the device, once per epoch rather than every step."""
    return [
        None if factors is None else torch.tensor(factors, device=device)
        for factors in (plan.area_factors, plan.moment_factors)
    ]


class _Tally:
    """Counts patches and confusions of one pass, on the device."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.patches = device, 0
        self.area = ConfusionMatrix(2, device)
        self.moment: ConfusionMatrix | None = None

    def add(self, moment_prob: Tensor, batch: dict[str, Any]) -> None:
        if self.moment is None:
            self.moment = ConfusionMatrix(moment_prob.shape[1], self.device)
        predicted = moment_label_from_prob(moment_prob)
        self.moment.update(batch["moment_label"], predicted)
        self.area.update(batch["area_label"], (predicted > 0).long())
        self.patches += len(predicted)

    def scores(self) -> dict[str, float]:
        assert self.moment is not None
        area, moment = area_scores(self.area.matrix()), moment_scores(self.moment.matrix())
        return {
            "area_f1": area["f1"],
            "area_kappa": area["kappa"],
            "moment_f1_macro_all": moment["f1_macro_all"] or 0.0,
            "moment_f1_macro_change": moment["f1_macro_change"] or 0.0,
            "moment_kappa": moment["kappa"] or 0.0,
        }


class _LossWatch:
    """Collects losses on the device and stops the run when one is not finite."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._steps: list[tuple[int, Sequence[str], Tensor]] = []
        self._seen = 0

    def see(self, step: int, aois: Sequence[str], terms: Tensor) -> None:
        self._steps.append((step, aois, terms))
        if step % CHECK_EVERY == 0:
            self._check()

    def means(self) -> dict[str, float]:
        self._check()
        mean = torch.stack([terms for _, _, terms in self._steps]).double().mean(dim=0).tolist()
        return dict(zip(("loss", "loss_area", "loss_moment", "loss_fine"), mean, strict=True))

    def _check(self) -> None:
        new = self._steps[self._seen :]
        if not new:
            return
        finite = torch.stack([terms[0] for _, _, terms in new]).isfinite().tolist()
        for good, (step, aois, terms) in zip(finite, new, strict=True):
            if not good:
                raise CaimError(
                    f"training: the loss is {terms[0].item()} in epoch {self.epoch + 1}, step "
                    f"{step + 1}, AOIs {', '.join(sorted(set(aois)))}; expected a finite number. "
                    "Check these scenes with data_processing/*_custom.py, lower --lr, or use "
                    "--precision float32. The weights of the last whole epoch are in last.pth."
                )
        self._seen = len(self._steps)


def _adam(network: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        network.parameters(), lr=plan.lr, betas=(0.9, 0.999), weight_decay=plan.weight_decay
    )


def _keep(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    template: Checkpoint,
    folder: Path,
    rows: list[dict[str, Any]],
    is_best: bool,
) -> None:
    """Write the epoch's row, curve and weights."""
    checkpoint = dataclasses.replace(
        template,
        state_dict=network.state_dict(),
        training={**template.training, "epoch": rows[-1]["epoch"], "scores": dict(rows[-1])},
    )
    if is_best:
        save_checkpoint(folder / "best.pth", checkpoint)
    state = {"optimizer": optimizer.state_dict(), "rows": rows}
    save_checkpoint(folder / "last.pth", dataclasses.replace(checkpoint, resume=state))
    write_csv_rows(folder / "metrics.csv", rows)
    draw_learning_curve(folder / "learning_curve.png", rows)


def _fresh(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Remove what an earlier run left in the folder (only --overwrite leads to one with any)."""
    for name in ("metrics.csv", "last.pth", "best.pth", "learning_curve.png"):
        (folder / name).unlink(missing_ok=True)
    return [], 0


def _resumed(
    network: nn.Module, optimizer: torch.optim.Optimizer, plan: TrainingPlan, folder: Path
) -> tuple[list[dict[str, Any]], int]:
    """Put the state of folder/last.pth into network and optimiser; rows so far, next epoch."""
    if not (folder / "last.pth").is_file():
        raise UserError(
            f"--resume: {folder} holds no last.pth, expected one after the first epoch; no epoch "
            "was finished there. Start again with --overwrite."
        )
    last = load_checkpoint(folder / "last.pth")
    try:
        network.load_state_dict(last.state_dict)
        optimizer.load_state_dict(last.resume["optimizer"])
        rows: list[dict[str, Any]] = list(last.resume["rows"])
    except (RuntimeError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder / 'last.pth'}: its state does not fit the settings of this run ({reason}). "
            f"Resume with the model settings of {folder / 'settings.json'}."
        ) from error
    epoch = int(last.training["epoch"])
    if epoch >= plan.epochs:
        raise UserError(
            f"--resume: {folder} has finished epoch {epoch} of {plan.epochs}, expected epochs "
            "left to do; give a larger --epochs."
        )
    write_csv_rows(folder / "metrics.csv", rows)  # as of the weights, whatever a kill left there
    say(f"resuming {folder} after epoch {epoch}")
    return rows, epoch


def _announce_time(seconds: float, steps: int, epochs: int) -> None:
    minutes = seconds / 2 * steps * epochs / 60
    amount = f"{minutes / 60:.1f} hours" if minutes > 90 else f"{max(minutes, 1):.0f} minutes"
    say(f"No GPU is used: {epochs} epochs of {steps} steps take about {amount} on this CPU.")


def _line(row: dict[str, Any], epochs: int, is_best: bool) -> str:
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.4f} (val {row['val_loss']:.4f})"
        f"  val area F1 {100 * row['val_area_f1']:.2f} kappa {100 * row['val_area_kappa']:.2f}"
        f"  moment F1 {100 * row['val_moment_f1_macro_all']:.2f}"
        f" kappa {100 * row['val_moment_kappa']:.2f}  lr {row['learning_rate']:.2g}"
        f"  {row['patches_per_second']:.1f} patches/s  {row['memory_gib']:.2f} GiB"
        f"{'  best' if is_best else ''}"
    )
