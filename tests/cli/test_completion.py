"""Do shells complete commands, options and file names?

The script is evaluated in the shell itself, in a pseudo-terminal, and keys are pressed.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from chunkstore.cli import main
from tests.support import is_continuous_integration

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = termios = None

SCRIPTS = Path(sys.executable).parent
START = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        'PS1="> "; eval "$(chunkstore completion bash)"',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        'PS1="> "; autoload -U compinit; compinit -u; eval "$(chunkstore completion zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "chunkstore completion fish | source"),
}
WAIT_SECONDS = 60


class Shell:
    """A shell in a terminal of its own."""

    def __init__(self, name, folder):
        command, setup = START[name]
        self._ours, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (24, 200))
        self._told = ""
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            start_new_session=True,
            # The terminal becomes that of the session, without which some shells end at once.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={
                **os.environ,
                "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(folder),
                "TERM": "dumb",
                "INPUTRC": "/dev/null",
                "HISTFILE": "",
            },
        )
        os.close(theirs)
        # The echo of what is typed has the quotes, so only the shell's answer matches.
        self._first = f"{setup}; echo rea'dy'\n"

    def start(self):
        """Let the shell learn to complete."""
        self.press(self._first)
        self.wait_for("ready")

    def press(self, keys):
        os.write(self._ours, keys.encode())

    def wait_for(self, text):
        """Read what the shell shows until the text is there."""
        end = time.monotonic() + WAIT_SECONDS
        while text not in self._told:
            if not select.select([self._ours], [], [], max(0.0, end - time.monotonic()))[0]:
                pytest.fail(f"{text!r} does not come; the shell shows {self._told!r}")
            self._told += os.read(self._ours, 4096).decode(errors="replace")
        self._told = self._told.partition(text)[2]

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture(params=START)
def shell(request, tmp_path):
    if termios is None:
        pytest.skip("there is no pseudo-terminal here")
    if shutil.which(request.param) is None:
        has_all = os.environ.get("CHUNKSTORE_REQUIRED") == "all"
        if is_continuous_integration() and (has_all or request.param == "bash"):
            pytest.fail(f"{request.param} must be there", pytrace=False)
        pytest.skip(f"{request.param} is not installed here")
    (tmp_path / "photographs.zarr.zip").touch()
    shell = Shell(request.param, tmp_path)
    try:
        shell.start()
        yield shell
    finally:
        shell.close()


def test_a_shell_completes_commands_options_choices_and_files(shell):
    shell.press("chunkstore veri\t")
    shell.wait_for("chunkstore verify")
    shell.press("\x15chunkstore import imag\t")
    shell.wait_for("import images")
    shell.press("\x15chunkstore import images --resamp\t")
    shell.wait_for("--resample")
    shell.press("\x15chunkstore info photo\t")
    shell.wait_for("info photographs.zarr.zip")


@pytest.mark.parametrize("name", START)
def test_the_script_is_for_the_shell_that_is_named(name):
    result = CliRunner().invoke(main, ["completion", name])
    assert result.exit_code == 0
    assert "_CHUNKSTORE_COMPLETE" in result.stdout
    assert f"{name}_complete" in result.stdout


def test_another_shell_is_refused_with_those_there_are():
    result = CliRunner().invoke(main, ["completion", "tcsh"])
    assert result.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in result.stderr
