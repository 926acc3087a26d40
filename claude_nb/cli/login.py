"""`jupyter claude login`: become Claude Code's own sign-in."""

from __future__ import annotations

import argparse
import os
import sys

from claude_nb.cli import CommandError
from claude_nb.launch import find_cli


def run(arguments: argparse.Namespace) -> int:
    """Replace this process; returns only if that fails."""
    cli = find_cli()
    passed_on = arguments.options[1:] if arguments.options[:1] == ["--"] else arguments.options
    sys.stdout.flush()
    try:
        os.execv(cli, [str(cli), "auth", "login", *passed_on])
    except OSError as error:
        raise CommandError(
            f"{cli} does not run: {error.strerror}. "
            "Reinstall it with `pip install --force-reinstall claude-agent-sdk`."
        ) from error
