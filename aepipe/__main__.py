"""``python -m aepipe`` is ``aepipe``."""

from __future__ import annotations

from aepipe.cli.main import main

if __name__ == "__main__":
    main()
