"""The ``ssegate`` command, and ``python -m ssegate``."""

import gc

gc.disable()  # what is imported stays: to look through it again and again took 3 % of a start
from ssegate.cli import main  # noqa: E402

gc.enable()

__all__ = ["main"]

if __name__ == "__main__":
    main()
