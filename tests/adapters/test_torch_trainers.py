"""Do Lightning and Accelerate train from a loader: every sample once an epoch, resumable?"""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

import chunkstore as cs
from tests import support
from tests.adapters.batch_laws import expected_epoch, make_loader, plain, write_file

torch = support.require("torch")
lightning = support.require("lightning")
from torch.utils.data import DataLoader  # noqa: E402 - needs torch

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def store(tmp_path):
    with cs.open(write_file(tmp_path / "x.zarr.zip")) as store:
        yield store


class Recorder(lightning.LightningModule):
    """A model that notes its batches."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(12, 1)
        self.batches = []

    def training_step(self, batch, batch_index):
        self.batches.append(plain(batch))
        (x, _), targets = batch
        return ((self.layer(x.flatten(1))[:, 0] - targets["label"]) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def make_trainer(folder, **options):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_lightning_trains_every_sample_once_an_epoch(store, tmp_path, num_workers):
    model = Recorder()
    with make_loader(store) as loader:
        data = DataLoader(loader.torch(), batch_size=None, num_workers=num_workers)
        make_trainer(tmp_path, max_epochs=3).fit(model, data)
        size = len(loader)
    assert len(model.batches) == 3 * size
    for epoch in range(3):
        got = model.batches[epoch * size : (epoch + 1) * size]
        assert sorted(got) == sorted(expected_epoch(store, epoch))


def test_lightning_takes_the_dataset_itself(store, tmp_path):
    model = Recorder()
    with make_loader(store) as loader:
        make_trainer(tmp_path, max_epochs=2).fit(model, loader.torch())
    assert model.batches == expected_epoch(store, 0) + expected_epoch(store, 1)


class SaveAfter(lightning.Callback):
    """Saves a checkpoint behind so many batches."""

    def __init__(self, num_batches, path):
        self.num_batches = num_batches
        self.path = path

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == self.num_batches:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["dataset", "StatefulDataLoader"])
def test_lightning_checkpoints_carry_the_position(store, tmp_path, is_wrapped):
    def make_data(loader):
        if not is_wrapped:
            return loader.torch()
        module = support.require("torchdata.stateful_dataloader")
        return module.StatefulDataLoader(loader.torch(), batch_size=None)

    checkpoint = tmp_path / "half.ckpt"
    first, second = Recorder(), Recorder()
    with make_loader(store) as loader:
        trainer = make_trainer(tmp_path, max_steps=7, callbacks=[SaveAfter(5, checkpoint)])
        trainer.fit(first, make_data(loader))
    with make_loader(store) as loader:
        trainer = make_trainer(tmp_path, max_epochs=2)
        trainer.fit(second, make_data(loader), ckpt_path=checkpoint)
    assert first.batches == expected_epoch(store, 0)[:7]
    assert second.batches == expected_epoch(store, 0, step=5) + expected_epoch(store, 1)


ACCELERATED = """
import sys, torch
import chunkstore as cs
from accelerate import Accelerator
accelerator = Accelerator(cpu=True)
model = torch.nn.Linear(3, 1)
model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
with cs.open(sys.argv[1]) as store, cs.Loader(store, ("x", "@index"), batch_size=8) as loader:
    data = torch.utils.data.DataLoader(loader.torch(), batch_size=None)
    for epoch in range(2):
        seen = []
        for x, index in data:
            loss = model(x.to(accelerator.device)[:, :, 0]).mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            seen += index.tolist()
        assert sorted(seen) == list(range(len(store["x"]))), seen
"""


def test_accelerate_trains_from_a_loader_that_it_does_not_prepare(tmp_path):
    support.require("accelerate")
    path = write_file(tmp_path / "x.zarr.zip")
    # In a process of its own: its state is global.
    subprocess.run(
        [sys.executable, "-c", ACCELERATED, str(path)], cwd=support.REPOSITORY, check=True
    )
