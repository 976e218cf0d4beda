"""Peaks of memory, against arrays of known size."""

import functools
import platform

import pytest
import torch

from landmark.course.bench import measure


def test_peak_memory_is_that_of_the_work_alone():
    """Fails when what the process held before counts, or a freed peak is missed."""
    held = torch.ones(128, 1 << 18)
    assert 60 <= measure.peak_memory(functools.partial, torch.ones, 64, held.shape[1]) <= 90


def _freed():
    """Work like what this process has done before, and has freed."""
    for mebibytes in (31, 24):
        torch.ones(mebibytes, 1 << 18)
    return functools.partial(torch.ones, 24, 1 << 18)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_peak_memory_counts_what_fills_freed_memory():
    """Fails when work that finds its memory already at hand seems to take none."""
    assert 22 <= measure.peak_memory(_freed) <= 40
