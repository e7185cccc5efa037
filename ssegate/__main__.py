"""``python -m ssegate`` is the ``ssegate`` command."""

from ssegate.cli import main

if __name__ == "__main__":
    main()
