"""Run by every Python that is started with ``--pull``: a gate in a process of its own reads untapped too."""

import contextlib

with contextlib.suppress(ImportError):  # of a Python that has no gate
    from ssegate.relay import Relay

    Relay.push = False
