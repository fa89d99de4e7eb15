"""A folder from elsewhere may have links under the names that are written: none is followed."""

import ast
import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from amt_mm.apis import jobs
from amt_mm.apis.feature_parts import FeatureParts, joined
from amt_mm.checkpoints import safe_save
from amt_mm.datasets.bad_images import BadImages
from amt_mm.datasets.download import fetch
from amt_mm.errors import InputError
from amt_mm.file_lock import file_lock
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.guidance.map_reference import _copy
from amt_mm.saliency import SaliencyWriter
from amt_mm.visualization import write_table

ROOT = Path(__file__).parents[1]


@pytest.fixture
def linked(tmp_path):
    """The factory of links, under names in ``run``, to a file of the user."""
    victim = tmp_path / 'victim'
    victim.write_text('thesis')

    def make(*names):
        for name in names:
            link = tmp_path / 'run' / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(victim)
        return tmp_path / 'run'

    yield make
    assert victim.read_text() == 'thesis'


def test_a_link_is_replaced_by_what_is_written(linked):
    folder = linked('a.txt', '.a.txt.saving', 'table.md', 'table.json')
    safe_save.write_text(folder / 'a.txt', 'new')
    write_table(folder / 'table', [{'a': 1}], {'a': 'A'})
    assert (folder / 'a.txt').read_text() == 'new'
    assert not any(path.is_symlink() for path in folder.iterdir())


def test_a_link_is_replaced_by_arrays(linked, tmp_path):
    folder = linked('a.amtmap', 'a.amtmap.tmp', 'b.amtmap.tmp')
    with SaliencyWriter(folder / 'a.amtmap', 3, (2, 2), 'print') as writer:
        writer.write(torch.arange(3), torch.rand(3, 4))
        writer.commit()
    _copy(folder / 'a.amtmap', folder / 'b.amtmap')
    assert (folder / 'a.amtmap').read_bytes() == (folder / 'b.amtmap').read_bytes()
    assert not any(path.is_symlink() for path in folder.iterdir())


def lock(folder):
    with file_lock(folder):
        pass


def joined_parts(folder):
    parts = [FeatureParts(folder.parent / str(i), {}, np.float32) for i in range(2)]
    for part in parts:
        part.add(np.ones((1, 2)), [])
    joined(folder / 'rows', parts)


@pytest.mark.parametrize(('name', 'write'), [
    ('.lock', lock),
    ('bad_images_rank0.txt', lambda folder: BadImages(folder, str, 9).add(1, 'why')),
    ('rows', lambda folder: FeatureParts(folder, {}, np.float32)), ('rows', joined_parts),
    *[('train.log', lambda folder, how=how: jobs.run_tool('train', [], [], folder, **how))
      for how in ({'quiet': True}, {'show': ['x']})]])
def test_what_is_appended_to_a_link_is_refused(linked, name, write):
    with pytest.raises(InputError, match=f'{name}: is a symbolic link'):
        write(linked(name))


def test_a_download_is_not_written_through_a_link(linked, tmp_path):
    (tmp_path / 'served').mkdir()
    content = bytes(1000)
    (tmp_path / 'served/a').write_bytes(content)
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(
            SimpleHTTPRequestHandler, directory=tmp_path / 'served')) as server:
        threading.Thread(target=server.serve_forever, args=(.01, ), daemon=True).start()
        with pytest.raises(InputError, match='a.part: is a symbolic link'):
            fetch(f'http://127.0.0.1:{server.server_port}/a', linked('a.part') / 'a',
                  len(content), hashlib.md5(content).hexdigest())
        server.shutdown()


@pytest.mark.slow
def test_a_run_follows_no_link(linked, toy_runner, tmp_path):
    def train(folder):
        runner = toy_runner(folder, [SaliencyUpdateHook(begin=1)], epochs=2)
        object.__setattr__(runner.cfg, '_filename', 'mine.py')
        runner.train()

    train('before')
    # But its folder of logs, which has the time as its name, and the lock, which is refused.
    names = [str(path.relative_to(tmp_path / 'before'))
             for path in (tmp_path / 'before').rglob('*') if path.is_file()
             and not path.relative_to(tmp_path / 'before').parts[0].startswith(('20', '.run'))]
    assert {'epoch_2.pth', 'mine.py', 'last_checkpoint'} < set(names)
    linked(*names)
    train('run')
    assert not [name for name in names if (tmp_path / 'run' / name).is_symlink()]


def test_the_folder_itself_may_be_a_link(linked, tmp_path):
    (tmp_path / 'disk/saliency').mkdir(parents=True)
    (tmp_path / 'work').symlink_to('disk')
    BadImages(tmp_path / 'work', str, 900).add(1, 'why')
    write_table(tmp_path / 'work/table', [{'a': 1}], {'a': 'A'})
    lock(tmp_path / 'work')
    assert {path.name for path in (tmp_path / 'disk').iterdir()} == {
        'saliency', 'bad_images_rank0.txt', 'table.md', 'table.json', '.lock'}


# Where the file is a new one, or in a folder of its own.
NEW = {'checkpoints/seal.py', 'saliency/map_file.py', 'saliency/writer.py',
       'datasets/download/unpacking.py', 'apis/feature_files.py', 'apis/doctor/folders.py'}


@pytest.mark.parametrize('folder', ['amt_mm', 'tools'])
def test_every_file_is_written_by_what_follows_no_link(folder):
    found = []
    for path in (ROOT / folder).rglob('*.py'):
        name, text = str(path.relative_to(ROOT / folder)), path.read_text()
        if name in NEW or not ('open(' in text or '.write_' in text):
            continue
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and follows(call):
                found.append(f'{name}:{call.lineno}: {ast.unparse(call)}')
    assert not found


def follows(call):
    """Whether a call writes a file that is not a temporary one, and may be a link."""
    name = ast.unparse(call.func)
    if name.endswith(('.write_text', '.write_bytes')):
        return 'temporary' not in name
    if not name.endswith('open'):
        return False
    text = ast.unparse(call)
    modes = [each.value for each in ast.walk(call) if isinstance(each, ast.Constant)]
    return not ('no_link' in text or text.startswith(('open(temporary', 'open(number'))) and any(
        mode in ('w', 'wb', 'a', 'ab', 'ab+', 'r+b', 'w+') for mode in modes)
