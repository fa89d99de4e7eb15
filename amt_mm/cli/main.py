"""The command ``amt``: one subcommand for each thing that one wants to do."""

from __future__ import annotations

import argparse
import sys
from importlib.util import module_from_spec, spec_from_file_location

from ..did_you_mean import did_you_mean
from ..shipped import tools_folder
from ..version import __version__

# Subcommand -> its tool, and what it does. The tools parse their arguments before they import the
# stack, and so does this file.
COMMANDS = {
    'pretrain': ('pretrain.py', 'train an encoder on a folder of images'),
    'evaluate': ('evaluate.py', 'measure checkpoints by k-NN, probes and fine-tuning'),
    'view': ('view.py', 'show what an encoder does with images, on one page'),
    'embed': ('embed.py', 'write the features of a folder of images into a file'),
    'export': ('export.py', 'write an encoder for timm, transformers, ONNX or torch.export'),
    'statistics': ('dataset_tools/image_statistics.py',
                   'look at all images of a folder, and how they are to be read'),
    'pack': ('dataset_tools/pack_dataset.py', 'put a folder of images into one file'),
    'doctor': ('doctor.py', 'check whether training can run here'),
    'download': ('dataset_tools/download_dataset.py', 'get a public data set'),
}
EXAMPLES = """
examples:
  amt pretrain photographs
  amt evaluate work_dirs/NAME/epoch_400.pth --data photographs
  amt view work_dirs/NAME/epoch_400.pth photographs

`amt COMMAND --help` has the options and examples of a command. Bad input ends in one line and exit
status 2.
"""


def main() -> None:
    """Run the tool of a subcommand, in this process."""
    width = max(map(len, COMMANDS))
    commands = '\n'.join(f'  {name:{width}}  {text}' for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        'amt', description='Pre-train vision transformers on your own images, and use them.',
        usage='amt COMMAND ...', epilog=f'commands:\n{commands}\n{EXAMPLES}',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--version', action='version', version=f'amt_mm {__version__}')
    parser.add_argument('command', metavar='COMMAND', help='see below')
    command = parser.parse_args(sys.argv[1:2]).command
    if command not in COMMANDS:
        parser.error(f'{command}: no such command{did_you_mean(command, COMMANDS)}')
    # What the usage line of the tool says (runpy would put the name of the file there).
    sys.argv = [f'amt {command}', *sys.argv[2:]]
    spec = spec_from_file_location('__main__', tools_folder() / COMMANDS[command][0])
    tool = sys.modules['__main__'] = module_from_spec(spec)
    spec.loader.exec_module(tool)
