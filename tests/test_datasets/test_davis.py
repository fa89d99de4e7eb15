"""DavisVideos: frames of the listed videos in order, and what is missing in one line."""

import os

import numpy as np
import pytest
from video_toys import moving, write_video

from amt_mm.datasets import DavisVideos
from amt_mm.errors import InputError

PIPELINE = [dict(type='amt_mm.LoadMask'), dict(type='amt_mm.LoadImage'),
            dict(type='PackInputs', algorithm_keys=['gt_seg_map'], meta_keys=['video'])]


@pytest.fixture
def root(tmp_path):
    for number, name in enumerate(('swan', 'bear')):
        write_video(tmp_path, name, moving(35, 53, 3 + number, [(2, 3, 5)], 11, 4))
    write_video(tmp_path, 'other', moving(35, 53, 3, [(1, 3, 5)], 11, 4), split='train')
    return tmp_path


def test_frames_follow_each_other_with_their_masks(root):
    with open(root / 'ImageSets/2017/val.txt', 'a') as file:
        file.write('\nswan\n')  # twice is once
    dataset = DavisVideos(data_root=str(root), pipeline=PIPELINE)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [(info['video'], info['img_path'].removeprefix(f'{root}/JPEGImages/480p/'),
             info['seg_map_path'].removeprefix(f'{root}/Annotations/480p/')) for info in infos] == [
                 (name, f'{name}/{number:05}.jpg', f'{name}/{number:05}.png')
                 for name, count in (('swan', 3), ('bear', 4)) for number in range(count)]
    sample = dataset[6]
    assert sample['inputs'].shape == (3, 35, 53) and sample['data_samples'].video == 'bear'
    # Indices of the palette, not its colours.
    np.testing.assert_array_equal(sample['data_samples'].gt_seg_map,
                                  moving(35, 53, 4, [(2, 3, 5)], 11, 4)[3])
    assert len(DavisVideos(data_root=str(root), split='train')) == 3


def test_a_list_from_windows_and_names_of_any_bytes(root):
    odd = os.fsdecode(b'\xe9')
    for folder in ('JPEGImages', 'Annotations'):
        (root / folder / '480p/bear').rename(root / folder / '480p' / odd)
    (root / 'ImageSets/2017/val.txt').write_bytes(b'\xef\xbb\xbfswan\r\n\xe9\r\n')
    dataset = DavisVideos(data_root=str(root))
    assert {dataset.get_data_info(i)['video'] for i in range(len(dataset))} == {'swan', odd}


def test_what_is_missing_is_named(root):
    (root / 'Annotations/480p/bear/00002.png').unlink()
    with pytest.raises(InputError, match=r'bear/00002.png: does not exist \(1 of 4 frames'):
        DavisVideos(data_root=str(root))
    (root / 'ImageSets/2017/val.txt').write_text('swan\nhorse\n')
    with pytest.raises(InputError, match='480p/horse: has no frames .*2017/val.txt lists this'):
        DavisVideos(data_root=str(root))
    for name in ('../480p/swan', '..', str(root / 'JPEGImages/480p/swan')):
        (root / 'ImageSets/2017/val.txt').write_text(f'swan\n{name}\n')
        with pytest.raises(InputError, match='val.txt lists .*, which is not the name of a folder'):
            DavisVideos(data_root=str(root))
    (root / 'ImageSets/2017/val.txt').write_text('\n')
    with pytest.raises(InputError, match='val.txt: names no video'):
        DavisVideos(data_root=str(root))
    with pytest.raises(InputError, match='test.txt: does not exist; set data_root to'):
        DavisVideos(data_root=str(root), split='test')
    with pytest.raises(InputError, match='get it by: curl -LO .*DAVIS-2017-trainval-480p.zip'):
        DavisVideos(data_root=str(root / 'DAVIS'))
