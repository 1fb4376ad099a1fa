"""Household and office objects, shoes and food of the zoo."""

import numpy as np
from numpy.random import Generator

from resdex_tasks.objects.zoo import solids
from resdex_tasks.objects.zoo.solids import Shape

Y, Z = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def phone(rng: Generator) -> Shape:
    length, thick, corner = rng.uniform(1.7, 2.3), rng.uniform(0.25, 0.4), rng.uniform(0.05, 0.2)
    screen = solids.slab(rng.uniform(0.6, 0.96) * length, rng.uniform(0.8, 0.94), 0.03, corner / 2, (0.0, 0.0, thick))
    shape = [*solids.halves(solids.slab(length, 1.0, thick, corner)), screen]
    if rng.random() < 0.3:  # an old one, with an aerial
        reach = rng.uniform(0.2, 0.6)
        shape.append(solids.box(reach, 0.15, 0.6 * thick, (length / 2 + reach / 2, 0.3, thick / 2)))
    return shape


def remote(rng: Generator) -> Shape:
    length, thick, narrow = rng.uniform(2.5, 4.2), rng.uniform(0.35, 0.6), rng.uniform(0.65, 1.0)
    middle = (0.0, 0.25 * (1 + narrow))
    rear = np.array([(-length / 2, 0.42), (-0.46 * length, 0.5), middle])
    front = np.array([middle, (0.46 * length, narrow / 2), (length / 2, 0.42 * narrow)])
    body = [solids.prism(np.concatenate([half, half * (1, -1)]), 0.0, thick, (0.98, 0.88)) for half in (rear, front)]
    dial = solids.lathe([(0.24, thick), (0.2, thick + 0.1)], sides=8)
    keys = [
        solids.box(0.22, 0.5 * narrow, 0.08, (length * (0.08 + 0.09 * k), 0.0, thick + 0.04))
        for k in range(rng.integers(2, 5))
    ]
    return [*body, *solids.moved(dial, x=-0.2 * length), *keys]


def camera(rng: Generator) -> Shape:
    """A camera whose lens looks along -y."""
    width, height, depth = rng.uniform(1.8, 2.4), rng.uniform(1.1, 1.5), rng.uniform(0.6, 0.9)
    lens, reach = rng.uniform(0.36, 0.5) * height, rng.uniform(0.3, 1.1)
    body = solids.slab(width, depth, height, 0.15)
    barrel = solids.lathe([(lens, 0.0), (lens, 0.6 * reach), (0.85 * lens, 0.6 * reach), (0.85 * lens, reach)], 12)
    barrel = [points[:, [0, 2, 1]] * (1, -1, 1) for points in barrel]  # from +z to -y
    hump = solids.prism(solids.rectangle(0.4 * width, 0.7 * depth), height, height + rng.uniform(0.15, 0.4), 0.7)
    button = solids.lathe([(0.12, height), (0.12, height + 0.1)], sides=8)
    offset = rng.uniform(-0.15, 0.15) * width
    return [
        body,
        *solids.moved(barrel, x=offset, y=-depth / 2, z=0.47 * height),
        *solids.moved([hump], x=offset),
        *solids.moved(button, x=0.4 * width),
    ]


def mouse(rng: Generator) -> Shape:
    length, height, rear = rng.uniform(1.5, 2.0), rng.uniform(0.5, 0.8), rng.uniform(0.5, 0.8)
    outline = solids.polygon(1.0, 12) * (length / 2, 0.5)
    levels = [(1.0, 0.0, 0.0), (1.03, 0.0, 0.35), (0.85, 0.04, 0.75), (0.45, 0.12, 1.0)]
    body = [np.insert(outline * size - (shift * length * rear, 0), 2, z * height, axis=1) for size, shift, z in levels]
    wheel = solids.blob(0.35, 0.12, 0.3, (0.27 * length, 0, 0.78 * height), levels=3)
    return [np.concatenate(body), wheel]


def stapler(rng: Generator) -> Shape:
    length, width, thick = rng.uniform(3.0, 4.5), rng.uniform(0.8, 1.1), rng.uniform(0.2, 0.3)
    base = solids.slab(length, width, thick, 0.2)
    opening = rng.uniform(6, 16)
    lever = solids.prism(
        solids.rectangle(length, 0.84 * width) + np.array([0.5 * length, 0]), 0, rng.uniform(0.35, 0.55), (1.0, 0.7)
    )
    magazine = solids.box(0.94 * length, 0.5 * width, 0.3, (0.5 * length, 0, -0.12))
    arm = solids.moved(solids.tilted([lever, magazine], opening), x=-0.48 * length, z=thick + 0.45)
    hinge = solids.box(0.2 * length, 0.7 * width, 0.6, (-0.38 * length, 0, thick + 0.3))
    return [base, *arm, hinge]


def lightbulb(rng: Generator) -> Shape:
    neck, screw, height = rng.uniform(0.42, 0.55), rng.uniform(0.6, 1.0), rng.uniform(0.7, 1.3)
    low = screw + height
    globe = [(neck, screw), (1.0, low), (1.0, low + 0.45), (0.72, low + 0.95), (0.35, low + 1.15)]
    return solids.laid(solids.lathe([(0.2, 0.0), (0.9 * neck, 0.15), (0.9 * neck, screw), *globe], sides=12))


def book(rng: Generator) -> Shape:
    length, thick, cover = rng.uniform(1.2, 1.6), rng.uniform(0.22, 0.5), rng.uniform(0.03, 0.05)
    pages = solids.box(0.94, length - 0.12, thick - 2 * cover, (0.0, 0.0, thick / 2))
    lids = [solids.box(1.0, length, cover, (0.0, 0.0, z)) for z in (cover / 2, thick - cover / 2)]
    spine = solids.blob(0.16, length, thick, (-0.49, 0.0, thick / 2), squareness=4.0, levels=3)
    return [pages, *lids, spine]


def soap(rng: Generator) -> Shape:
    width, height, squareness = rng.uniform(0.55, 0.8), rng.uniform(0.28, 0.5), rng.uniform(2.2, 4.0)
    bar = solids.blob(1.0, width, height, squareness=squareness)
    stamp = solids.slab(0.45, 0.4 * width, 0.04, 0.05, (0.0, 0.0, height / 2 - 0.01))
    return [*solids.halves(bar), stamp]


def shoe(rng: Generator) -> Shape:
    """A shoe whose toe points along +x."""
    length, sole, heel = rng.uniform(2.4, 3.2), rng.uniform(0.15, 0.25), rng.uniform(0.0, 0.35)
    outline = np.array([(-0.5, 0.3), (-0.46, 0.38), (-0.1, 0.36), (0.25, 0.5), (0.42, 0.42), (0.5, 0.15)]) * (
        length,
        1.0,
    )
    outline = np.concatenate([outline, outline[::-1] * (1, -1)])
    bottom = solids.prism(outline, 0.0, sole)
    toe = solids.prism(outline[outline[:, 0] > -0.2 * length] * 0.95, sole, sole + rng.uniform(0.4, 0.6), (0.85, 0.6))
    ankle = rng.uniform(0.8, 1.7)
    shaft = solids.prism(outline[outline[:, 0] < 0.0] * 0.95, sole, sole + ankle, (0.95, 0.75))
    instep = np.concatenate(
        [
            solids.box(0.02, 0.6, ankle - 0.1, (-0.12 * length, 0, sole + ankle / 2)),
            solids.box(0.02, 0.6, 0.4, (0.2 * length, 0, sole + 0.2)),
        ]
    )
    shape = [bottom, toe, shaft, instep]
    if heel > 0.12:
        shape = [*solids.moved(shape, z=heel), solids.box(0.25 * length, 0.66, heel, (-0.36 * length, 0, heel / 2))]
        shape.append(
            solids.box(0.3 * length, 0.8, heel, (0.25 * length, 0, heel / 2))
        )  # a platform keeps the sole level
    return shape


def headphones(rng: Generator) -> Shape:
    """Headphones that lie flat: the bow in the xy plane."""
    bow, cup, thick = rng.uniform(1.0, 1.2), rng.uniform(0.42, 0.58), rng.uniform(0.3, 0.45)
    band = solids.in_plane(solids.arc(1.0, -15, 195, 8) * (bow, bow * rng.uniform(1.0, 1.25)), "xy")
    shape = solids.sweep(band, rng.uniform(0.09, 0.14), Z, sides=6, flatten=rng.uniform(1.2, 2.5))
    end = band[0]
    disc = solids.lathe([(0.8 * cup, 0.0), (cup, 0.3 * thick), (cup, thick)], sides=12)
    for side in (1, -1):
        ear = [
            points * (side, 1, 1) for points in solids.moved(solids.laid(disc), x=-end[0] + 0.05, y=end[1] - 0.5 * cup)
        ]
        shape += [points * (-1, 1, 1) for points in ear]
    return shape


def apple(rng: Generator) -> Shape:
    height, foot, widest = rng.uniform(1.5, 1.9), rng.uniform(0.4, 0.55), rng.uniform(0.5, 0.65)
    body = [(foot, 0.0), (0.85, 0.22 * height), (1.0, widest * height), (0.85, 0.87 * height), (0.45, height)]
    stem = solids.sweep(
        [(0, 0, height - 0.02), (0.05, 0, height + 0.2), (0.2, 0, height + 0.4)], (0.07, 0.06, 0.08), Y, sides=6
    )
    return solids.lathe(body) + stem


def pear(rng: Generator) -> Shape:
    height, foot, neck = rng.uniform(2.3, 3.0), rng.uniform(0.45, 0.6), rng.uniform(0.4, 0.55)
    belly = height * rng.uniform(0.3, 0.38)
    body = [
        (foot, 0.0),
        (0.9, 0.4 * belly),
        (1.0, belly),
        (0.88, 1.4 * belly),
        (neck, 0.78 * height),
        (0.9 * neck, 0.9 * height),
    ]
    stem = solids.sweep([(0, 0, height - 0.02), (rng.uniform(-0.2, 0.2), 0, height + 0.4)], (0.07, 0.07), Y, sides=6)
    return solids.lathe([*body, (0.4 * neck, height)]) + stem


def banana(rng: Generator) -> Shape:
    """A banana on its side, bent in the xy plane."""
    half, thick, sides = rng.uniform(35, 62), rng.uniform(0.45, 0.62), int(rng.choice([6, 8]))
    radius = 2.2 / np.radians(half)
    bend = solids.arc(radius, 90 - half, 90 + half, 8)
    girth = thick * np.array([0.35, 0.7, 0.95, 1.0, 1.0, 0.9, 0.65, 0.3])
    return solids.sweep(solids.in_plane(bend, "xy"), girth, Z, sides=sides)


def egg(rng: Generator) -> Shape:
    """An egg that lies along x."""
    long = rng.uniform(2.3, 3.0)
    blunt, sharp = rng.uniform(0.35, 0.45), rng.uniform(0.55, 0.65)
    profile = [
        (0.45, 0.0),
        (0.86, 0.12 * long),
        (1.0, blunt * long),
        (0.88, sharp * long),
        (0.62, 0.87 * long),
        (0.28, long),
    ]
    return solids.laid(solids.lathe(profile, sides=12))


def mushroom(rng: Generator) -> Shape:
    stem, height, cap = rng.uniform(0.35, 0.55), rng.uniform(0.7, 1.3), rng.uniform(0.6, 1.0)
    foot = rng.uniform(1.0, 1.4) * stem
    return solids.lathe([(foot, 0.0), (stem, 0.3 * height), (stem, height)]) + solids.lathe(
        [(0.85, height), (1.0, height + 0.2 * cap), (0.75, height + 0.7 * cap), (0.3, height + cap)]
    )


SEEN = {
    "phone": phone,
    "remote": remote,
    "camera": camera,
    "mouse": mouse,
    "stapler": stapler,
    "lightbulb": lightbulb,
    "book": book,
    "soap": soap,
    "shoe": shoe,
    "apple": apple,
    "pear": pear,
    "banana": banana,
    "egg": egg,
}
UNSEEN = {"headphones": headphones, "mushroom": mushroom}
