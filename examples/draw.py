"""Draws the example pictures into this folder: `python examples/draw.py`. The same ones every time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

Point = tuple[float, float]
SCALE = 3  # drawn so many times larger, then reduced: smooth edges


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  (it must be the same every time)


def traced(text: str) -> list[Point]:
    """`"150,238 190,205"`: corners of a shape, as they were found on squared paper."""
    return [(float(x), float(y)) for x, y in (corner.split(",") for corner in text.split())]


def rgba(color: str, alpha: float = 1.0) -> tuple[int, int, int, int]:
    red, green, blue = ImageColor.getrgb(color)[:3]
    return red, green, blue, round(255 * alpha)


def gradient(size: tuple[int, int], colors: Sequence[str]) -> Image.Image:
    """From the first colour at the top to the last at the bottom, evenly."""
    strip = Image.new("RGB", (1, len(colors)))
    for row, color in enumerate(colors):
        strip.putpixel((0, row), rgba(color)[:3])
    step = 0.5 if len(colors) > 1 else 0  # from the middle of the first pixel to the middle of the last
    return strip.resize(size, Image.Resampling.BILINEAR, (0, step, 1, len(colors) - step))


def noise(size: tuple[int, int], seed: int, cells: Point = (4, 4), octaves: int = 6) -> Image.Image:
    """Cloudy grey: from fine to coarse, each octave weighs as much as all finer ones together."""
    rng, cloud = dice(seed), Image.new("L", size, 128)
    for octave in reversed(range(octaves)):
        grid = round(cells[0] * 2**octave), round(cells[1] * 2**octave)
        layer = Image.frombytes("L", grid, rng.randbytes(grid[0] * grid[1]))
        cloud = Image.blend(cloud, layer.resize(size, Image.Resampling.BICUBIC), 0.5)
    return cloud


def clouds(size: tuple[int, int], seed: int, cells: Point, least: int, *fade: str) -> Image.Image:
    """Where the noise is lighter than `least`; weaker or stronger from top to bottom, as the greys of `fade` say."""
    cloud = noise(size, seed, cells).point([max(0, min(255, (v - least) * 5)) for v in range(256)])
    return ImageChops.multiply(cloud, gradient(size, fade).convert("L"))


def ridge(seed: int, rough: float, steps: int = 8) -> list[float]:
    """A mountain line: midpoint displacement, about -1 to 1."""
    rng = dice(seed)
    line, reach = [rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)], 0.7
    for _ in range(steps):
        middles = [(a + b) / 2 + rng.uniform(-reach, reach) for a, b in pairwise(line)]
        line = [value for pair in zip(line, middles, strict=False) for value in pair] + line[-1:]
        reach *= rough
    return line


def curve(points: Sequence[Point], steps: int = 16) -> list[Point]:
    """A closed smooth line through all points (Catmull-Rom)."""
    line: list[Point] = []
    for i in range(len(points)):
        p0, p1, p2, p3 = (points[(i + k) % len(points)] for k in (-1, 0, 1, 2))
        for t in (step / steps for step in range(steps)):
            weights = (
                -t + 2 * t * t - t**3,
                2 - 5 * t * t + 3 * t**3,
                t + 4 * t * t - 3 * t**3,
                t**3 - t * t,
            )
            line.append(
                (
                    sum(w * p[0] for w, p in zip(weights, (p0, p1, p2, p3), strict=True)) / 2,
                    sum(w * p[1] for w, p in zip(weights, (p0, p1, p2, p3), strict=True)) / 2,
                )
            )
    return line


class Canvas:
    """A picture being drawn. All lengths are pixels of the finished picture."""

    def __init__(self, width: int, height: int, *colors: str) -> None:
        self.width, self.height = width, height
        self.size = width * SCALE, height * SCALE
        self.image = gradient(self.size, colors)

    def mask(self, points: Sequence[Point], blur: float = 0) -> Image.Image:
        mask = Image.new("L", self.size)
        ImageDraw.Draw(mask).polygon([(x * SCALE, y * SCALE) for x, y in points], fill=255)
        return mask.filter(ImageFilter.GaussianBlur(blur * SCALE)) if blur else mask

    def shape(self, points: Sequence[Point], color: str, alpha: float = 1.0) -> None:
        pen = ImageDraw.Draw(self.image, "RGBA")
        pen.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=rgba(color, alpha))

    def box(self, x: float, y: float, width: float, height: float, color: str, alpha: float = 1.0) -> None:
        self.shape([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], color, alpha)

    def disc(self, x: float, y: float, rx: float, color: str, alpha: float = 1.0, ry: float = 0) -> None:
        ry = ry or rx
        box = [SCALE * edge for edge in (x - rx, y - ry, x + rx, y + ry)]
        ImageDraw.Draw(self.image, "RGBA").ellipse(box, fill=rgba(color, alpha))

    def line(self, points: Sequence[Point], color: str, width: float, alpha: float = 1.0) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        pen = ImageDraw.Draw(self.image, "RGBA")
        pen.line(scaled, fill=rgba(color, alpha), width=max(1, round(width * SCALE)), joint="curve")

    def fill(self, mask: Image.Image, *colors: str, top: float = 0, bottom: float = 0) -> None:
        """A gradient through a mask; it runs from `top` to `bottom`."""
        first, last = round(top * SCALE), round((bottom or self.height) * SCALE)
        paint = Image.new("RGB", self.size, rgba(colors[-1])[:3])
        paint.paste(rgba(colors[0])[:3], (0, 0, self.size[0], max(0, first)))
        paint.paste(gradient((self.size[0], max(1, last - first)), colors), (0, first))
        self.image.paste(paint, mask=mask)

    def glow(self, x: float, y: float, radius: float, color: str, strength: float = 1.0, flat: float = 1.0) -> None:
        """Light, added to what is there."""
        wide, high = round(2 * radius * SCALE), round(2 * radius * flat * SCALE)
        # Pillow's gradient reaches 180 at the middle of each side, and must be dark there.
        spot = Image.radial_gradient("L").point([round(255 * max(0.0, 1 - v / 180) ** 2) for v in range(256)])
        mask = Image.new("L", self.size)
        mask.paste(
            spot.resize((wide, high), Image.Resampling.BICUBIC),
            (round(x * SCALE) - wide // 2, round(y * SCALE) - high // 2),
        )
        self.light(mask, color, strength)

    def light(self, mask: Image.Image, color: str, strength: float = 1.0) -> None:
        lamp = Image.new("RGB", self.size)
        lamp.paste(rgba(color)[:3], mask=mask.point([round(v * strength) for v in range(256)]))
        self.image = ImageChops.screen(self.image, lamp)

    def grain(self, seed: int, cells: Point, strength: float, within: Image.Image | None = None) -> None:
        """Light and dark clouds, so that no surface is quite even."""
        cloud = noise(self.size, seed, cells).convert("RGB")
        textured = Image.blend(self.image, ImageChops.overlay(self.image, cloud), strength)
        self.image.paste(textured, mask=within)

    def land(self, heights: Sequence[float], base: float, rise: float, *colors: str, depth: float = 0) -> Image.Image:
        """Everything below a line of hills, `rise` pixels about `base`; the colours run down over `depth` pixels."""
        step = self.width / (len(heights) - 1)
        points = [(i * step, base - rise * height) for i, height in enumerate(heights)]
        mask = self.mask([*points, (self.width, self.height), (0, self.height)])
        top = min(y for _, y in points)
        self.fill(mask, *colors, top=top, bottom=top + depth if depth else 0)
        return mask

    def stars(self, seed: int, count: int, below: float) -> None:
        rng = dice(seed)
        for _ in range(count):
            x, y = rng.uniform(0, self.width), below * rng.random() ** 1.5
            self.disc(x, y, rng.choice((0.5, 0.6, 0.8, 1.2)), "#ffffff", rng.uniform(0.3, 0.95))

    def finished(self) -> Image.Image:
        return self.image.resize((self.width, self.height), Image.Resampling.LANCZOS)


def mountains() -> Canvas:
    c = Canvas(768, 512, "#1d1b4c", "#4b2a73", "#a83f7b", "#f0765a", "#ffc46b", "#ffdf9a")
    c.stars(3, 90, 190)
    c.glow(505, 330, 330, "#ffb347", 0.85)
    c.disc(505, 318, 34, "#fff3d0")
    c.glow(505, 318, 90, "#fff0c0", 0.8)
    c.light(clouds(c.size, 11, (2, 9), 138, "#000", "#606060", "#a0a0a0", "#000", "#000"), "#ff9d7a", 0.8)
    layers = [
        (340, 70, "#d7708a", "#ffc08a"),
        (370, 75, "#a9527f", "#f09a85"),
        (402, 70, "#763d74", "#c56d84"),
        (436, 62, "#482b5f", "#8c4a78"),
        (470, 50, "#291c46", "#4f2f62"),
        (505, 38, "#120e2b", "#1d1538"),
    ]
    for seed, (base, rise, top, bottom) in enumerate(layers):
        c.land(ridge(40 + seed, 0.53), base, rise, top, bottom, depth=110)
    return c


def lighthouse() -> Canvas:
    c = Canvas(512, 768, "#0b1530", "#14294f", "#27507c", "#5f86a0", "#d9a77c", "#f2c58c")
    c.stars(8, 90, 300)
    c.light(clouds(c.size, 5, (2, 8), 128, "#202020", "#505050", "#b0b0b0", "#000"), "#c99a9c", 0.9)
    beams = Image.new("L", c.size)
    for far, high in ((-350, 90), (350, 90)):
        ray = c.mask([(331, 247), (331 + far, 247 - high), (331 + far, 247 + high * 0.35)], blur=4)
        beams = ImageChops.lighter(beams, ray)
    reach = Image.new("L", c.size)
    reach.paste(
        ImageChops.invert(Image.radial_gradient("L")).resize((760 * SCALE, 760 * SCALE)),
        (-49 * SCALE, -133 * SCALE),
    )
    c.light(ImageChops.multiply(beams, reach), "#ffe9b0", 0.8)
    sea(c)
    rock = traced("150,790 185,655 225,640 245,600 290,582 335,572 375,580 420,618 455,640 530,662 530,790")
    within = c.mask(rock)
    c.fill(within, "#5a4a50", "#2a2633", "#101322", top=570)
    c.grain(21, (9, 14), 0.9, within)
    tower(c)
    return c


SEA = ("#f0c795", "#3f7590", "#2b5f80", "#1d4a6b")


def sea(c: Canvas) -> None:
    rng = dice(9)
    for row in range(17):
        y = 512 + row * row * 0.95 + row
        swell = [math.sin(i * 0.05 * (18 - row) + rng.uniform(0, 0.7) + row * 2) for i in range(60)]
        top, bottom = SEA[min(3, row)], "#16395a" if row < 9 else "#0a2340"
        c.land(swell, y, 1.5 + row * 0.7, top, bottom, depth=28 + 5 * row)
    for _ in range(150):
        y = rng.uniform(516, 760)
        x, half = rng.uniform(0, 512), (y - 500) * 0.12
        crest = [(x - half, y), (x, y - half * 0.08), (x + half, y)]
        c.line(crest, "#ffdcae", 0.6 + (y - 500) / 300, rng.uniform(0.1, 0.4))


def tower(c: Canvas) -> None:
    for stripe in range(6):
        a, b = stripe / 6, (stripe + 1) / 6
        corners = ((303, -1, a), (359, 1, a), (359, 1, b), (303, -1, b))
        band = [(x + side * 16 * t, 268 + 322 * t) for x, side, t in corners]
        c.shape(band, "#c8382f" if stripe % 2 else "#f4ece0")
    for k in range(12):
        c.shape([(303 - 16 + k * 3.2, 590), (303 + k * 2.2, 268), (303, 268), (287, 590)], "#101a38", 0.05)
    for y in (330, 420, 510):
        c.box(326, y, 10, 18, "#2b2230")
    c.shape(traced("294,262 368,262 364,274 298,274"), "#27222e")
    c.box(312, 232, 38, 30, "#ffe9a8")
    for x in (312, 324, 337, 350):
        c.line([(x, 232), (x, 262)], "#27222e", 2)
    c.shape(traced("304,233 358,233 344,214 331,206 318,214"), "#8d2a28")
    c.disc(331, 204, 4, "#27222e")
    c.glow(331, 247, 120, "#fff0b8", 0.95)


def petal(angle: float, start: float, length: float, width: float, centre: float) -> list[Point]:
    outline: list[Point] = []
    for step in range(41):
        t = step / 20 if step <= 20 else 2 - step / 20
        side = 1 if step <= 20 else -1
        along, across = start + length * t, side * width * math.sin(math.pi * t**0.8) * (1 - 0.35 * t)
        outline.append(
            (
                centre + along * math.cos(angle) - across * math.sin(angle),
                centre + along * math.sin(angle) + across * math.cos(angle),
            )
        )
    return outline


def mandala() -> Canvas:
    c = Canvas(640, 640, "#14213d", "#1b1238")
    c.glow(320, 320, 420, "#5a2a82", 0.9)
    rings = [
        (24, 205, 100, 19, "#0f766e", "#2dd4bf"),
        (24, 160, 110, 17, "#9d174d", "#f472b6"),
        (16, 120, 110, 24, "#c2410c", "#fdba74"),
        (16, 84, 84, 18, "#7e22ce", "#d8b4fe"),
        (12, 48, 80, 20, "#b91c1c", "#fca5a5"),
        (8, 12, 72, 20, "#ca8a04", "#fef08a"),
    ]
    for number, (count, start, length, width, dark, pale) in enumerate(rings):
        for k in range(count):
            angle = 2 * math.pi * (k + 0.5 * (number % 2)) / count
            for inset, color in ((0, "#fff7e0"), (1.6, dark), (width * 0.42, pale), (width * 0.62, dark)):
                c.shape(petal(angle, start + inset * 1.8, length - inset * 3.4, width - inset, 320), color)
            x, y = 320 + (start + length + 8) * math.cos(angle), 320 + (start + length + 8) * math.sin(angle)
            c.disc(x, y, 4.2, "#fff7e0")
            c.disc(x, y, 2.8, pale)
    for radius, color in ((24, "#fff7e0"), (21, "#7c2d12"), (15, "#fde047"), (8, "#fff7e0")):
        c.disc(320, 320, radius, color)
    return c


def city() -> Canvas:
    c = Canvas(768, 512, "#070b24", "#131a4a", "#4a2878", "#d8587f", "#ffa070", "#ffb070")
    c.stars(17, 130, 200)
    c.glow(384, 380, 420, "#ff7e8a", 0.55, flat=0.6)
    c.disc(600, 92, 30, "#fdf3dc")
    c.glow(600, 92, 110, "#f5e6ff", 0.55)
    rows = [("#8d4080", 180, 0.0), ("#452a6a", 190, 0.22), ("#0d1030", 125, 0.5)]
    for seed, (color, tallest, lit) in enumerate(rows):
        skyline(c, 60 + seed, color, tallest, lit)
    reflect(c, 380)
    return c


def reflect(c: Canvas, shore: int) -> None:
    depth, blur = c.height - shore, ImageFilter.BoxBlur((2 * SCALE, 5 * SCALE))
    above = c.image.crop((0, (shore - depth) * SCALE, c.size[0], shore * SCALE))
    mirror = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).filter(blur)
    dark = Image.new("RGB", mirror.size, "#0b1238")
    c.image.paste(Image.blend(mirror, dark, 0.35), (0, shore * SCALE))
    rng = dice(77)
    for _ in range(420):
        x, y, half = rng.uniform(0, 768), rng.uniform(shore + 2, c.height), rng.uniform(4, 26)
        color = rng.choice(("#05081f", "#ff9bb0", "#ffd98a"))
        c.line([(x - half, y), (x + half, y)], color, 0.9, rng.uniform(0.06, 0.3))


def skyline(c: Canvas, seed: int, color: str, tallest: float, lit: float) -> None:
    rng, x = dice(seed), -10.0
    while x < c.width:
        width = rng.uniform(26, 62)
        height = tallest * rng.uniform(0.3, 1) ** 1.2
        top = 380 - height
        c.box(x, top, width, height, color)
        if rng.random() < 0.35:
            c.shape([(x + width * 0.25, top), (x + width * 0.5, top - 22), (x + width * 0.75, top)], color)
            c.line([(x + width / 2, top - 18), (x + width / 2, top - 44)], color, 1.6)
        if lit:
            windows(c, rng, (x, top, width, height), lit)
        x += width + rng.choice((-4, 0, 0, 3))


def windows(c: Canvas, rng: random.Random, house: tuple[float, float, float, float], lit: float) -> None:
    x, top, width, height = house
    for row in range(int(height // 8) - 1):
        for column in range(int(width // 6.5) - 1):
            if rng.random() < lit:
                glass = rng.choice(("#ffd479", "#ffe9b5", "#ffb25e", "#8fd3ff"))
                c.box(x + 5 + column * 6.5, top + 6 + row * 8, 3.4, 4.6, glass, rng.uniform(0.35, 1))


def forest() -> Canvas:
    c = Canvas(512, 768, "#f6d8a0", "#fbe7b4", "#f7c774", "#c7763a", "#5a3020")
    c.glow(300, 300, 380, "#fff6d0", 0.9)
    rng = dice(31)
    depths = [("#d9a868", "#e8b04f"), ("#b57a45", "#e08a2e"), ("#7d4a2c", "#cf5a22"), ("#3d2218", "#a63a1c")]
    for depth, (bark, leaf) in enumerate(depths):
        ground = 560 + depth * 45
        c.land(ridge(90 + depth, 0.4), ground, 14, leaf, bark, depth=120)
        for _ in range((15, 10, 6, 3)[depth]):
            tree(c, rng, rng.uniform(-10, 522), ground + 14, depth, bark)
        leaves(c, rng, depth, leaf)
    for _ in range(420):
        color = rng.choice(("#e9a13b", "#d9622b", "#b8391f", "#f4c95d"))
        x, y = rng.uniform(0, 512), rng.uniform(640, 768)
        c.disc(x, y, rng.uniform(2, 5), color, 0.85, ry=rng.uniform(1, 2.4))
    for x in (120, 210, 290, 370):
        ray = c.mask([(x + 90, -20), (x + 130, -20), (x - 60, 690), (x - 130, 690)], blur=14)
        c.light(ray, "#ffe8a8", 0.22)
    return c


def tree(c: Canvas, rng: random.Random, x: float, foot: float, depth: int, bark: str) -> None:
    half, lean = (3, 6, 10, 17)[depth], rng.uniform(-14, 14)
    left = [(x - half * 1.5, foot), (x - half, foot - 60), (x + lean - half * 0.5, -10)]
    right = [(x + lean + half * 0.5, -10), (x + half, foot - 60), (x + half * 1.6, foot)]
    c.shape(left + right, bark)
    c.shape([(x + half * 0.3, foot), (x + lean + half * 0.2, -10), *right], "#ffdf9a", 0.16)
    for _ in range(5):
        y, reach = rng.uniform(40, 330), rng.choice((-1, 1)) * rng.uniform(5, 9) * half
        at, up = x + lean * (foot - y) / foot, abs(reach)
        c.line([(at, y), (at + reach / 2, y - up * 0.35), (at + reach, y - up * 0.9)], bark, half * 0.32)


def leaves(c: Canvas, rng: random.Random, depth: int, color: str) -> None:
    near = (color, "#c9481f", "#e0752a", "#7d2a18")
    shades = near if depth == 3 else (color, "#f2b84b", "#e8862e", "#fbd77a")
    for _ in range((26, 24, 20, 15)[depth]):
        x, y = rng.uniform(-20, 532), rng.uniform(-30, (330, 290, 240, 150)[depth])
        for _ in range(70):
            size = rng.uniform(1.6, 3.2) + depth * 0.9
            at = x + rng.gauss(0, 26), y + rng.gauss(0, 15)
            c.disc(*at, size, rng.choice(shades), 0.8, ry=size * rng.uniform(0.5, 0.9))


def tiles() -> Canvas:
    """Stars of eight points and the crosses between them, as on an old tiled wall."""
    c = Canvas(600, 600, "#f3e3c3", "#ecd6ad")
    rng, pitch = dice(4), 120
    glazes = ["#0f4c75", "#1b7a8c", "#16697a", "#0b3954", "#2a9d8f"]
    for row in range(6):
        for column in range(6):
            x, y = column * pitch, row * pitch
            star(c, x, y, 58, 0, rng.choice(glazes))
            star(c, x, y, 43, 0, "#f6ecd8")
            star(c, x, y, 38, math.pi / 8, "#c8553d")
            star(c, x, y, 25, 0, "#f2b134")
            star(c, x, y, 13, math.pi / 8, "#fff6e0")
            middle = x + pitch / 2, y + pitch / 2
            star(c, *middle, 30, 0, "#14213d", corners=4, waist=0.4)
            star(c, *middle, 11, 0, "#e9c46a")
    c.grain(6, (5, 5), 0.35)
    return c


def star(
    c: Canvas, x: float, y: float, radius: float, turn: float, color: str, corners: int = 8, waist: float = 0.765
) -> None:
    line = []
    for k in range(2 * corners):
        angle, reach = k * math.pi / corners + turn, radius * (waist if k % 2 else 1)
        line.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    c.shape(line, color)


def whale() -> Canvas:
    c = Canvas(768, 512, "#7fe3e0", "#2fa9c4", "#14709f", "#0b4478", "#062650", "#031433")
    rng, deep = dice(12), gradient(c.size, ["#fff", "#808080", "#303030", "#000"]).convert("L")
    for _ in range(13):
        x, wide = rng.uniform(120, 680), rng.uniform(8, 38)
        far = (x - 400) * 0.9
        ray = c.mask([(x, -10), (x + wide, -10), (x + wide * 2.6 + far, 520), (x - wide * 1.2 + far, 520)], blur=9)
        c.light(ImageChops.multiply(ray, deep), "#c8fff4", rng.uniform(0.12, 0.36))
    animal(c)
    for _ in range(80):
        x, y, size = rng.gauss(150, 60), rng.uniform(10, 240), rng.choice((1.2, 1.8, 2.6, 4.0))
        c.disc(x, y, size, "#e9fffb", 0.28)
        c.disc(x - size * 0.3, y - size * 0.3, size * 0.35, "#ffffff", 0.8)
    c.land(ridge(7, 0.5), 482, 22, "#0a2a4c", "#020d22", depth=60)
    return c


def animal(c: Canvas) -> None:
    nose_to_tail = "150,238 190,205 270,183 370,176 455,190 525,212 600,222 648,206 690,172 712,176 694,214"
    tail_to_nose = "716,250 700,262 660,244 620,248 540,262 450,288 350,306 250,302 180,280"
    body = c.mask(curve(traced(f"{nose_to_tail} {tail_to_nose}")))
    c.fill(body, "#3f7f9f", "#1d4d74", "#0f2f56", top=176, bottom=300)
    c.grain(44, (10, 7), 0.6, body)
    belly = curve(traced("156,258 220,270 320,282 420,280 350,305 250,302 180,282"))
    c.fill(c.mask(belly, blur=2), "#bfe2e6", "#7fb3c4", top=255, bottom=305)
    for k in range(7):
        ends = (172 + k * 3, 262 + k * 5), (392 - k * 14, 283 + k * 3)
        c.line(curve([ends[0], (260, 277 + k * 4), ends[1], (260, 277.5 + k * 4)]), "#3a7593", 0.8, 0.55)
    flipper = curve(traced("300,276 345,280 352,318 330,362 292,398 300,352 298,312"))
    c.fill(c.mask(flipper), "#2f6d90", "#1a4a76", top=270, bottom=398)
    fin = curve(traced("486,203 512,190 534,188 524,203 530,216"))
    c.fill(c.mask(fin), "#3a7797", "#235a80", top=188, bottom=216)
    c.disc(206, 252, 4.6, "#071c36")
    c.disc(204.8, 250.6, 1.5, "#e8ffff")
    c.line(traced("152,246 176,256 200,262"), "#0b2748", 1.6, 0.7)


def dunes() -> Canvas:
    c = Canvas(768, 512, "#0a1033", "#1b2458", "#3a3a7c", "#8a5f8d", "#e39a83")
    c.stars(23, 220, 300)
    moon = c.mask([(520 + 84 * math.cos(k / 40 * math.pi), 140 + 84 * math.sin(k / 40 * math.pi)) for k in range(80)])
    c.glow(520, 140, 250, "#cfd4ff", 0.6)
    c.fill(moon, "#fffdf0", "#e6dcc8", top=56, bottom=224)
    seas = clouds(c.size, 71, (14, 10), 122, "#989898")
    c.image.paste(rgba("#a9a3b4")[:3], mask=ImageChops.multiply(seas, moon))
    layers = [
        (332, 20, "#a8708a", "#7a4f7c"),
        (368, 30, "#d88f74", "#8a4f6b"),
        (415, 40, "#e8a56c", "#7b3f58"),
        (470, 46, "#b9684f", "#3c1f3f"),
    ]
    for k, (base, rise, lit, dark) in enumerate(layers):
        wave = [
            math.sin(i / 128 * math.pi * (2.1 - 0.25 * k) + 1.9 * k + 0.6) + 0.22 * math.sin(i / 21 + 2 * k)
            for i in range(129)
        ]
        within = c.land(wave, base, rise, lit, dark, depth=115)
        ripples = noise(c.size, 80 + k, (6, 46), 3)
        c.image.paste(Image.blend(c.image, ImageChops.overlay(c.image, ripples.convert("RGB")), 0.32), mask=within)
        crest = [(i * 6, base - rise * v) for i, v in enumerate(wave)]
        c.line(crest, "#ffe0b8", 1.4, 0.55)
    return c


def balloons() -> Canvas:
    c = Canvas(640, 640, "#3f8fd2", "#7dbbe6", "#bfe0ef", "#fbe6c8", "#ffd0a6")
    c.light(clouds(c.size, 2, (3, 7), 125, "#404040", "#ffffff", "#a0a0a0", "#202020"), "#ffffff", 0.85)
    for seed, (base, rise, top, bottom) in enumerate(
        [
            (520, 40, "#9fb8c8", "#e4d6c4"),
            (560, 36, "#6f9a8a", "#b9c79a"),
            (606, 30, "#3f7a58", "#7fae5f"),
            (650, 34, "#1f5240", "#35704a"),
        ]
    ):
        c.land(ridge(120 + seed, 0.42), base, rise, top, bottom, depth=80)
    balloon(c, 130, 330, 40, ("#3d348b", "#f7b801", "#f18701"))
    balloon(c, 505, 395, 30, ("#2a9d8f", "#f4f1de", "#e76f51"))
    balloon(c, 520, 165, 62, ("#d62828", "#fcbf49", "#eae2b7"))
    balloon(c, 290, 235, 112, ("#e63946", "#f1faee", "#457b9d", "#f4a261"))
    return c


def balloon(c: Canvas, x: float, y: float, r: float, colors: Sequence[str]) -> None:
    """Gores: each a lens of the same height, narrower towards the sides as on a sphere."""

    def half(t: float) -> float:  # the outline's half width, t from the crown (0) to the mouth (1)
        return r * (math.sin(math.acos(1 - t / 0.55)) if t < 0.55 else (1 - ((t - 0.55) / 0.45) ** 1.7 * 0.84))

    gores = 12
    edges = [-math.cos(math.pi * k / gores) for k in range(gores + 1)]
    steps = [k / 40 for k in range(41)]
    for k in range(gores):
        left = [(x + edges[k] * half(t), y - r + 2.35 * r * t) for t in steps]
        right = [(x + edges[k + 1] * half(t), y - r + 2.35 * r * t) for t in steps]
        c.shape(left + right[::-1], colors[k % len(colors)])
        c.shape(left + right[::-1], "#14213d", 0.05 * max(0.0, k - 4.0))
    c.glow(x - r * 0.35, y - r * 0.35, r * 0.9, "#fff6dc", 0.35)
    mouth, basket = y + 1.35 * r, y + 1.72 * r
    for side in (-1, 1):
        c.line([(x + side * 0.15 * r, mouth), (x + side * 0.13 * r, basket)], "#4a3222", max(0.6, r / 70))
    c.shape(
        [
            (x - 0.15 * r, basket),
            (x + 0.15 * r, basket),
            (x + 0.12 * r, basket + 0.24 * r),
            (x - 0.12 * r, basket + 0.24 * r),
        ],
        "#7a4a25",
    )
    c.glow(x, mouth + 0.05 * r, r * 0.22, "#ffb238", 0.9)


PICTURES: dict[str, Callable[[], Canvas]] = {
    "mountains.jpg": mountains,
    "lighthouse.webp": lighthouse,
    "mandala.png": mandala,
    "city.webp": city,
    "forest.jpg": forest,
    "tiles.png": tiles,
    "whale.webp": whale,
    "dunes.jpg": dunes,
    "balloons.jpg": balloons,
}


def save(picture: Image.Image, path: Path) -> None:
    if path.suffix == ".png":
        picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    elif path.suffix == ".webp":
        picture.save(path, quality=92, method=6)
    else:
        picture.save(path, quality=86, optimize=True)


def main() -> None:
    for name, draw in PICTURES.items():
        save(draw().finished(), Path(__file__).parent / name)


if __name__ == "__main__":
    main()
