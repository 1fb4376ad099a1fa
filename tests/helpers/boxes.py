"""Objects put together from boxes."""

import dataclasses

import numpy as np
import trimesh

from resdex_tasks.objects.geometry.convex import convex_piece
from resdex_tasks.objects.object_set import GraspObject
from resdex_tasks.objects.starter import starter_objects


def boxes(*centres_and_sizes, name="boxes") -> GraspObject:
    """An object of boxes, each given by its centre and its edges."""
    pieces = [
        convex_piece(trimesh.creation.box(size).vertices + np.array(centre)) for centre, size in centres_and_sizes
    ]
    return dataclasses.replace(starter_objects()[0], name=name, pieces=tuple(pieces))
