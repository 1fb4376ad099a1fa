"""Tools of the zoo, which lie along x."""

import numpy as np
from numpy.random import Generator

from resdex_tasks.objects.zoo import solids
from resdex_tasks.objects.zoo.solids import Shape

Y, Z = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def hammer(rng: Generator) -> Shape:
    length, grip, head = rng.uniform(4.0, 6.5), rng.uniform(0.32, 0.45), rng.uniform(0.9, 1.3)
    thick = rng.uniform(0.42, 0.6)
    handle = solids.sweep(
        [(0, 0, 0), (0.55 * length, 0, 0), (length, 0, 0)], (0.75 * grip, grip * 0.8, grip), Z, flatten=0.8
    )
    block = solids.box(2 * thick, head, 2 * thick)
    face = [
        points[:, [1, 0, 2]]
        for points in solids.laid(solids.lathe([(0.7 * thick, 0.0), (1.1 * thick, 0.2), (1.1 * thick, 0.6)], 8))
    ]
    face = solids.moved(face, y=head / 2)
    if rng.random() < 0.5:  # a claw
        claw = []
        for side in (1, -1):
            root = solids.box(0.8 * thick, 0.02, 1.8 * thick, (side * 0.55 * thick, -head / 2, 0))
            tip = solids.box(0.5 * thick, 0.02, 0.5 * thick, (side * 0.75 * thick, -head / 2 - 1.3, -0.6 * thick))
            claw.append(np.concatenate([root, tip]))
    else:  # a wedge
        root = solids.box(2 * thick, 0.02, 1.8 * thick, (0, -head / 2, 0))
        claw = [np.concatenate([root, solids.box(2 * thick, 0.02, 0.3, (0, -head / 2 - rng.uniform(0.6, 1.2), 0))])]
    return [*handle, block, *face, *claw]


def wrench(rng: Generator) -> Shape:
    length, thick, width = rng.uniform(3.5, 6.0), rng.uniform(0.55, 0.8), rng.uniform(0.55, 0.8)
    handle = solids.slab(length, width, 0.8 * thick, 0.15, (length / 2, 0, 0.1 * thick))
    jaw, open_by = rng.uniform(0.75, 1.0), rng.uniform(0.3, 0.42)
    fork = [solids.prism([(-0.3, -jaw * 0.7), (-0.3, jaw * 0.7), (0.3, width / 2), (0.3, -width / 2)], 0, thick)]
    for side in (1, -1):
        prong = np.array([(-0.3, open_by), (-0.3, 0.7 * jaw), (-0.8, jaw), (-1.4, 0.75 * jaw), (-1.4, open_by)])
        fork.append(solids.prism(prong * (1, side), 0, thick))
    eye = rng.uniform(0.6, 0.8)
    if rng.random() < 0.6:  # a ring at the other end, or another, smaller fork
        ring = solids.sweep(
            solids.in_plane(solids.arc(eye, 30, 330, 6), "xy"), 0.26, Z, sides=4, flatten=thick / 0.52, closed=True
        )
        return [handle, *fork, *solids.moved(ring, x=length + eye - 0.1, z=thick / 2)]
    other = solids.stretched(fork, -eye, eye, 1.0)
    return [handle, *fork, *solids.moved(other, x=length)]


def knife(rng: Generator) -> Shape:
    blade, depth, thick = rng.uniform(3.0, 5.0), rng.uniform(0.6, 1.1), rng.uniform(0.7, 0.95)
    grip, width = rng.uniform(2.0, 3.0), rng.uniform(0.8, 1.05)
    handle = solids.moved(solids.halves(solids.blob(grip, width, thick, squareness=rng.uniform(2.6, 4.0))), x=-grip / 2)
    back, edge, point = width / 2, width / 2 - depth, rng.uniform(0.55, 0.85) * blade
    spine = [(0, back), (point, back), (blade, (back + edge) / 2 + rng.uniform(-0.2, 0.2) * depth)]
    flat = [np.array([(x, y, side * 0.15) for x, y in spine]) for side in (1, -1)]
    sharp = np.array([(0, edge, 0), (point, edge, 0)])
    bolster = solids.box(0.3, width * 0.9, 0.8 * thick, (0, 0, 0))
    return [*handle, bolster, np.concatenate([*flat, sharp])]


def spoon(rng: Generator) -> Shape:
    long, wall, height = rng.uniform(1.15, 1.6), rng.uniform(0.16, 0.22), rng.uniform(0.5, 0.75)
    bowl = solids.stretched(solids.shell([(0.45, 0.0), (0.85, 0.45 * height), (1.0, height)], wall, segments=8), x=long)
    length, grip, broad = rng.uniform(3.0, 4.5), rng.uniform(0.16, 0.24), rng.uniform(1.5, 2.4)
    # the end of the handle comes down to the table
    path = [(0.93 * long, 0, height - 0.12), (1.4 * long, 0, height + rng.uniform(0.0, 0.2))]
    path += [(long + length - 0.7, 0, grip), (long + length, 0, grip)]
    return bowl + solids.sweep(path, (0.16, 0.16, grip, grip), Y, sides=6, flatten=broad)


def brush(rng: Generator) -> Shape:
    length, width, thick = rng.uniform(1.8, 3.2), rng.uniform(0.8, 1.5), rng.uniform(0.4, 0.6)
    bristle, grip = rng.uniform(0.5, 1.0), rng.uniform(2.0, 3.5)
    back = solids.slab(length, width, thick, 0.35 * width)
    rows = int(rng.integers(1, 4))
    step = 0.9 * length / rows
    tuft = solids.prism(solids.polygon(1.0, 8) * (0.45 * step, 0.4 * width), -bristle, 0, rng.uniform(1.0, 1.15))
    tufts = [tuft + np.array([(k - (rows - 1) / 2) * step, 0, 0]) for k in range(rows)]
    handle = solids.sweep(
        [(length / 2 - 0.1, 0, thick / 2), (length / 2 + 0.4 * grip, 0, thick / 2), (length / 2 + grip, 0, thick / 2)],
        (0.8 * thick / 2, thick / 2, rng.uniform(0.8, 1.2) * thick / 2),
        Z,
    )
    return [back, *tufts, *handle]


def marker(rng: Generator) -> Shape:
    radius, cap, sides = rng.uniform(0.3, 0.5), rng.uniform(1.0, 1.8), int(rng.choice([6, 8, 8]))
    length, tip = rng.uniform(2.2, 4.0), rng.uniform(0.4, 0.8)
    if rng.random() < 0.5:  # a thick pencil: a sharpened end, no cap
        return solids.laid(
            solids.lathe([(radius, 0), (radius, length + cap), (0.06, length + cap + 2.5 * radius)], sides)
        )
    fat = radius * rng.uniform(1.08, 1.25)
    return solids.laid(
        solids.lathe(
            [(radius, 0), (radius, length), (fat, length), (fat, length + cap), (0.5 * fat, length + cap + tip)], sides
        )
    )


def dumbbell(rng: Generator) -> Shape:
    head, bar, length = rng.uniform(0.7, 1.1), rng.uniform(0.26, 0.4), rng.uniform(1.4, 2.4)
    end = rng.uniform(0.6, 1.1)
    half = [(0.85 * head, 0.0), (head, 0.15), (head, end - 0.15), (0.85 * head, end), (bar, end)]
    other = [(r, 2 * end + length - z) for r, z in reversed(half)]
    return solids.laid(solids.lathe(half + other, sides=int(rng.choice([6, 8, 12]))))


def flashlight(rng: Generator) -> Shape:
    length, head, grip = rng.uniform(2.5, 4.5), rng.uniform(0.75, 1.05), rng.uniform(0.5, 0.65)
    lamp, neck = rng.uniform(0.5, 1.1), rng.uniform(0.4, 0.9)
    profile = [(0.9 * grip, 0.0), (grip, 0.15), (grip, length), (head, length + neck), (head, length + neck + lamp)]
    sides = int(rng.choice([6, 8, 12]))
    switch = solids.slab(rng.uniform(0.5, 0.9), 0.4 * grip, 0.15, 0.1, (0.65 * length, 0, grip * np.cos(np.pi / sides)))
    return [*solids.laid(solids.lathe(profile, sides)), switch]


def screwdriver(rng: Generator) -> Shape:
    grip, radius = rng.uniform(2.0, 3.0), rng.uniform(0.45, 0.62)
    shaft, thin = rng.uniform(2.0, 4.0), rng.uniform(0.14, 0.2)
    profile = [
        (0.8 * radius, 0.0),
        (radius, 0.3),
        (radius, 0.4 * grip),
        (0.9 * radius, 0.5 * grip),
        (radius, 0.6 * grip),
        (radius, 0.78 * grip),
        (0.65 * radius, grip),
        (thin, grip),
        (thin, grip + shaft),
    ]
    tip = np.concatenate([solids.box(0.02, 2 * thin, 2 * thin), solids.box(0.02, 3.4 * thin, 0.6 * thin, (0.5, 0, 0))])
    return solids.laid(solids.lathe(profile, sides=int(rng.choice([6, 8])))) + solids.moved([tip], x=grip + shaft)


def key(rng: Generator) -> Shape:
    thick, bow, shaft = rng.uniform(0.45, 0.6), rng.uniform(0.75, 1.0), rng.uniform(2.2, 3.2)
    sides = int(rng.choice([4, 6, 8]))
    ring = solids.sweep(
        solids.in_plane(solids.polygon(bow, sides), "xy"), 0.26, Z, sides=4, flatten=thick / 0.52, closed=True
    )
    start = bow * np.cos(np.pi / sides)  # where the shaft leaves the bow
    stem = solids.box(shaft, 0.45, thick, (start + shaft / 2, 0, 0))
    teeth = []
    for k in range(int(rng.integers(2, 4))):
        depth = rng.uniform(0.3, 0.8)
        teeth.append(solids.box(0.3, depth, thick, (start + shaft - 0.15 - 0.5 * k, -0.22 - depth / 2, 0)))
    return [*ring, stem, *teeth]


def padlock(rng: Generator) -> Shape:
    width, height, thick = rng.uniform(1.5, 2.2), rng.uniform(1.2, 2.0), rng.uniform(0.7, 1.1)
    body = [points[:, [0, 2, 1]] for points in [solids.slab(width, height, thick, 0.3, (0, height / 2, -thick / 2))]]
    bow, reach, rod = rng.uniform(0.32, 0.4) * width, rng.uniform(0.2, 0.9), rng.uniform(0.14, 0.22)
    top = solids.in_plane(solids.arc(bow, 0, 180, 6) + np.array([0, height + reach]), "xz")
    legs = [(bow, 0, height - 0.02), *top, (-bow, 0, height - 0.02)]
    return body + solids.sweep(legs, rod, Y, sides=6)


SEEN = {
    "hammer": hammer,
    "wrench": wrench,
    "knife": knife,
    "spoon": spoon,
    "brush": brush,
    "marker": marker,
    "dumbbell": dumbbell,
    "flashlight": flashlight,
    "screwdriver": screwdriver,
}
UNSEEN = {"key": key, "padlock": padlock}
