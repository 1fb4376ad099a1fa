"""Vessels of the zoo, mostly for food and drink."""

from numpy.random import Generator

from resdex_tasks.objects.zoo import solids
from resdex_tasks.objects.zoo.solids import Shape

Y = (0.0, 1.0, 0.0)


def _handle(x: float, low: float, high: float, reach: float, radius: float, count: int = 4) -> Shape:
    """A half loop of `count` - 1 sections in the xz plane, from the wall at `x` out to `x` + `reach` and back."""
    half = solids.arc(1.0, -90, 90, count)
    return solids.sweep(
        solids.in_plane(half * (reach, (high - low) / 2) + (x, (low + high) / 2), "xz"), radius, Y, sides=6
    )


def _quiet(shape: Shape) -> Shape:
    """The shape with its foot in halves, so that it rests more quietly (`solids.halves`)."""
    return [*solids.halves(shape[0]), *shape[1:]]


def bottle(rng: Generator) -> Shape:
    height, neck = rng.uniform(1.4, 4.2), rng.uniform(0.28, 0.5)
    shoulder, throat = height + rng.uniform(0.25, 1.0), rng.uniform(0.3, 1.0)
    cap, mouth = neck * rng.uniform(1.1, 1.4), shoulder + throat
    waist = rng.uniform(0.78, 1.06)
    body = [(0.92, 0.0), (1.0, 0.12)]
    if waist < 0.92:  # a grip half way up
        body += [(1.0, 0.3 * height), (waist, 0.45 * height), (waist, 0.6 * height), (1.0, 0.75 * height)]
    profile = [
        *body,
        (1.0, height),
        (neck, shoulder),
        (neck, mouth),
        (cap, mouth),
        (cap, mouth + rng.uniform(0.25, 0.5)),
    ]
    return _quiet(solids.lathe(profile, sides=int(rng.choice([8, 12, 12]))))


def jar(rng: Generator) -> Shape:
    height, lid, neck = rng.uniform(0.9, 2.2), rng.uniform(0.82, 1.05), rng.uniform(0.7, 0.8)
    top = height + rng.uniform(0.12, 0.3)
    body = [(0.9, 0.0), (1.0, 0.1), (1.0, height), (neck, top), (lid, top), (lid, top + rng.uniform(0.2, 0.5))]
    return solids.lathe(body, sides=int(rng.choice([6, 8, 12, 12])))


def mug(rng: Generator) -> Shape:
    height, foot, wall = rng.uniform(1.5, 2.8), rng.uniform(0.75, 1.0), rng.uniform(0.1, 0.16)
    cup = solids.shell([(foot, 0.0), (1.0, height * rng.uniform(0.15, 0.5)), (1.0, height)], wall)
    low = height * rng.uniform(0.15, 0.3)
    return cup + _handle(0.97, low, height * rng.uniform(0.75, 0.95), rng.uniform(0.5, 0.9), rng.uniform(0.1, 0.16))


def cup(rng: Generator) -> Shape:
    height, foot = rng.uniform(1.2, 3.2), rng.uniform(0.55, 0.9)
    bulge = foot + (1 - foot) * rng.uniform(0.5, 0.95)
    return solids.shell([(foot, 0.0), (bulge, height / 2), (1.0, height)], rng.uniform(0.08, 0.14), segments=11)


def bowl(rng: Generator) -> Shape:
    height, foot = rng.uniform(0.55, 1.0), rng.uniform(0.4, 0.65)
    middle = foot + (1 - foot) * rng.uniform(0.6, 0.9)
    return solids.shell([(foot, 0.0), (middle, 0.45 * height), (1.0, height)], rng.uniform(0.1, 0.18), segments=10)


def plate(rng: Generator) -> Shape:
    height, foot, base = rng.uniform(0.34, 0.42), rng.uniform(0.5, 0.72), rng.uniform(0.12, 0.2)
    rim = solids.shell([(foot, 0.0), (0.97, height - 0.1), (1.0, height)], base, segments=11)
    return rim


def can(rng: Generator) -> Shape:
    height, dent, lip = rng.uniform(0.8, 4.0), rng.uniform(0.86, 0.96), rng.uniform(0.06, 0.14)
    profile = [(dent, 0.0), (1.0, lip), (1.0, height - lip), (dent, height)]
    if rng.random() < 0.5:  # a tin with a seam at either end
        profile = [(1.0, 0.0), (1.0, lip), (dent, lip), (dent, height - lip), (1.0, height - lip), (1.0, height)]
    return solids.lathe(profile, sides=16)


def vase(rng: Generator) -> Shape:
    height, foot, neck, lip = rng.uniform(2.2, 4.2), *rng.uniform([0.45, 0.3, 0.5], [0.8, 0.55, 0.9])
    belly, throat = height * rng.uniform(0.3, 0.5), height * rng.uniform(0.7, 0.85)
    profile = [(foot, 0.0), (0.9, belly * 0.5), (1.0, belly), (0.85, belly * 1.3), (neck, throat), (lip, height)]
    return _quiet(solids.lathe(profile, sides=int(rng.choice([6, 8, 12, 12]))))


def pot(rng: Generator) -> Shape:
    height, wall = rng.uniform(0.8, 1.7), rng.uniform(0.1, 0.16)
    body = solids.shell([(0.9, 0.0), (1.0, 0.15), (1.0, height)], wall, segments=8)
    grip, thickness = height * rng.uniform(0.6, 0.9), rng.uniform(0.1, 0.17)
    if rng.random() < 0.5:  # a saucepan
        length, rise = rng.uniform(1.2, 1.9), rng.uniform(0.0, 0.4)
        path = [(0.97, 0.0, grip), (1.3, 0.0, grip + 0.3 * rise), (1.0 + length, 0.0, grip + rise)]
        return body + solids.sweep(path, (thickness, thickness, 1.3 * thickness), Y)
    width, reach = rng.uniform(0.5, 0.9), rng.uniform(0.25, 0.45)
    return body + [solids.box(reach, width, 1.5 * thickness, (side * (0.95 + reach / 2), 0, grip)) for side in (1, -1)]


def funnel(rng: Generator) -> Shape:
    """A funnel that stands on its wide mouth."""
    height, stem, wall = rng.uniform(0.9, 1.6), rng.uniform(0.22, 0.35), rng.uniform(0.1, 0.15)
    lip = rng.uniform(0.1, 0.25)
    cone = solids.shell([(1.0, 0.0), (1.0, lip), (stem, height)], wall, segments=8, floor=False)
    return cone + solids.lathe([(stem, height), (stem * rng.uniform(0.6, 0.95), height + rng.uniform(0.5, 1.4))])


def candle(rng: Generator) -> Shape:
    """A candle in its holder, with its flame."""
    radius, height, dish = rng.uniform(0.35, 0.6), rng.uniform(0.8, 2.6), rng.uniform(0.12, 0.3)
    holder = solids.lathe([(0.75, 0.0), (1.0, dish)], sides=int(rng.choice([4, 8, 12])))
    stick = solids.lathe([(radius, dish), (radius * rng.uniform(0.8, 1.0), dish + height)])
    flame = solids.lathe([(0.05, 0.0), (0.16, 0.18), (0.05, 0.5)], sides=6)
    return holder + stick + solids.moved(flame, z=dish + height)


def goblet(rng: Generator) -> Shape:
    foot, stem, rise = rng.uniform(0.6, 0.9), rng.uniform(0.14, 0.22), rng.uniform(0.8, 1.8)
    depth, base = rng.uniform(0.9, 1.6), rng.uniform(0.45, 0.7)
    profile = [(foot, 0.0), (foot, 0.1), (stem, 0.3), (stem, rise), (base, rise + 0.25)]
    bowl_profile = [(base, rise + 0.25), (1.0, rise + 0.25 + depth / 2), (rng.uniform(0.75, 1.0), rise + 0.25 + depth)]
    return solids.lathe(profile) + solids.shell(bowl_profile, 0.12, segments=8, floor=False)


def teapot(rng: Generator) -> Shape:
    height, foot = rng.uniform(1.1, 1.8), rng.uniform(0.5, 0.75)
    middle, mouth = height * rng.uniform(0.4, 0.55), rng.uniform(0.45, 0.6)
    knob = rng.uniform(0.12, 0.2)
    body = solids.lathe(
        [(foot, 0.0), (0.9, middle * 0.4), (1.0, middle), (0.85, middle + 0.6 * (height - middle)), (mouth, height)]
    )
    lid = [solids.blob(2 * knob, 2 * knob, 2 * knob, (0, 0, height + knob * 0.8), levels=3)]
    tip = height * rng.uniform(0.85, 1.1)
    reach = rng.uniform(1.6, 2.0)
    spout = solids.sweep([(0.7, 0, middle * 0.8), (1.25, 0, middle), (reach, 0, tip)], (0.32, 0.22, 0.13), Y)
    ear = _handle(0.88, 0.25 * height, 0.85 * height, rng.uniform(0.6, 0.9), rng.uniform(0.1, 0.14), count=5)
    return body + lid + spout + [points * (-1.0, 1.0, 1.0) for points in ear]


def basket(rng: Generator) -> Shape:
    """A tub with a bow over it."""
    height, foot, wall = rng.uniform(0.7, 1.2), rng.uniform(0.65, 0.9), rng.uniform(0.12, 0.18)
    outline = solids.polygon(1.0, int(rng.choice([4, 8, 12]))) * (1.0, rng.uniform(0.7, 1.0))
    tub = [solids.prism(foot * outline, 0.0, height, 1.0 / foot)]
    reach = outline[:, 0].max() - wall
    bow = solids.in_plane(solids.arc(1.0, 0, 180, 6) * (reach, rng.uniform(0.7, 1.2)) + (0.0, height), "xz")
    return tub + solids.sweep(bow, wall / 2, Y, sides=6, flatten=rng.uniform(1.0, 2.0))


SEEN = {
    "bottle": bottle,
    "jar": jar,
    "mug": mug,
    "cup": cup,
    "bowl": bowl,
    "plate": plate,
    "can": can,
    "vase": vase,
    "pot": pot,
    "funnel": funnel,
    "candle": candle,
    "basket": basket,
}
UNSEEN = {"goblet": goblet, "teapot": teapot}
