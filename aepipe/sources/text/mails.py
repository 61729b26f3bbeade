"""Attachments of a mail, which are not read."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default


def attachments(data: bytes) -> list[str]:
    """Return the names of the files that are attached to a mail.

    A file without a name is named by its type: ``image/png``.

    Args:
        data: all bytes of the mail.
    """
    found = list[str]()
    try:
        parts = list(message_from_bytes(data, policy=default).walk())
    except RecursionError:  # mails within mails, deeper than anybody sends
        return found
    for part in parts:
        try:
            name, attached = part.get_filename(), part.get_content_disposition() == "attachment"
        except Exception:  # the parser raises whatever a broken header leads it to
            name, attached = None, True
        if name or attached:
            found.append(name or part.get_content_type())
    return found
