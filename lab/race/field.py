"""Who races."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """One implementation of pre-training.

    Attributes:
        module: In :mod:`lab.race.contestants`.
        arguments: Of its command line.
        ours: Whether it is a recipe of amt_mm; the others are peers.
        own_environment: Whether it needs lab/race/requirements.txt instead of amt_mm's stack.
    """

    module: str
    arguments: tuple[str, ...] = ()
    ours: bool = False
    own_environment: bool = False


def _recipe(name: str, ours: bool) -> Contestant:
    return Contestant('openmmlab_mae', ('--recipe', name), ours=ours)


# In the order of the table, and of the start.
CONTESTANTS = {
    **{name: _recipe(name, ours=True) for name in ('recommended', 'mae', 'amt')},
    'mmpretrain': _recipe('mmpretrain', ours=False),
    **{name: Contestant(f'{name}_mae', own_environment=True)
       for name in ('lightly', 'transformers', 'plain')},
}
