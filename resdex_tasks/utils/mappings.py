"""Nested plain data."""

from typing import Any, Dict, Mapping


def flat(settings: Mapping[str, Any], prefix: str = "") -> Dict[str, Any]:
    """Nested settings as one dict with dotted keys."""
    out: Dict[str, Any] = {}
    for key, value in settings.items():
        out.update(flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return out
