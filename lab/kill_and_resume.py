"""Kill a training or damage its files, resume it, and compare its end with an uninterrupted one.

The config is trained once as it is. Then it is trained repeatedly, killed by SIGKILL at random
moments and resumed from what the kill has left, until it ends. Moments are drawn in equal numbers
from steps, refreshes of maps, writes of checkpoints and any time, so that short phases are covered.
Weights, optimiser, schedules, maps and random states at the end must equal those of the
uninterrupted run, bit for bit (fp32 on a CPU).

With --flips, a training is killed once; then, each time in a copy of its folder, one random bit of
one file (checkpoint, map or note) is flipped before it is resumed. It must end like the
uninterrupted run or be refused in one line.

Takes a config that trains in seconds, in one process. Exit status: 0 if all ends are equal, 1 if
not, 2 for bad input.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import mmap
import os
import pickle
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from amt_mm.cli import arguments, parse_first

PHASES = ('elsewhere', 'step', 'refresh', 'checkpoint')
EXAMPLE = """
example:
  python -m lab.kill_and_resume CONFIG --kills 200 --work-dir /tmp/kills \\
      --cfg-options default_hooks.checkpoint.interval=1 default_hooks.checkpoint.by_epoch=False
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of a small training that saves checkpoints')
    arguments.add_shared_arguments(parser)
    parser.add_argument('--kills', type=int, default=200, help='default: 200')
    parser.add_argument('--flips', type=int, default=0, help='flipped bits (default: 0)')
    parser.add_argument('--seed', type=int, default=0, help='of the moments (default: 0)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.apis import launch
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.models.unwrapped import unwrapped


class Phases:
    """The phase that a child is in, in memory shared with its parent."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)

    @property
    def now(self) -> str:
        """The phase."""
        return PHASES[self._shared[0]]

    @now.setter
    def now(self, phase: str) -> None:
        self._shared[0] = PHASES.index(phase)

    def during(self, phase: str, function: Callable) -> Callable:
        """Wrap a function so that its phase is recorded."""
        def run(*args, **kwargs):
            before, self.now = self.now, phase
            try:
                return function(*args, **kwargs)
            finally:
                self.now = before
        return run


class EndState(Hook):
    """Write digests of all that a training leaves when it ends."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._streams: tuple | None = None

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Remember the random states after the step."""
        self._streams = (random.getstate(), np.random.get_state()[1:],
                         torch.get_rng_state().numpy())

    def after_train(self, runner: Runner) -> None:
        """Write them."""
        store = getattr(unwrapped(runner).data_preprocessor, 'store', None)
        schedules = [each.state_dict() for each in runner.param_schedulers or ()]
        maps = store and store.lookup(torch.arange(store.num_samples)).numpy()
        parts = {'weights': _arrays(runner.model.state_dict()),
                 'optimiser': _arrays(runner.optim_wrapper.state_dict()),
                 'schedules': schedules, 'maps': maps, 'random states': self._streams,
                 'counters': (runner.epoch, runner.iter)}
        if self._streams is None:
            # Killed after the last checkpoint: no step was left to make.
            del parts['random states']
        digests = {name: digest(part) for name, part in parts.items()}
        Path(runner.work_dir, 'end.json').write_text(json.dumps(digests))


def _arrays(value: object) -> object:
    """Tensors as arrays, whose pickles depend on their values alone."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy().copy()
    if isinstance(value, dict):
        return {key: _arrays(each) for key, each in value.items()}
    return [_arrays(each) for each in value] if isinstance(value, (list, tuple)) else value


def digest(value: object) -> str:
    """SHA-256 of plain values and arrays."""
    # Not of one pickle: there, what was written before is a reference, equal or not.
    sha = hashlib.sha256()

    def add(each: object) -> None:
        if isinstance(each, dict):
            each = [part for pair in each.items() for part in pair]
        if isinstance(each, (list, tuple)):
            sha.update(f'[{len(each)}'.encode())
            for part in each:
                add(part)
        elif isinstance(each, np.ndarray):
            sha.update(f'{each.dtype}{each.shape}'.encode() + each.tobytes())
        else:
            sha.update(pickle.dumps(each))

    add(value)
    return sha.hexdigest()


def train(cfg: Config, folder: Path, phases: Phases) -> None:
    """Train or resume in this process."""
    torch.set_num_threads(1)
    cfg.work_dir, cfg.resume = str(folder), folder.is_dir()
    runner = launch.build_runner(cfg)
    runner.register_hook(EndState())
    runner.save_checkpoint = phases.during('checkpoint', runner.save_checkpoint)
    for hook in runner.hooks:
        if isinstance(hook, SaliencyUpdateHook):
            hook.refresh = phases.during('refresh', hook.refresh)
    model = unwrapped(runner)
    model.train_step = phases.during('step', model.train_step)
    runner.train()


def start(cfg: Config, folder: Path, phases: Phases, log: Path) -> int:
    """Train in a child that has the imports already; return its process id."""
    phases.now = 'elsewhere'
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        with launch.one_line_errors():
            train(cfg, folder, phases)
        status = 0
    except BaseException:
        # The child must not go on with what is the parent's.
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Trial:
    """Trainings of one config, killed and resumed.

    Args:
        cfg: The config.
        folder: For all files.
        seed: Of the moments.
    """

    def __init__(self, cfg: Config, folder: Path, seed: int) -> None:
        self.cfg = cfg
        self.folder = folder
        self.log = folder / 'children.log'
        self.phases = Phases()
        self.chance = random.Random(seed)
        self.hit: collections.Counter = collections.Counter()

    def unbroken(self) -> dict:
        """Train without interruption; return the digests of its end."""
        begun = time.perf_counter()
        durations = collections.defaultdict(list)
        child, phase, since = self._start('unbroken'), 'elsewhere', begun
        while not self._ended(child):
            if self.phases.now != phase:
                now = time.perf_counter()
                durations[phase].append(now - since)
                phase, since = self.phases.now, now
            time.sleep(1e-4)
        self.seconds = time.perf_counter() - begun
        self.typical = {name: sorted(seen)[len(seen) // 2] for name, seen in durations.items()}
        return self._end('unbroken')

    def broken(self, name: str, kills: int) -> tuple[dict, int]:
        """Train to the end with at most this many kills; return digests and kills."""
        done = 0
        while True:
            child = self._start(name)
            moment = self._moment(child) if done < kills else False
            if not moment:
                while not self._ended(child):
                    time.sleep(1e-3)
                return self._end(name), done
            os.kill(child, signal.SIGKILL)
            if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
                self.hit[self.phases.now] += 1
                done += 1
            elif Path(self.folder, name, 'end.json').is_file():
                return self._end(name), done

    def flipped(self, flips: int, wanted: dict) -> collections.Counter:
        """Resume a training several times, each time with one bit of its files flipped.

        Returns:
            How often it ended ``equal`` to the uninterrupted one or ``different``, was ``refused``
            in one line, or ``failed`` otherwise.
        """
        base, trial = self.folder / 'base', self.folder / 'flipped'
        child = self._start('base')
        while len(list(base.glob('*.pth'))) < 2 or not any(base.glob('saliency/*.amtmap')):
            if self._ended(child):
                raise InputError('the training leaves no two checkpoints and a map to damage')
            time.sleep(1e-3)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        files = [path.relative_to(base) for path in (
            *sorted(base.glob('*.pth')), *sorted(base.glob('saliency/*.amtmap')),
            base / 'last_checkpoint')]
        outcomes: collections.Counter = collections.Counter()
        for _ in range(flips):
            shutil.rmtree(trial, ignore_errors=True)
            shutil.copytree(base, trial)
            file = self.chance.choice(files)
            content = bytearray((trial / file).read_bytes())
            bit = self.chance.randrange(8 * len(content))
            content[bit // 8] ^= 1 << bit % 8
            (trial / file).write_bytes(content)
            status = os.waitstatus_to_exitcode(os.waitpid(self._start('flipped'), 0)[1])
            outcome = {0: 'equal', 2: 'refused'}.get(status, 'failed')
            if status == 0 and any(wanted[part] != value
                                   for part, value in self._end('flipped').items()):
                outcome = 'different'
            if outcome in ('different', 'failed'):
                print(f'bit {bit} of {file}: {outcome}')
            outcomes[outcome] += 1
        return outcomes

    def _moment(self, child: int) -> bool:
        """Wait for a moment to kill; False if the child ends before."""
        aims = ('any time', *(set(self.typical) - {'elsewhere'}))
        aim = self.chance.choice(sorted(aims))
        if aim == 'any time':
            return self._wait(child, self.chance.uniform(0, self.seconds))
        # Up to the second time, so that each attempt comes forward a little.
        for _ in range(self.chance.randint(1, 2)):
            while self.phases.now == aim:
                if self._wait(child, 0) is False:
                    return False
            while self.phases.now != aim:
                if self._wait(child, 0) is False:
                    return False
        return self._wait(child, self.chance.uniform(0, self.typical[aim]))

    def _wait(self, child: int, seconds: float) -> bool:
        until = time.perf_counter() + seconds
        while True:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return False
            left = until - time.perf_counter()
            time.sleep(max(1e-5, min(left, 1e-3)))
            if left <= 0:
                return True

    def _start(self, name: str) -> int:
        return start(self.cfg, self.folder / name, self.phases, self.log)

    def _ended(self, child: int) -> bool:
        return os.waitpid(child, os.WNOHANG)[0] == child

    def _end(self, name: str) -> dict:
        path = self.folder / name / 'end.json'
        if not path.is_file():
            last = self.log.read_text().strip().splitlines()[-1:]
            raise InputError(f'the training in {path.parent} did not end: {"".join(last)} (see '
                             f'{self.log})')
        return json.loads(path.read_text())


def _skip_slow_parts(cfg: Config) -> None:
    """Keep MMEngine from work that would dominate a small training."""
    # It asks every compiler of the machine for its version,
    Runner._log_env = lambda *args: None
    # and formats the config anew for each checkpoint.
    text = cfg.pretty_text
    Config.pretty_text = property(lambda self: text)


def main(argv: list[str] | None = None) -> int:
    """Run the trial and report."""
    args = parse_args(argv)
    with launch.one_line_errors():
        if min(args.kills, args.flips) < 0 or args.kills + args.flips < 1:
            raise InputError(f'--kills {args.kills} --flips {args.flips}: give at least 1 of them')
        cfg = launch.load_config(args.config, args)
        folder = Path(cfg.work_dir)
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f'--work-dir {folder} is not empty: name a new folder')
        folder.mkdir(parents=True, exist_ok=True)
        _skip_slow_parts(cfg)
        trial = Trial(cfg, folder, args.seed)
        wanted = trial.unbroken()
        kills = runs = different = 0
        while kills < args.kills:
            found, killed = trial.broken(f'run{runs}', args.kills - kills)
            kills, runs = kills + killed, runs + 1
            parts = [part for part, value in found.items() if wanted[part] != value]
            if parts:
                different += 1
                print(f'run{runs - 1}, killed {killed} times: {", ".join(parts)} differ')
            else:
                shutil.rmtree(folder / f'run{runs - 1}')
        where = ', '.join(f'{trial.hit[phase]} in {phase}' for phase in PHASES)
        if args.kills:
            print(f'{kills} kills ({where}) over {runs} runs: '
                  f'{"all ended as the unbroken one" if not different else f"{different} differ"}')
        outcomes = trial.flipped(args.flips, wanted) if args.flips else collections.Counter()
        if args.flips:
            print(f'{args.flips} flipped bits: '
                  f'{", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())}')
        return 1 if different or outcomes['different'] or outcomes['failed'] else 0


if __name__ == '__main__':
    sys.exit(main())
