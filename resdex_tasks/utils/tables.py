"""Tables as text."""

from typing import Sequence

from resdex_tasks.utils.printing import one_line_of


def markdown_table(rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table that is also readable as text: the first row is the head, the first `texts` columns are text."""
    rows = [[one_line_of(cell).replace("|", "\\|") for cell in row] for row in rows]
    widths = _widths(rows)

    def line(row: Sequence[str]) -> str:
        cells = [cell.ljust(w) if i < texts else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * (w + 2) if i < texts else "-" * (w + 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(rows[0]), "|" + "|".join(rule) + "|", *(line(row) for row in rows[1:])])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, two spaces apart."""
    rows = [[one_line_of(cell) for cell in row] for row in rows]
    widths = _widths(rows)
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows)


def _widths(rows: Sequence[Sequence[str]]) -> Sequence[int]:
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
