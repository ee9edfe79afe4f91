"""``kd-yolo search``: finds a person again, in a gallery of crops and from camera to camera."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

# name: (module, text); a module with several commands gets the name as the first word
COMMANDS = {
    "index": ("kd_yolo.cli.search.gallery", "add crops of people to a gallery"),
    "query": ("kd_yolo.cli.search.gallery", "rank a gallery for one image of a person"),
    "calibrate": ("kd_yolo.cli.search.gallery", "find the distance up to which two crops show one person"),
    "forget": ("kd_yolo.cli.search.gallery", "remove a person, a source or a time span from a gallery for good"),
    "track": ("kd_yolo.cli.search.track", "follow people through videos"),
    "link": ("kd_yolo.cli.search.track", "link the tracks of one person from camera to camera"),
    "serve": ("kd_yolo.cli.search.serve", "serve a web page on this machine to find a person and compare detectors"),
}
ALONE = {"serve"}


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo search") -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in {"-h", "--help"}:
        lines = "\n".join(f"  {name:10} {text}" for name, (_, text) in COMMANDS.items())
        print(f"usage: {prog} <{'|'.join(COMMANDS)}> [flags]\n\n{lines}\n\n{prog} <command> --help says more.")
        return 0 if words else 2
    name = words[0]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        print(f"error: unknown command '{name}'.{hint} Known: {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    command = importlib.import_module(COMMANDS[name][0]).main
    return int(command(words[1:], prog=f"{prog} {name}") if name in ALONE else command(words, prog=prog))
