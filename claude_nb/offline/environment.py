"""The environment that makes Claude Code talk to the offline server and to nothing else."""

from __future__ import annotations

from os import PathLike, fspath

# Every request that is not a turn: telemetry, updates, error reports, feature flags.
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
}

# Each of these would win over the base address or the key, so that a person's own set-up would
# send the demo's prompts to a real account. Claude Code takes an empty value for none.
NEUTRALISED = {
    "ANTHROPIC_AUTH_TOKEN": "",
    "ANTHROPIC_CUSTOM_HEADERS": "",
    "ANTHROPIC_UNIX_SOCKET": "",
    "CLAUDE_CODE_OAUTH_TOKEN": "",
    "CLAUDE_CODE_USE_BEDROCK": "",
    "CLAUDE_CODE_USE_FOUNDRY": "",
    "CLAUDE_CODE_USE_VERTEX": "",
}

LOOPBACK_WITHOUT_PROXY = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def environment(url: str, token: str, config_dir: str | PathLike[str]) -> dict[str, str]:
    """The variables to add to a child's environment; `config_dir` replaces the person's own `~/.claude`."""
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": token,
        "CLAUDE_CONFIG_DIR": fspath(config_dir),
        **QUIET,
        **NEUTRALISED,
        **LOOPBACK_WITHOUT_PROXY,
    }
