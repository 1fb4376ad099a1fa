"""One page about the objects of a folder, as HTML that holds its pictures and needs no network."""

import base64
import io
from dataclasses import dataclass, field
from html import escape
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from resdex_tasks.objects.meshes.record import MeshRecord
from resdex_tasks.utils.printing import one_line_of

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em; color: #2d3036; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; } th, td { padding: .25em .8em; text-align: left; border-bottom: 1px solid #e3e3e0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
article { border: 1px solid #e3e3e0; border-radius: 8px; padding: .8em 1em; margin: 1em 0; overflow-wrap: anywhere; }
article h3 { margin: 0 0 .4em; font-size: 1.05em; } article img { border-radius: 4px; margin-right: 6px; width: 180px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1em 1em; margin: .5em 0 0; }
dt { color: #777b80; } dd { margin: 0; } ul { margin: 0; padding-left: 1.2em; }
.tag { border-radius: 4px; padding: 0 .4em; font-size: .85em; background: #eee; }
.repaired { background: #dcebfa; } .left-out { background: #fae3d4; } .note { background: #fbf3c8; }
code { background: #f4f4f2; padding: .1em .3em; }
"""


@dataclass(frozen=True)
class PolicySuccess:
    """What one policy does with one object."""

    policy: str
    episodes: int
    once: int
    at_end: int


@dataclass(frozen=True)
class ObjectEntry:
    """All that the page says of one object."""

    record: MeshRecord
    """With an object."""
    pictures: Sequence[Tuple[str, np.ndarray]] = ()
    """(title, (H, W, 3) uint8)"""
    proposals: Optional[Tuple[int, int]] = None
    """How many were found, of how many tried; None: none were looked for."""
    success: Sequence[PolicySuccess] = ()
    facts: Dict[str, str] = field(default_factory=dict)
    """Further lines: what -> value."""


@dataclass(frozen=True)
class Page:
    """A folder's objects."""

    title: str
    entries: Sequence[ObjectEntry]
    refused: Sequence[MeshRecord]
    others: str
    """Files of other formats, in words; '': there are none."""
    lines: Sequence[str] = ()
    """How it was made, a paragraph each."""

    def html(self) -> str:
        """The whole page."""
        parts = [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_text(self.title)}</title>',
            f"<style>{STYLE}</style><h1>{_text(self.title)}</h1>",
            self._summary(),
            *(f"<p>{_text(line)}</p>" for line in self.lines),
            "<h2>Objects</h2>",
            *(_article(entry) for entry in self.entries),
        ]
        if self.refused:
            parts += ["<h2>Left out</h2>", _refused(self.refused)]
        return "\n".join(parts) + "\n"

    def _summary(self) -> str:
        changed = sum(bool(entry.record.findings) for entry in self.entries)
        sentence = f"{len(self.entries)} objects came in, {changed} of them changed or with a note"
        sentence += f"; {len(self.refused)} files were left out." if self.refused else "; no file was left out."
        if self.others:
            sentence += f" Files of other formats were not read: {self.others}."
        out = f"<p>{_text(sentence)}</p>"
        names = list(dict.fromkeys(s.policy for entry in self.entries for s in entry.success))
        if names:
            rows = [_cells(("policy", "objects", "episodes", "success at the end", "success once"), "th")]
            rows += [_cells(self._of_policy(name), "td") for name in names]
            out += f"<table>{''.join(rows)}</table>"
        return out

    def _of_policy(self, name: str) -> Tuple[str, ...]:
        own = [s for entry in self.entries for s in entry.success if s.policy == name]
        episodes = sum(s.episodes for s in own)
        rates = (100 * sum(getattr(s, key) for s in own) / episodes for key in ("at_end", "once"))
        return name, str(len(own)), str(episodes), *(f"{rate:.1f} %" for rate in rates)


def _text(text: str) -> str:
    """Any text, also of other people's files, as HTML shows it."""
    return escape(one_line_of(text))


def _cells(values: Sequence[str], tag: str) -> str:
    first = f"<{tag}>{_text(values[0])}</{tag}>"
    return f"<tr>{first}{''.join(f'<{tag} class=n>{_text(value)}</{tag}>' for value in values[1:])}</tr>"


def _article(entry: ObjectEntry) -> str:
    facts = dict(entry.facts)
    if entry.proposals is not None:
        found, tried = entry.proposals
        facts["grasp proposals"] = f"{found} found, {tried} candidates tried"
    for s in entry.success:
        facts[s.policy] = f"{s.at_end} of {s.episodes} at the end, {s.once} of {s.episodes} once"
    rows = "".join(f"<dt>{_text(key)}</dt><dd>{_text(value)}</dd>" for key, value in facts.items())
    pictures = "".join(_picture(title, image) for title, image in entry.pictures)
    return (
        f"<article><h3>{_text(entry.record.name)}</h3>{pictures}<dl>{rows}"
        f"<dt>on the way in</dt><dd>{_findings(entry.record)}</dd></dl></article>"
    )


def _findings(record: MeshRecord) -> str:
    if not record.findings:
        return "as it is in the file"
    items = (
        f'<li><span class="tag {f.kind.replace(" ", "-")}">{_text(f.kind)}</span> {_text(f.text)}</li>'
        for f in record.findings
    )
    return f"<ul>{''.join(items)}</ul>"


def _refused(records: Sequence[MeshRecord]) -> str:
    rows = [_cells(("file", "reason"), "th").replace(" class=n", "")]
    for record in records:
        assert record.refusal is not None
        why = record.refusal.reason + (f": {record.refusal.detail}" if record.refusal.detail else "")
        found: List[str] = [str(finding) for finding in record.findings if finding.text not in why]
        rows.append(_cells((record.name, "; ".join([why, *found])), "td").replace(" class=n", ""))
    return f"<table>{''.join(rows)}</table>"


def _picture(title: str, image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=85)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{_text(title)}" title="{_text(title)}" src="data:image/jpeg;base64,{data}">'
