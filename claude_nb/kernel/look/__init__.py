"""Looking at the user's live namespace without touching it.

What is looked at may be anything: an object whose `repr` sleeps, a property that deletes files, a class that
lies about itself, a frame of 5 GB, a generator that is half used. So the rules are:

- What a value is, is told by its real type and that type's real bases (`real`), never by `isinstance`, which
  asks the value, nor by `hasattr`, which runs its code.
- A method is called only where it is known to be Python's or a library's own: on exact types of Python, on
  classes that stand in the library under the name they bear, on subclasses seen as the library's class.
- `repr` is taken of exact simple types only (`literals`). Everything else is described by us.
- Libraries are used if they are imported, and never imported by us.
- What can be large is sampled; what is lazy stays lazy; every text has a bound.

`real` tells types, `kinds` tells which of the types we know a value is, `literals` and `briefly` make short
texts, the `describe_...` modules longer ones. `namespace` is about all variables. Nothing here raises, but
for `resolve`, and all of it may be called in any thread while the user's code runs.
"""

from __future__ import annotations

from claude_nb.kernel.look.briefly import brief
from claude_nb.kernel.look.fingerprints import fingerprint
from claude_nb.kernel.look.inspecting import inspect_value
from claude_nb.kernel.look.namespace import is_ours, variables
from claude_nb.kernel.look.paths import resolve

__all__ = ["brief", "fingerprint", "inspect_value", "is_ours", "resolve", "variables"]
