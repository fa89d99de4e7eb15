"""Peak memory of a training step."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from .clock import clock_of
from .contestant import Contestant


def peak_memory(contestant: Contestant) -> int:
    """Bytes at the peak of one step: what stays between steps, and what the step adds.

    Other contestants in the process do not count. On a GPU it is torch's ``max_memory_allocated``,
    on a CPU the peak of torch's allocations according to its profiler, without scratch memory of
    matrix libraries.

    Args:
        contestant: One that has taken a step, so that its optimiser has its moments.
    """
    clock = clock_of(contestant.device)
    if contestant.device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        contestant.step(clock)
        added = torch.cuda.max_memory_allocated() - before
    else:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            contestant.step(clock)
        added = _peak_of(profiler)
    return contestant.state_bytes() + added


def _peak_of(profiler: profile) -> int:
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, 'trace.json')
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding='utf-8'))['traceEvents']
    allocated = [event['args']['Total Allocated'] for event in events
                 if event.get('name') == '[memory]' and event['args']['Device Type'] == 0]
    return max(allocated, default=0)
