"""A program: the offline API with our script. Prints its environment as JSON, ends when its input does."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from claude_nb.offline import OfflineAPI

SCRIPT = Path(__file__).with_name("script.yaml")


def main(config_dir: str) -> None:
    logging.disable()  # tornado reports each reply that an Interrupt has cut off
    with OfflineAPI(script=SCRIPT) as api:
        print(json.dumps(api.environment(config_dir)), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
