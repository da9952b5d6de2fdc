"""The meter's report: Markdown, and one HTML file that carries its picture inside."""

import base64
import html
from pathlib import Path

from pmarb.domain.evidence import Evidence
from pmarb.domain.meter import Reading
from services.cli import reading
from services.cli.pictures import draw

PICTURE = "meter.png"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin-bottom: 1.5rem } td { padding: .15rem 1.5rem .15rem 0; vertical-align: top }
td:first-child { color: #666 } img { max-width: 100% } .verdict { font-size: 1.3rem; font-weight: 600 }
"""


def write_report(folder: Path, result: Reading, evidence: Evidence) -> None:
    """report.html, report.md and meter.png in `folder`, which is made if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder / PICTURE, result, evidence)
    (folder / "report.md").write_text(_markdown(result), encoding="utf-8")
    (folder / "report.html").write_text(_html(result, (folder / PICTURE).read_bytes()), encoding="utf-8")


def _markdown(result: Reading) -> str:
    parts = ["# Is the edge real yet?", f"**{result.words}**", f"![The meter]({PICTURE})"]
    for title, rows in reading.sections(result):
        table = "\n".join(f"| {name.strip()} | {value} |" for name, value in rows)
        parts.append(f"## {title}\n\n| | |\n|---|---|\n{table}")
    return "\n\n".join(parts) + "\n"


def _html(result: Reading, picture: bytes) -> str:
    escape = html.escape
    body = [f"<h1>Is the edge real yet?</h1><p class=verdict>{escape(result.words)}</p>"]
    body.append(f'<img alt="The meter" src="data:image/png;base64,{base64.b64encode(picture).decode()}">')
    for title, rows in reading.sections(result):
        cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
        body.append(f"<h2>{escape(title)}</h2><table>{cells}</table>")
    head = f'<meta charset="utf-8"><title>pm-arb: the meter</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'
