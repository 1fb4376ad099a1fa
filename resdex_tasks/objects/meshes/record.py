"""What happened to each file of an import. Printed lines and the page are both made from it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from resdex_tasks.objects.loading import Unusable, usable
from resdex_tasks.objects.object_set import GraspObject, ObjectSet

REPAIRED, LEFT_OUT, NOTED = KINDS = ("repaired", "left out", "note")
"""The shape is what the file meant; something of the file is not in the object; a person should look at it."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found in a file."""

    kind: str
    """One of `KINDS`."""
    text: str
    """In words, without the file's name."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class Notes:
    """Findings while they are made: equal ones of several bodies are counted together."""

    def __init__(self) -> None:
        self._counts: Dict[Tuple[str, str], int] = {}

    def add(self, kind: str, text: str, count: int = 1) -> None:
        """Note something `count` times.

        Args:
            text: with `{n}` for the count, and words of `PLURALS` where one and many differ.
        """
        if count:
            self._counts[kind, text] = self._counts.get((kind, text), 0) + count

    def findings(self) -> Tuple[Finding, ...]:
        """All that was noted, in this order."""
        return tuple(
            Finding(kind, text.format(n=f"{n:,}", **{word: forms[n > 1] for word, forms in PLURALS.items()}))
            for (kind, text), n in self._counts.items()
        )


PLURALS = {
    "s": ("", "s"),
    "bodies": ("body", "bodies"),
    "vertices": ("vertex", "vertices"),
    "are": ("is", "are"),
    "were": ("was", "were"),
    "have": ("has", "have"),
    "lie": ("lies", "lie"),
    "hang": ("hangs", "hang"),
}
"""Word in a text of `Notes` -> for one, for many."""


@dataclass(frozen=True)
class MeshRecord:
    """One file: an object, or why there is none."""

    name: str
    """Its path below the folder."""
    findings: Tuple[Finding, ...] = ()
    obj: Optional[GraspObject] = None
    refusal: Optional[Unusable] = None
    """Exactly one of `obj` and this is None."""


@dataclass(frozen=True)
class MeshImport:
    """A folder's meshes, in the order of their paths."""

    root: Path
    records: Sequence[MeshRecord]
    others: Mapping[str, int]
    """Files of other formats by their suffix, which were not read."""

    def objects(self, report: Callable[[str], None] = print) -> ObjectSet:
        """The usable ones.

        Args:
            report: called with a line on what was left out, on what was changed, and on files of other formats.

        Raises:
            UserError: there is none.
        """
        if self.others:
            report(f"not read in {self.root}: {self.other_formats}")
        results = [record.obj or record.refusal for record in self.records]
        objects = usable([r for r in results if r is not None], self.root, report)
        changed = [r for r in self.records if r.obj is not None and r.findings]
        if changed:
            kinds = Counter(kind for r in changed for kind in {f.kind for f in r.findings})
            counts = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS if kinds[kind])
            report(
                f"{len(changed)} of {len(objects)} meshes did not come in just as they are ({counts}); "
                f"{changed[0].name}: {changed[0].findings[0].text}; the objects tool's build and report say all"
            )
        return ObjectSet(objects)

    @property
    def other_formats(self) -> str:
        """The files of other formats, in words."""
        return ", ".join(f"{count} {suffix}" for suffix, count in sorted(self.others.items()))

    def lines(self) -> List[str]:
        """One line for each finding, and for each file that was refused."""
        out = []
        for record in self.records:
            out += [
                f"{record.name}: {finding}" for finding in record.findings if finding.text not in str(record.refusal)
            ]
            if record.refusal is not None:
                out.append(f"left out: {record.refusal}")
        return out
