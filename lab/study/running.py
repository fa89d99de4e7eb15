"""Train and evaluate one run, or a grid of them, in separate processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from amt_mm.apis.claims import check_claim, claim
from amt_mm.apis.comparison import seconds_per_step, train
from amt_mm.apis.jobs import run_tool
from amt_mm.apis.pool import run_pool
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.json_files import read_json

from .planning import Run
from .records import describe


def finished_result(run: Run, work_dir: Path) -> dict | None:
    """Read the record of a finished run.

    Args:
        run: The run.
        work_dir: Folder of the study.

    Returns:
        Its line of ``runs.jsonl``, None if it is not finished.

    Raises:
        InputError: The folder holds a run of other settings: the recipe has changed.
    """
    folder = run.folder(work_dir)
    file = folder / 'result.json'
    # Refuses a folder of other settings before anything is trained.
    if not (check_claim(folder, run.cfg) and file.is_file()):
        return None
    # The study's baseline may have changed since.
    return {**read_json(file), 'relative_step_cost': run.plan.relative_step,
            'relative_cost': run.plan.relative_cost}


def run_one(run: Run, study: str, work_dir: Path, threads: int | None = None,
            environment: Mapping[str, str] | None = None) -> None:
    """Train a run, resuming it if it was interrupted, and evaluate it; logs are in its folder.

    Args:
        run: The run.
        study: Name of the study.
        work_dir: Folder of the study.
        threads: CPU threads. Defaults to torch's choice.
        environment: Environment variables, such as ``CUDA_VISIBLE_DEVICES``.

    Raises:
        InputError: Training or evaluation refused its input, or another process works in this
            folder.
        RunError: It failed.
    """
    folder, cfg = run.folder(work_dir), run.cfg
    settings = claim(folder, cfg)
    how = dict(threads=threads, quiet=True, environment=environment)
    checkpoint = train(cfg, settings, folder, **how)
    run_tool('judge', [settings, checkpoint], [], folder, **how)
    measures = read_json(folder / 'measures.json')
    measures['seconds_per_step'] = seconds_per_step(folder)
    record = {**describe(run, study, work_dir, settings, measures['seconds_per_step']), **measures}
    write_text(folder / 'result.json', json.dumps(record, indent=2) + '\n')


def run_all(runs: Sequence[Run], study: str, work_dir: Path, jobs: int = 1,
            gpus: Sequence[str] = (), after_each: Callable[[], None] = lambda: None
            ) -> dict[str, str]:
    """Run several at a time; a failure does not stop the others.

    Args:
        runs: In the order in which they start.
        study: Name of the study.
        work_dir: Its folder.
        jobs: Runs at a time on CPUs; with more than one, each gets one thread.
        gpus: Identifiers of GPUs, each for one run at a time, instead of ``jobs``.
        after_each: Called after each finished run, never concurrently.

    Returns:
        Name of a failed run -> reason, in the order of ``runs``.
    """
    def task(run: Run) -> Callable[[object], None]:
        return lambda place: run_one(
            run, study, work_dir, threads=1 if jobs > 1 and not gpus else None,
            environment={'CUDA_VISIBLE_DEVICES': place} if gpus else None)

    return run_pool({run.name: task(run) for run in runs}, gpus or range(jobs), after_each)
