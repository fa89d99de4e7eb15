"""Minutes to reach a share of what the best peer reaches in the end."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from amt_mm.visualization import markdown_table
from lab.race.field import CONTESTANTS

MEASURES = {'knn': 'k-NN', 'linear': 'linear probe'}
SHARES = (0.90, 0.95, 1.00)


def minutes_to_reach(points: Sequence[Mapping], measure: str, accuracy: float) -> float:
    """When a curve first reaches an accuracy, linear between its points; infinity if never.

    Args:
        points: With ``minutes``, ascending, and the measure.
        measure: Such as ``'knn'``.
        accuracy: In the unit of the measure.
    """
    if points[0][measure] >= accuracy:
        return points[0]['minutes']
    for before, after in itertools.pairwise(points):
        if after[measure] >= accuracy:
            share = (accuracy - before[measure]) / (after[measure] - before[measure])
            return before['minutes'] + share * (after['minutes'] - before['minutes'])
    return math.inf


def final(results: Iterable[Mapping], measure: str) -> float:
    """Mean accuracy at the end, over repeats."""
    return statistics.mean(result['points'][-1][measure] for result in results)


def compare(results: Sequence[Mapping], measure: str) -> dict | None:
    """Compare contestants by one measure.

    Args:
        results: Of all finished runs.
        measure: Such as ``'knn'``.

    Returns:
        ``best_peer``, its ``accuracy`` and the ``targets``, which are shares of it, and the
        ``rows``: ``contestant``, ``runs``, ``minutes`` of training and ``final`` accuracy (means),
        and for each target the minutes of each run, infinity if never. None without a peer.
    """
    of = {name: [result for result in results if result['contestant'] == name]
          for name in CONTESTANTS}
    of = {name: own for name, own in of.items() if own}
    peers = {name: final(own, measure) for name, own in of.items() if not CONTESTANTS[name].ours}
    if not peers:
        return None
    best = max(peers, key=peers.get)
    targets = [share * peers[best] for share in SHARES]
    rows = [dict(contestant=name, runs=len(own), final=final(own, measure),
                 minutes=statistics.mean(result['seconds'] for result in own) / 60,
                 steps=round(statistics.mean(result['steps'] for result in own)),
                 reached=[[minutes_to_reach(result['points'], measure, target) for result in own]
                          for target in targets]) for name, own in of.items()]
    return dict(best_peer=best, accuracy=peers[best], targets=targets, rows=rows)


def as_markdown(found: Mapping, measure: str) -> str:
    """Table of what :func:`compare` returns, and who was first at each target."""
    heads = {share: f'{share:.0%}: {target:.1f} %'
             for share, target in zip(SHARES, found['targets'], strict=True)}
    columns = {'contestant': 'contestant', 'runs': 'runs', **heads, 'final': 'final, %',
               'minutes': 'minutes', 'steps': 'steps'}
    cells = [{**{key: row[key] for key in ('contestant', 'runs', 'final', 'minutes', 'steps')},
              **dict(zip(SHARES, map(_spread, row['reached']), strict=True))}
             for row in found['rows']]
    table = markdown_table(cells, columns, {'final': '.1f', 'minutes': '.1f'})
    leaders = ''.join(f'\n{line}' for line in _leaders(found))
    return (f'## {MEASURES[measure]}\n\nMinutes to reach shares of {found["accuracy"]:.1f} %, the '
            f'final accuracy of the best peer, {found["best_peer"]}: median of the runs, with the '
            f'range of several; – if most runs do not reach it.\n\n{table}'
            + (f'{leaders}\n' if leaders else ''))


def _leaders(found: Mapping) -> Iterable[str]:
    """How far the first of ours is ahead of the first peer at each target, or behind."""
    for index, share in enumerate(SHARES):
        first = {}
        for ours in (True, False):
            times = {row['contestant']: statistics.median(row['reached'][index])
                     for row in found['rows'] if CONTESTANTS[row['contestant']].ours is ours}
            name = min(times, key=times.get, default=None)
            if name is not None and math.isfinite(times[name]):
                first[ours] = name, times[name]
        if len(first) == 2 and min(first[True][1], first[False][1]) > 0:
            (own, mine), (peer, theirs) = first[True], first[False]
            yield (f'- {share:.0%}: {own} after {mine:.1f} minutes, {peer} after {theirs:.1f}: '
                   f'{theirs / mine:.2f} times as fast')


def _spread(times: Sequence[float]) -> str | None:
    middle = statistics.median(times)
    if not math.isfinite(middle):
        return None
    if len(times) == 1:
        return f'{middle:.1f}'
    last = f'{max(times):.1f}' if math.isfinite(max(times)) else 'never'
    return f'{middle:.1f} ({min(times):.1f} to {last})'
