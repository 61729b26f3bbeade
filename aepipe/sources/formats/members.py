"""A member of an archive, as all formats of archives give it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from aepipe.sources.item import Reader

LINK = "a link in an archive, which is not followed"
"""Why a link is no item."""
_DRIVE = re.compile("[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        name: its path in the archive, with ``/``.
        at: where it is, for the module's ``read_at``.
        reader: returns its bytes, or refuses.
    """

    name: str
    at: str
    reader: Reader

    @property
    def stem(self) -> str:
        """The path up to the first dot of the name, which texts about a file share with it."""
        folder, slash, name = self.name.rpartition("/")
        return f"{folder}{slash}{name.partition('.')[0]}"

    @property
    def ending(self) -> str:
        """The rest of the name, in lower case: ``.jpg``."""
        return self.name[len(self.stem) :].lower()


def leaves(name: str) -> bool:
    """Tell whether a name leads out of the folder that an archive would be unpacked to."""
    return ".." in PurePosixPath(name).parts or name.startswith("/") or bool(_DRIVE.match(name))
