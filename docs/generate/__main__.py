"""Write the reference pages that differ from the code."""

from __future__ import annotations

from docs.generate import DOCS, pages


def main() -> None:
    """Write them, and print the name of each that changed."""
    for file, text in pages().items():
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            print(f"wrote docs/{file.relative_to(DOCS)}")


if __name__ == "__main__":
    main()
