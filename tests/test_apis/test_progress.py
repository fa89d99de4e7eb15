"""The bar over several trainings counts the steps that they have logged."""

import io
import json
import time

from amt_mm.apis import progress


def test_steps_of_all_runs(tmp_path, monkeypatch):
    bars = []

    class Bar(progress.tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{**kwargs, 'disable': False, 'file': io.StringIO()})
            bars.append(self)

    monkeypatch.setattr(progress, 'tqdm', Bar)
    monkeypatch.setattr(progress, '_SECONDS', .01)
    runs = [tmp_path / name for name in 'ab']
    with progress.following(runs, 50):
        for run, steps in zip(runs, (7, 20), strict=True):
            folder = run / '20200101_000000' / 'vis_data'
            folder.mkdir(parents=True)
            records = [{'step': step, 'loss': 1} for step in (1, steps)] + [{'step': 99, 'knn': 3}]
            (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, records)) + '\n{"st')
        limit = time.monotonic() + 20
        while bars[0].n != 27 and time.monotonic() < limit:
            time.sleep(.01)
        assert bars[0].n == 27  # half a line at the end is not counted yet
    assert bars[0].n == 50
