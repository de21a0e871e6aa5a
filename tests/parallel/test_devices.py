"""A GPU that torch cannot use is an error that says why, not a training on the CPU."""

import pytest
import torch

from diptych.parallel import devices
from diptych.parallel.devices import check_gpu_usable, fetched, prepare_gpu, sent


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Devices and driver of a machine whose GPU torch, built for CUDA 13.2, does not see."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidia0").touch()
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
    )
    return {"devices": tmp_path, "version": tmp_path / "version"}


def test_an_old_driver_is_named_with_what_it_can_run(machine):
    with pytest.raises(
        ValueError,
        match=r"driver 535\.183 is too old for CUDA 13\.2; install driver 580 .*built for CUDA 12; or .*cpu$",
    ):
        check_gpu_usable(**machine)


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        ("Open Kernel Module for x86_64  570.86.15  Release Build", r"driver 570\.86 is too old .*for CUDA 12"),
        ("Kernel Module  440.33.01", "driver 440.33 is too old for CUDA 13.2; install driver 580 or newer; or"),
        ("Kernel Module  580.65.06", "does not start; see what nvidia-smi says"),
        ("?", "does not start"),
    ],
)
def test_other_drivers(machine, driver, said):
    machine["version"].write_text(driver)
    with pytest.raises(ValueError, match=said):
        check_gpu_usable(**machine)


def test_a_torch_without_cuda(machine, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(ValueError, match="built without CUDA"):
        check_gpu_usable(**machine)


def test_where_nothing_is_wrong(machine, monkeypatch, tmp_path):
    check_gpu_usable(tmp_path / "none", machine["version"])
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        check_gpu_usable(**machine)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_gpu_usable(**machine)


def test_a_cpu_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "set_device", lambda device: pytest.fail("no GPU is meant"))
    prepare_gpu(torch.device("cpu"))
    numbers = torch.arange(3)
    assert sent(numbers, torch.device("cpu")) is numbers


def test_what_is_on_the_host_need_not_be_fetched():
    tensor = torch.ones(3)
    assert fetched(tensor)() is tensor
