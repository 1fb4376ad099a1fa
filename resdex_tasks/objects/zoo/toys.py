"""Toys and figures of the zoo."""

import numpy as np
from numpy.random import Generator

from resdex_tasks.objects.zoo import solids
from resdex_tasks.objects.zoo.solids import Shape

Y, Z = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def car(rng: Generator) -> Shape:
    """A car, van or lorry that drives along +x."""
    length, width, wheel = rng.uniform(2.4, 3.4), rng.uniform(1.1, 1.5), rng.uniform(0.28, 0.42)
    hull, roof = rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.65)
    floor = wheel + hull
    shape = [solids.box(length, width, hull, (0, 0, wheel + hull / 2))]
    kind = rng.integers(3)
    if kind == 0:
        cabin = solids.prism(
            solids.rectangle(rng.uniform(0.45, 0.7) * length, 0.92 * width), floor, floor + roof, (0.65, 0.85)
        )
        shape += solids.moved([cabin], x=rng.uniform(-0.2, 0.0) * length)
    elif kind == 1:  # a van
        shape.append(solids.prism(solids.rectangle(0.94 * length, 0.96 * width), floor, floor + 1.3 * roof, (0.9, 0.9)))
    else:  # a lorry
        cab, load = rng.uniform(0.22, 0.32) * length, rng.uniform(0.3, 1.0)
        shape += solids.moved(
            [solids.prism(solids.rectangle(cab, 0.94 * width), floor, floor + roof, (0.8, 0.9))],
            x=0.48 * length - cab / 2,
        )
        shape.append(solids.box(0.9 * length - cab, width, load, (-cab / 2, 0, floor + load / 2)))
    tyre = solids.polygon(wheel, 8)
    for x in (0.3 * length, -0.3 * length):
        for y in (0.5 * width - 0.15, -0.5 * width - 0.15):
            shape.append(solids.prism(tyre, y, y + 0.3)[:, [0, 2, 1]] + (x, 0, wheel * np.cos(np.pi / 8)))
    return shape


def boat(rng: Generator) -> Shape:
    """A boat whose bow points along +x."""
    length, depth, narrow = rng.uniform(2.4, 3.6), rng.uniform(0.6, 0.9), rng.uniform(0.6, 0.8)
    deck = np.array([(-0.5, 0.5), (0.15, 0.6), (0.35, 0.4), (0.5, 0.0)]) * (length, 1.0)
    outline = np.concatenate([deck, deck[-2::-1] * (1, -1)])
    hull = solids.prism(narrow * outline, 0.0, depth, 1 / narrow)
    long, high = rng.uniform(0.25, 0.4) * length, rng.uniform(0.3, 0.6)
    house = solids.prism(solids.rectangle(long, 0.75), depth, depth + high, 0.85)
    shape = [hull, *solids.moved([house], x=-0.15 * length)]
    if rng.random() < 0.6:
        return shape + solids.moved(
            solids.lathe([(0.16, depth + high), (0.13, depth + high + rng.uniform(0.3, 0.7))], 8), x=-0.18 * length
        )
    bow = solids.box(0.2 * length, 0.5, 0.25, (0.2 * length, 0, depth + 0.12))
    return [*shape, bow]


def figure(rng: Generator) -> Shape:
    """A standing person."""
    leg, torso, head = rng.uniform(0.9, 1.5), rng.uniform(1.0, 1.4), rng.uniform(0.32, 0.5)
    width, depth, stance = rng.uniform(0.8, 1.2), rng.uniform(0.45, 0.65), rng.uniform(0.0, 0.15)
    legs = []
    for side in (1, -1):
        foot = solids.box(0.45 * width, depth * 1.5, 0.02, (side * (0.25 * width + stance), -0.1, 0.0))
        legs += [np.concatenate([foot, solids.box(0.44 * width, 0.8 * depth, 0.02, (side * 0.24 * width, 0, leg))])]
    trunk = solids.prism(solids.rectangle(0.9 * width, depth), leg, leg + torso, (1.2, 0.9))
    spread, droop = rng.uniform(0.3, 0.9), rng.uniform(-0.7, 0.5)
    arms = []
    for side in (1, -1):
        shoulder = (side * 0.5 * width, 0, leg + 0.85 * torso)
        hand = (side * (0.5 * width + spread), 0, leg + 0.85 * torso + droop)
        arms += solids.sweep([shoulder, hand], 0.15, Y, sides=6)
    skull = solids.blob(2 * head, 2 * head, 2.2 * head, (0, 0, leg + torso + head))
    return [*legs, trunk, *arms, skull]


def die(rng: Generator) -> Shape:
    """A cube with its edges and corners cut off."""
    cut = rng.uniform(0.1, 0.35)
    inner = 1.0 - cut
    faces = [solids.box(*sides) for sides in ((1.0, inner, inner), (inner, 1.0, inner), (inner, inner, 1.0))]
    return [np.concatenate(faces) * rng.uniform([0.85, 0.85, 0.85], [1.15, 1.15, 1.15])]


def star(rng: Generator) -> Shape:
    rays, thick, valley = int(rng.integers(4, 8)), rng.uniform(0.35, 0.6), rng.uniform(0.38, 0.55)
    inner = solids.polygon(valley, rays)
    middle = np.pi * 2 / rays
    tips = np.stack([np.cos(middle * np.arange(1, rays + 1)), np.sin(middle * np.arange(1, rays + 1))], axis=1)
    points = [solids.prism([inner[k], inner[(k + 1) % rays], tips[k]], 0, thick) for k in range(rays)]
    return [solids.prism(inner, 0, thick), *points]


def gem(rng: Generator) -> Shape:
    """A polyhedron, regular or not: cut stone, or a random one with few corners."""
    golden = (1 + 5**0.5) / 2
    kind = rng.integers(5)
    if kind == 0:
        points = np.concatenate([np.eye(3), -np.eye(3)])
    elif kind == 1:
        points = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)], dtype=np.float64)
    elif kind == 2:
        wings = np.array([(0, a, b) for a in (-1, 1) for b in (-golden, golden)])
        points = np.concatenate([wings, wings[:, [1, 2, 0]], wings[:, [2, 0, 1]]])
    elif kind == 3:
        wings = np.array([(0, a, b) for a in (-1 / golden, 1 / golden) for b in (-golden, golden)])
        points = np.concatenate([wings, wings[:, [1, 2, 0]], wings[:, [2, 0, 1]], 2 * (solids.box(1, 1, 1))])
    else:
        points = rng.normal(size=(int(rng.integers(9, 16)), 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return [points * rng.uniform([0.75, 0.75, 0.75], [1.25, 1.25, 1.25])]


def letter(rng: Generator) -> Shape:
    """A block letter or sign, lying on its back."""
    bars = {
        "L": ["l", "b"],
        "T": ["t", "m"],
        "+": ["m", "c"],
        "U": ["l", "r", "b"],
        "H": ["l", "r", "c"],
        "E": ["l", "t", "c", "b"],
        "F": ["l", "t", "c"],
        "I": ["t", "m", "b"],
        "O": ["l", "r", "t", "b"],
    }
    name = list(bars)[int(rng.integers(len(bars)))]
    width, height, stroke, thick = rng.uniform([1.0, 1.3, 0.28, 0.35], [1.4, 1.8, 0.42, 0.7])
    left, right, low, high = -width / 2, width / 2, -height / 2, height / 2
    half = stroke / 2
    upright = {"l": left, "r": right - stroke, "m": -half}
    across = {"b": low, "t": high - stroke, "c": -half}
    drawn = [k for k in bars[name] if k in upright]
    cuts = sorted([(upright[k], upright[k] + stroke) for k in drawn])
    solids = [_block(a, b, low, high, thick) for a, b in cuts]
    for bar in [k for k in bars[name] if k in across]:
        edge = left
        for a, b in [*cuts, (right, right)]:  # a crossbar fills the gaps between the uprights
            if a - edge > 1e-6:
                solids.append(_block(edge, a, across[bar], across[bar] + stroke, thick))
            edge = b
    return solids


def _block(left: float, right: float, low: float, high: float, thick: float) -> np.ndarray:
    return solids.box(right - left, high - low, thick, ((left + right) / 2, (low + high) / 2, thick / 2))


def ring(rng: Generator) -> Shape:
    thick, sides = rng.uniform(0.22, 0.42), int(rng.choice([4, 6, 8]))
    count, oval = int(rng.integers(8, 13)), rng.uniform(0.75, 1.0)
    path = solids.in_plane(solids.polygon(1.0, count) * (1.0, oval), "xy")
    return solids.sweep(path, thick, Z, sides=sides, flatten=rng.uniform(0.8, 1.5), closed=True)


def rocket(rng: Generator) -> Shape:
    """A rocket on its fins."""
    height, nose, flare = rng.uniform(2.2, 4.0), rng.uniform(1.0, 1.8), rng.uniform(0.5, 0.9)
    body = solids.lathe(
        [(0.6, 0.2), (0.7, 0.4 * height), (0.7, height), (0.4, height + 0.6 * nose), (0.05, height + nose)]
    )
    fins = int(rng.integers(3, 5))
    fin = np.concatenate(
        [
            solids.box(0.02, 0.2, 0.5 * height, (0.5, 0, 0.2 + 0.25 * height)),
            solids.box(0.02, 0.12, 0.6, (0.65 + flare, 0, 0.3)),
        ]
    )
    angles = 2 * np.pi * np.arange(fins) / fins
    rotations = [np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]]) for a in angles]
    return body + [fin @ rotation for rotation in rotations]


def house(rng: Generator) -> Shape:
    width, wall, roof, eaves = rng.uniform([1.0, 0.7, 0.5, 1.0], [1.6, 1.3, 1.0, 1.25])
    ridge = np.array([(-width / 2 * eaves, wall), (width / 2 * eaves, wall), (0, wall + roof)])
    gable = solids.prism(ridge, -0.5 * eaves, 0.5 * eaves)[:, [0, 2, 1]]
    chimney = solids.box(0.2, 0.2, roof, (0.25 * width, 0.2, wall + roof * 0.65))
    return [solids.box(width, 1.0, wall, (0, 0, wall / 2)), gable, chimney]


def pawn(rng: Generator) -> Shape:
    foot, neck, height, head = rng.uniform([0.8, 0.28, 1.1, 0.42], [1.0, 0.42, 2.0, 0.6])
    collar = neck * rng.uniform(1.3, 1.7)
    base = [(foot, 0.0), (foot, 0.3), (0.75 * foot, 0.5), (neck, height), (collar, height), (collar, height + 0.15)]
    return [*solids.lathe(base), solids.blob(2 * head, 2 * head, 2 * head, (0, 0, height + 0.1 + head))]


def airplane(rng: Generator) -> Shape:
    """An aeroplane that flies along +x, at rest on its keel and wheels."""
    length, span, girth = rng.uniform(3.0, 4.2), rng.uniform(2.6, 3.8), rng.uniform(0.35, 0.5)
    path = [(-length / 2, 0, 0.1), (-0.1 * length, 0, 0), (0.35 * length, 0, 0), (length / 2, 0, -0.02)]
    body = solids.sweep(path, (0.35 * girth, girth, girth, 0.5 * girth), Y, sides=8)
    chord, sweep_back, at = rng.uniform(0.7, 1.0), rng.uniform(0.0, 0.7), 0.1 * length
    wings = []
    for side in (1, -1):
        root = solids.box(chord, 0.02, 0.2, (at, side * girth * 0.7, 0))
        wings.append(
            np.concatenate([root, solids.box(0.6 * chord, 0.02, 0.14, (at - sweep_back, side * span / 2, 0.1))])
        )
    fin = np.concatenate(
        [solids.box(0.6, 0.12, 0.02, (-0.42 * length, 0, 0.1)), solids.box(0.35, 0.12, 0.02, (-0.47 * length, 0, 0.9))]
    )
    tail = solids.box(0.4, rng.uniform(1.0, 1.4), 0.14, (-0.45 * length, 0, 0.12))
    leg = girth + 0.25
    wheels = [solids.box(0.3, 0.14, leg, (at + 0.1, side * 0.5, -leg / 2)) for side in (1, -1)]
    return [*body, *wings, fin, tail, *wheels]


def duck(rng: Generator) -> Shape:
    """A duck that looks along +x."""
    length, height, head = rng.uniform(1.9, 2.5), rng.uniform(1.0, 1.3), rng.uniform(0.4, 0.55)
    body = solids.blob(length, rng.uniform(1.2, 1.6), height, (0, 0, height / 2), squareness=2.3)
    rise, reach = height + 0.55 * head, 0.27 * length
    skull = solids.blob(2 * head, 1.9 * head, 2 * head, (reach, 0, rise))
    beak = np.concatenate(
        [
            solids.box(0.02, 0.5, 0.22, (reach + 0.8 * head, 0, rise)),
            solids.box(0.02, 0.4, 0.08, (reach + head + 0.35, 0, rise - 0.05)),
        ]
    )
    tail = np.concatenate(
        [
            solids.box(0.02, 0.7, 0.5, (-0.4 * length, 0, 0.65 * height)),
            solids.box(0.02, 0.3, 0.1, (-0.62 * length, 0, height)),
        ]
    )
    return [body, skull, beak, tail]


def stool(rng: Generator) -> Shape:
    height, leg, splay, seat = rng.uniform([0.9, 0.1, 0.0, 0.15], [1.8, 0.18, 0.25, 0.3])
    legs = int(rng.integers(3, 5))
    corners = solids.polygon(0.72, legs)
    if rng.random() < 0.5:
        top = solids.prism(solids.polygon(1.0, 12), height, height + seat)
    else:
        top, corners, legs = (
            solids.slab(1.6, rng.uniform(1.2, 1.6), seat, 0.2, (0, 0, height)),
            solids.polygon(0.75, 4),
            4,
        )
    shape = [top]
    for corner in corners:
        foot = np.append(corner * (1 + splay), 0.0)
        shape.append(
            np.concatenate(
                [
                    solids.box(2 * leg, 2 * leg, 0.02, foot),
                    solids.box(2 * leg, 2 * leg, 0.02, (*(0.9 * corner), height)),
                ]
            )
        )
    return shape


SEEN = {
    "car": car,
    "boat": boat,
    "figure": figure,
    "die": die,
    "star": star,
    "gem": gem,
    "letter": letter,
    "ring": ring,
    "rocket": rocket,
    "house": house,
}
UNSEEN = {"pawn": pawn, "airplane": airplane, "duck": duck, "stool": stool}
