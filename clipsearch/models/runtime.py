"""Where and how exactly a network computes: device, number format, memory allocator."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.errors import ModelError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def choose_device(wanted: str = "auto") -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1` or `mps` into a device that this machine has.

    `auto` prefers an NVIDIA or AMD card, then Apple's, then the processor.

    Raises:
        ModelError: the device is unknown or not present.
    """
    import torch

    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device is None or device.type not in DEVICES:
        raise ModelError(f"{wanted}: no such device; choose one of {', '.join(DEVICES)}")
    absent = (device.type == "cuda" and not cuda) or (device.type == "mps" and not mps)
    if absent or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise ModelError(f"{wanted}: this machine has no such device; use auto or cpu")
    return device


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """Turn `auto`, `float32`, `bfloat16` or `float16` into the number format of the image tower.

    `auto` is float16 on CUDA, bfloat16 on processors that multiply it natively, else float32.

    Raises:
        ModelError: the precision is unknown.
    """
    import torch

    formats = {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    if wanted in formats:
        return formats[wanted]
    if wanted != "auto":
        raise ModelError(f"{wanted}: no such precision; choose one of {', '.join(PRECISIONS)}")
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and multiplies_bfloat16():
        return torch.bfloat16
    return torch.float32


def multiplies_bfloat16() -> bool:
    """Say whether the processor has instructions for bfloat16 products.

    PyTorch accepts bfloat16 everywhere and emulates it where they are missing, slower than
    float32; its own `mkldnn` test says yes on those processors too.
    """
    import torch

    if platform.machine().lower() in ("x86_64", "amd64"):
        test = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        if test is not None:
            return bool(test())
        return "avx512_bf16" in _processor_flags()
    return "bf16" in _processor_flags()


def _processor_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def keep_freed_memory() -> bool:
    """Make the C allocator keep large freed blocks for the next layer; return whether it will.

    By default glibc gives every block over 32 MiB (at first 128 KiB) back to the kernel when
    it is freed, and the next layer of a convolutional network faults the same pages in
    again, zeroed: more than half of the time of a forward pass on the processor. With the
    thresholds raised (mallopt(3)) the process keeps the memory of its largest batch.
    It holds for the whole process and does nothing on other C libraries.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of <malloc.h>
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Older glibc refuses more than 32 MiB.
    raised = mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 32 << 20)
    return bool(raised and mallopt(trim_threshold, (1 << 31) - 1))
