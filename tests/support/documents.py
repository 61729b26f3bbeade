"""Small documents of every format that is read, made of the standard library only."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from html import escape

_TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>{}</Types>'
)
_OFFICE = "application/vnd.openxmlformats-officedocument."
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    "{}</Relationships>"
)


def pdf(pages: Sequence[str], *, encrypted: bool = False) -> bytes:
    """Return a PDF whose pages have these texts, in letters of ASCII; empty ones have no text."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(count))
    parts = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, page in enumerate(pages):
        lines = [page[at : at + 80] for at in range(0, len(page), 80)]
        shown = "".join(f"({line}) Tj 0 -14 Td " for line in lines)
        drawn = f"BT /F1 10 Tf 40 800 Td {shown}ET" if page else "0 0 100 100 re f"
        parts.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        parts.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    if encrypted:
        parts.append(f"<< /Filter /Standard /V 1 /R 2 /O <{'00' * 32}> /U <{'11' * 32}> /P -4 >>")
    out, places = b"%PDF-1.4\n", list[int]()
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{part}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    more = f"/Encrypt {len(parts)} 0 R /ID [<01> <01>]" if encrypted else ""
    tail = (
        f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(parts) + 1} /Root 1 0 R {more}"
    )
    return out + f"{tail} >>\nstartxref\n{len(out)}\n%%EOF\n".encode()


def packed(files: Mapping[str, str | bytes]) -> bytes:
    """Return a zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            stored = name == "mimetype"
            archive.writestr(name, content, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def docx(paragraphs: Sequence[str]) -> bytes:
    """Return a document of Word."""
    body = "".join(f"<w:p><w:r><w:t>{escape(text)}</w:t></w:r></w:p>" for text in paragraphs)
    part = f"{_OFFICE}wordprocessingml.document.main+xml"
    return packed(
        {
            "[Content_Types].xml": _TYPES.format(f'<Override PartName="/word/document.xml" ContentType="{part}"/>'),
            "_rels/.rels": _RELS.format(
                f'<Relationship Id="r1" Type="{_RELATION}/officeDocument" Target="word/document.xml"/>'
            ),
            "word/document.xml": '<?xml version="1.0"?><w:document xmlns:w='
            f'"http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>{body}</w:body></w:document>',
        }
    )


def pptx(slides: Sequence[str]) -> bytes:
    """Return a presentation of PowerPoint."""
    main, drawing = "http://schemas.openxmlformats.org/presentationml/2006/main", "drawingml/2006/main"
    numbers = range(1, len(slides) + 1)
    slide = (
        f'<?xml version="1.0"?><p:sld xmlns:p="{main}" xmlns:a="http://schemas.openxmlformats.org/{drawing}"><p:cSld>'
        "<p:spTree><p:sp><p:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld></p:sld>"
    )
    listed = "".join(f'<p:sldId id="{255 + number}" r:id="r{number}"/>' for number in numbers)
    files: dict[str, str | bytes] = {
        "[Content_Types].xml": _TYPES.format(
            f'<Override PartName="/ppt/presentation.xml" ContentType="{_OFFICE}presentationml.presentation.main+xml"/>'
        ),
        "_rels/.rels": _RELS.format(
            f'<Relationship Id="r1" Type="{_RELATION}/officeDocument" Target="ppt/presentation.xml"/>'
        ),
        "ppt/presentation.xml": f'<?xml version="1.0"?><p:presentation xmlns:p="{main}" xmlns:r="{_RELATION}">'
        f"<p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": _RELS.format(
            "".join(
                f'<Relationship Id="r{number}" Type="{_RELATION}/slide" Target="slides/slide{number}.xml"/>'
                for number in numbers
            )
        ),
    }
    return packed(files | {f"ppt/slides/slide{n}.xml": slide.format(escape(slides[n - 1])) for n in numbers})


def xlsx(rows: Sequence[Sequence[str]]) -> bytes:
    """Return a workbook of Excel with one sheet."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    cells = "".join(
        f'<row r="{number}">'
        + "".join(
            f'<c r="{chr(65 + column)}{number}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
            for column, value in enumerate(row)
        )
        + "</row>"
        for number, row in enumerate(rows, 1)
    )
    kinds = "".join(
        f'<Override PartName="/xl/{name}" ContentType="{_OFFICE}spreadsheetml.{kind}+xml"/>'
        for name, kind in (("workbook.xml", "sheet.main"), ("worksheets/sheet1.xml", "worksheet"))
    )
    return packed(
        {
            "[Content_Types].xml": _TYPES.format(kinds),
            "_rels/.rels": _RELS.format(
                f'<Relationship Id="r1" Type="{_RELATION}/officeDocument" Target="xl/workbook.xml"/>'
            ),
            "xl/workbook.xml": f'<?xml version="1.0"?><workbook xmlns="{main}" xmlns:r="{_RELATION}"><sheets>'
            '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": _RELS.format(
                f'<Relationship Id="r1" Type="{_RELATION}/worksheet" Target="worksheets/sheet1.xml"/>'
            ),
            "xl/worksheets/sheet1.xml": f'<?xml version="1.0"?><worksheet xmlns="{main}"><sheetData>{cells}</sheetData>'
            "</worksheet>",
        }
    )


def odt(paragraphs: Sequence[str], *, encrypted: bool = False) -> bytes:
    """Return a text of OpenDocument."""
    space = "urn:oasis:names:tc:opendocument:xmlns:"
    body = "".join(f"<text:p>{escape(text)}</text:p>" for text in paragraphs)
    secret = "<manifest:encryption-data/>" if encrypted else ""
    return packed(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f'<?xml version="1.0"?><office:document-content xmlns:office="{space}office:1.0" '
            f'xmlns:text="{space}text:1.0"><office:body><office:text>{body}</office:text></office:body>'
            "</office:document-content>",
            "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="{space}manifest:1.0"><manifest:file-entry '
            'manifest:full-path="content.xml" manifest:media-type="text/xml">'
            f"{secret}</manifest:file-entry></manifest:manifest>",
        }
    )


def epub(chapters: Sequence[str]) -> bytes:
    """Return a book."""
    numbers = range(len(chapters))
    items = "".join(f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in numbers)
    order = "".join(f'<itemref idref="c{n}"/>' for n in numbers)
    page = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p>{}</p></body></html>'
    return packed(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<?xml version="1.0"?><container version="1.0" xmlns='
            '"urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="b.opf" '
            'media-type="application/oebps-package+xml"/></rootfiles></container>',
            "b.opf": '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
            'unique-identifier="i"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Book</dc:title>'
            '<dc:language>en</dc:language><dc:identifier id="i">x</dc:identifier></metadata>'
            f"<manifest>{items}</manifest><spine>{order}</spine></package>",
            **{f"c{n}.xhtml": page.format(escape(chapters[n])) for n in numbers},
        }
    )


def html(paragraphs: Sequence[str]) -> bytes:
    """Return a web page with much around its text."""
    body = "".join(f"<p>{escape(text)}</p>" for text in paragraphs)
    return (
        "<!DOCTYPE html><html><head><title>Page</title><style>p { color: stylesheetword }</style>"
        "<script>var scriptword = 1;</script></head><body><nav><a href='/'>navigationword</a></nav>"
        f"<header>headerword</header><main>{body}</main><footer>footerword</footer></body></html>"
    ).encode()


def rtf(paragraphs: Sequence[str]) -> bytes:
    """Return a document in Rich Text Format."""
    coded = (
        "".join(letter if letter.isascii() else f"\\u{ord(letter)}?" for letter in text).replace("\n", "\\par ")
        for text in paragraphs
    )
    return (
        "{\\rtf1\\ansi{\\fonttbl{\\f0 Arial;}}{\\*\\generator generatorword;}\\f0 " + "\\par ".join(coded) + "}"
    ).encode()


def eml(paragraphs: Sequence[str]) -> bytes:
    """Return a mail in two parts, coded for the way, with an attachment."""
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Subjectword", "a@example.org", "b@example.org"
    mail.set_content("\n\n".join(paragraphs) + "\n", cte="base64")
    mail.add_alternative("<p>" + "</p><p>".join(map(escape, paragraphs)) + "</p>", subtype="html", cte="base64")
    mail.add_attachment(bytes(range(256)), maintype="application", subtype="octet-stream", filename="a.bin")
    return mail.as_bytes()


MAKERS: Mapping[str, Callable[[Sequence[str]], bytes]] = {
    "pdf": pdf,
    "docx": docx,
    "pptx": pptx,
    "xlsx": lambda texts: xlsx([[text] for text in texts]),
    "odt": odt,
    "epub": epub,
    "html": html,
    "rtf": rtf,
    "eml": eml,
    "md": lambda texts: "\n\n".join(("# Heading", *texts)).encode(),
    "txt": lambda texts: "\n\n".join(texts).encode(),
}
"""What makes a file of each format of some paragraphs, by the ending of its name."""
