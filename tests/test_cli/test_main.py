"""amt: subcommands, and what it says of those that do not exist."""

import json
import subprocess
import sys

import pytest

from amt_mm import __version__, shipped
from amt_mm.cli import main as cli


def amt(*arguments):
    return subprocess.run([sys.executable, '-m', 'amt_mm', *arguments], capture_output=True,
                          text=True)


def test_every_command_has_its_tool_and_a_line_of_help():
    said = amt('--help').stdout
    for name, (tool, text) in cli.COMMANDS.items():
        assert (shipped.tools_folder() / tool).is_file()
        assert f'  {name} ' in said and text in said


@pytest.mark.parametrize('command', cli.COMMANDS)
def test_help_of_a_command_names_it_as_it_is_called(command):
    done = amt(command, '--help')
    assert done.returncode == 0 and done.stdout.startswith(f'usage: amt {command} ')
    # Examples are in words that one can type.
    assert f'  amt {command} ' in done.stdout.partition('\nexamples:\n')[2]


def test_a_mistyped_command():
    done = amt('evalaute', 'x.pth')
    assert done.returncode == 2
    assert done.stderr.endswith('error: evalaute: no such command; did you mean evaluate?\n')


def test_help_and_version_import_no_stack():
    code = ('import json, sys\nfrom amt_mm.cli.main import main\nsys.argv = ["amt", "{}"]\n'
            'try:\n    main()\nexcept SystemExit:\n    print(json.dumps(sorted(sys.modules)))')
    for flag in ('--help', '--version'):
        done = subprocess.run([sys.executable, '-c', code.format(flag)], capture_output=True,
                              text=True, check=True)
        *said, modules = done.stdout.splitlines()
        assert said and not {'torch', 'mmengine', 'numpy'} & set(json.loads(modules))
    assert said == [f'amt_mm {__version__}']
