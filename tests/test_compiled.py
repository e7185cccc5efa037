"""What holds only of a gate of which a part is compiled: ``make proof`` has one."""

from __future__ import annotations

import sys
from typing import Generic, Protocol

import pytest

import ssegate.server  # noqa: F401  # all that a gate consists of

MODULES = [
    module
    for name, module in sorted(sys.modules.items())
    if name.startswith("ssegate.") and str(module.__file__).endswith(".so")
]
NATIVE = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and kind.__module__ == module.__name__ and "__mypyc_attrs__" in vars(kind)
]


@pytest.mark.skipif(not MODULES, reason="nothing is compiled")
def test_no_compiled_class_extends_one_of_pythons():
    """One that extends a class of Python's ends the process once a weak reference to it outlives it."""
    assert len(NATIVE) > 20
    extended = {base for kind in NATIVE for base in kind.__mro__ if "__mypyc_attrs__" not in vars(base)}

    assert extended <= {object, Generic, Protocol}
