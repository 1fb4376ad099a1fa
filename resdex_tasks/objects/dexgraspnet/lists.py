"""Lists of objects and scales, in the forms in which the method's repositories publish them."""

import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import yaml

from resdex_tasks.utils.errors import UserError, one_line

SCALES = (0.06, 0.08, 0.10, 0.12, 0.15)
"""The sizes at which the data has grasps: metres per unit of the meshes."""
LIST_KEYS = ("object_code_list", "object_code_dict")
SHOWN = 3
"""Repeated entries that are named."""
_NUMBERS = r"\[[^][]*\]"
_PASTED = re.compile(
    rf"""\s* (?P<quote>['"]?) (?P<code>[^\s'":/-]+ [/-] [^\s'":]+) (?P=quote) \s*:\s* (?P<scales>{_NUMBERS})
    \s* (,\s*{_NUMBERS}\s*)* ,? \s* (\#.*)?""",
    re.VERBOSE,
)
"""A line to be pasted into a configuration: a code, its scales, and perhaps how well it went with each."""

Entries = List[Tuple[Any, Any]]
"""(code, its scales or None) of each entry."""


def read_object_list(
    path: Union[str, Path], scales: Sequence[float], report: Callable[[str], None] = print
) -> Dict[str, Sequence[float]]:
    """Code -> scales from a file of the method or of UniDexGrasp.

    Its key `object_code_list` or `object_code_dict`, at the top or below `env`, holds a list or a dictionary; or the
    file is nothing but that, also as lines to be pasted into a configuration (`'<code>':[<scale>],`). The entry of one
    object is "<code>", which takes `scales`, or "<code>: [<scale>, ...]"; a code may appear again with other scales.

    Args:
        report: called with a line on entries that are there more than once.

    Raises:
        UserError: the file or an entry cannot be used; the message names it.
    """
    path = Path(path).expanduser()
    try:
        entries = _entries(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the object list {path}: {one_line(error)}") from error
    if not entries:
        raise UserError(f"{path} has no {' or '.join(LIST_KEYS)} with objects in it")
    found: Dict[str, List[float]] = {}
    repeated: List[str] = []
    for code, its in entries:
        code = checked_code(code, f"the object list {path}")
        where = f"'{code}' in the object list {path}"
        for scale in scales if its is None else checked_scales(its, where, repeats=True):
            known = found.setdefault(code, [])
            if scale in known:
                repeated.append(f"{code}@{scale:g}")
            else:
                known.append(scale)
    if repeated:
        names = list(dict.fromkeys(repeated))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        report(f"{path} lists {', '.join(names[:SHOWN])}{more} repeatedly; each counts once")
    return dict(found)


def _entries(text: str) -> Optional[Entries]:
    """The entries of a list in any of its forms; None: it holds none."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    pasted = [_PASTED.fullmatch(line) for line in lines]
    if lines and all(pasted):
        return [(match["code"], yaml.safe_load(match["scales"])) for match in pasted if match]
    # the C loader takes a tenth of the time for the thousands of lines of the real lists
    content = yaml.load(text, _loader())
    if isinstance(content, _Pairs):
        holders = [content, *(value for key, value in content if key == "env" and isinstance(value, _Pairs))]
        keyed = [value for holder in holders for key, value in holder if key in LIST_KEYS and value is not None]
        if keyed:
            content = keyed[0]
        elif not any(isinstance(key, str) and "/" in key for key, _ in content):
            return None
    if isinstance(content, _Pairs):
        return list(content)
    if not isinstance(content, list):
        return None
    entries: Entries = []
    for entry in content:
        entries += entry if isinstance(entry, _Pairs) else [(entry, None)]
    return entries


class _Pairs(list):  # type: ignore[type-arg]
    """The pairs of a yaml mapping, in which a key may appear again."""


def _loader() -> Any:
    """yaml's safe loader, which would silently keep the last one of equal keys."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    def pairs(loader: Any, node: Any) -> _Pairs:
        loader.flatten_mapping(node)
        return _Pairs(tuple(loader.construct_object(part, deep=True) for part in pair) for pair in node.value)

    Loader.add_constructor("tag:yaml.org,2002:map", pairs)
    return Loader


def checked_scales(scales: Any, where: str, repeats: bool = False) -> List[float]:
    """A list of `SCALES`, each once unless `repeats`. UserError, with `where` it stands, if it is none."""
    if not isinstance(scales, (list, tuple)) or isinstance(scales, _Pairs) or not scales:
        raise UserError(f"{where} is {scales!r}; it must be a list of scales such as [{SCALES[0]:g}]")
    for scale in scales:
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or scale not in SCALES:
            raise UserError(f"{where} has the scale {scale!r}; the scales are {', '.join(map(str, SCALES))}")
    return [float(scale) for scale in (scales if repeats else dict.fromkeys(scales))]


def checked_code(code: Any, where: str) -> str:
    """The code as "<group>/<object>". UserError, with `where` it stands, if it is none."""
    if isinstance(code, str):
        group, slash, obj = code.partition("/") if "/" in code else code.partition("-")
        if group and slash and obj and "/" not in obj and ".." not in (group, obj):
            return f"{group}/{obj}"
    raise UserError(f"{where} has the object {code!r}; a code is <group>/<object>, such as core/mug-8570")
