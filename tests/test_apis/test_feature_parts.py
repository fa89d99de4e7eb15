"""FeatureParts: what is on disk after an interruption, and whose it is."""

import json

import numpy as np
import pytest

from amt_mm.apis.feature_parts import FeatureParts, joined
from amt_mm.errors import InputError

IDENTITY = dict(checkpoint='a', blocks=[1, 2])


def rows(start, count):
    return np.arange(start, start + 6 * count, dtype=np.float32).reshape(count, 2, 3)


def test_what_was_not_saved_is_written_again(tmp_path):
    parts = FeatureParts(tmp_path / 'parts', IDENTITY, np.float32)
    parts.add(rows(0, 3), [(2, 'broken')])
    parts.save()
    parts.add(rows(900, 2), [(7, 'never saved')])
    parts.close()
    again = FeatureParts(tmp_path / 'parts', IDENTITY, np.float32)
    assert (again.batches, again.rows, again.shape) == (1, 3, (2, 3))
    assert again.left_out == {2: 'broken'}
    again.add(None, [(4, 'gone')])
    again.add(rows(18, 1), [])
    assert again.batches == 3 and np.array_equal(again.array(), rows(0, 4))
    assert isinstance(again.array(), np.memmap)
    again.close()


def test_rows_of_several_folders_are_joined(tmp_path):
    parts = [FeatureParts(tmp_path / name, IDENTITY, np.float32) for name in 'abc']
    parts[0].add(rows(0, 3), [])
    parts[1].add(None, [(3, 'broken')])
    parts[2].add(rows(18, 2), [])
    found = joined(tmp_path / 'rows', parts)
    assert isinstance(found, np.memmap) and np.array_equal(found, rows(0, 5))
    assert np.array_equal(joined(tmp_path / 'none', parts[2:]), rows(18, 2))
    assert not (tmp_path / 'none').exists()
    for part in parts:
        part.close()


def test_half_precision_takes_half_the_bytes(tmp_path):
    parts = FeatureParts(tmp_path, IDENTITY, np.float16)
    parts.add(rows(0, 3), [])
    parts.save()
    assert (tmp_path / 'rows').stat().st_size == 36 and np.array_equal(parts.array(), rows(0, 3))
    parts.close()


def test_progress_without_settings_is_of_other_features(tmp_path):
    """A kill while the folder was removed can leave it."""
    parts = FeatureParts(tmp_path, IDENTITY, np.float32)
    parts.add(rows(0, 3), [])
    parts.save()
    parts.close()
    (tmp_path / 'settings.json').unlink()
    again = FeatureParts(tmp_path, {**IDENTITY, 'checkpoint': 'b'}, np.float32)
    assert (again.batches, again.rows) == (0, 0)
    again.close()


def test_another_identity_is_refused_by_what_differs(tmp_path):
    FeatureParts(tmp_path, IDENTITY, np.float32).close()
    with pytest.raises(InputError, match='begun with other blocks: '):
        FeatureParts(tmp_path, {**IDENTITY, 'blocks': [2]}, np.float32)


@pytest.mark.parametrize('change', [
    dict(rows=-1), dict(batches=-1), dict(batches=1.), dict(shape=[2, -3]), dict(shape='23'),
    dict(left_out=[]), dict(left_out={'x': 'why'}),
    dict(left_out={'9' * 5000: 'why'}), dict(left_out={'1': None}), dict(more=1), None])
def test_damaged_progress_is_named(tmp_path, change):
    parts = FeatureParts(tmp_path, IDENTITY, np.float32)
    parts.add(rows(0, 3), [(2, 'broken')])
    parts.save()
    parts.close()
    file = tmp_path / 'progress.json'
    file.write_text(json.dumps(change and {**json.loads(file.read_text()), **change}))
    with pytest.raises(InputError, match=r'progress\.json is damaged: remove this folder'):
        FeatureParts(tmp_path, IDENTITY, np.float32)
    (tmp_path / 'settings.json').write_text('[]')
    with pytest.raises(InputError, match='begun with other checkpoint, blocks: '):
        FeatureParts(tmp_path, IDENTITY, np.float32)


@pytest.mark.parametrize('left', [0, 71])
def test_lost_rows_are_not_taken_for_zeros(tmp_path, left):
    parts = FeatureParts(tmp_path, IDENTITY, np.float32)
    parts.add(rows(0, 3), [])
    parts.save()
    parts.close()
    (tmp_path / 'rows').write_bytes((tmp_path / 'rows').read_bytes()[:left])
    with pytest.raises(InputError, match=rf'its file rows has {left} bytes and should have 72'):
        FeatureParts(tmp_path, IDENTITY, np.float32)
