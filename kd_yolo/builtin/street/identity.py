"""Who a person is: the looks that stay the same in every camera.

Colours alone do not tell people apart: identities come in families of four that wear the same colours and differ in
pattern, garment, hair, bag and build.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kd_yolo.base.rng import Rng, between, chance, pick, stream
from kd_yolo.builtin.street.fills import Colour, Fill, grey, scaled, varied

FAMILY_SIZE = 4
CLOTHES: tuple[Colour, ...] = (
    (40, 40, 44), (70, 66, 64), (128, 124, 120), (205, 205, 208), (110, 62, 38), (140, 90, 50), (190, 150, 100),
    (48, 50, 168), (60, 60, 110), (52, 120, 60), (60, 92, 82),
    (90, 180, 215), (80, 120, 170), (120, 160, 196), (150, 80, 120),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (92, 62, 44), (120, 88, 64), (48, 46, 46), (84, 82, 80),
    (120, 150, 175), (58, 74, 92), (60, 84, 70), (180, 180, 178),
)  # fmt: skip
SKIN: tuple[Colour, ...] = ((170, 195, 232), (140, 172, 214), (105, 140, 190), (70, 98, 145), (48, 66, 100))
HAIR: tuple[Colour, ...] = ((24, 24, 28), (34, 44, 62), (50, 78, 112), (110, 165, 200), (150, 150, 152), (40, 60, 130))
TOP_PATTERNS = (
    "plain",
    "stripes",
    "pinstripes",
    "check",
    "dots",
    "camouflage",
    "diagonal",
    "split",
    "band",
    "print",
    "halves",
)
PERIODS_M = {"split": 0.2, "halves": 0.2, "band": 0.09, "print": 0.1}


def pick_cloth(rng: Rng) -> Colour:
    """A colour that clothes have."""
    return varied(rng, pick(rng, CLOTHES))


@dataclass(frozen=True)
class Identity:
    """A person's lasting looks.

    Args:
        id: number from 0.
        height_m: with hair.
        build: factor on the widths.
        skin: skin colour.
        hair: hair or hat colour.
        hair_style: "short", "long", "bun", "bald", "cap" or "hood".
        top: shirt or coat.
        sleeves: "long", "short".
        bottom_kind: "trousers", "shorts", "skirt" or "coat" (a coat down to the knees, in the top's fill).
        bottom: its fill.
        shoes: shoe colour.
        bag: "none", "backpack", "shoulder" or "hand".
        bag_fill: its fill.
    """

    id: int
    height_m: float
    build: float
    skin: Colour
    hair: Colour
    hair_style: str
    top: Fill
    sleeves: str
    bottom_kind: str
    bottom: Fill
    shoes: Colour
    bag: str
    bag_fill: Fill

    def dyed(self, colour: Colour) -> Identity:
        """The same figure all in one colour: a statue or a shop-window dummy."""
        dark = scaled(colour, 0.85)
        return replace(
            self,
            skin=colour, hair=dark, shoes=dark,
            top=self.top.dyed(colour), bottom=self.bottom.dyed(dark), bag_fill=self.bag_fill.dyed(dark),
        )  # fmt: skip


def make_identity(seed: int, identity: int) -> Identity:
    """The person of this number: always the same for one seed."""
    colours = stream(seed, "family", identity // FAMILY_SIZE)
    first, second = pick(colours, CLOTHES), pick(colours, CLOTHES)
    trousers, bag = pick(colours, TROUSERS), pick(colours, CLOTHES)
    rng = stream(seed, "identity", identity)
    hair_style = pick(rng, ("short", "long", "bun", "bald", "cap", "hood"), (5, 4, 2, 1, 2, 1))
    return Identity(
        id=identity,
        height_m=between(rng, 1.05, 1.4) if chance(rng, 0.1) else between(rng, 1.55, 1.93),
        build=between(rng, 0.88, 1.2),
        skin=varied(rng, pick(rng, SKIN), 8),
        hair=varied(rng, pick(rng, (*HAIR, first) if hair_style in ("cap", "hood") else HAIR), 8),
        hair_style=hair_style,
        top=_make_top(rng, identity % FAMILY_SIZE, first, second),
        sleeves=pick(rng, ("long", "short"), (2, 1)),
        bottom_kind=pick(rng, ("trousers", "shorts", "skirt", "coat"), (6, 1.5, 1.5, 1)),
        bottom=Fill(varied(rng, trousers, 8), grey(90), pick(rng, ("plain", "plain", "plain", "check")), 0.12, 0.25),
        shoes=pick(rng, (grey(30), grey(215), (40, 60, 90), (50, 50, 150))),
        bag=pick(rng, ("none", "backpack", "shoulder", "hand"), (4, 2.5, 1.5, 1.5)),
        bag_fill=Fill(varied(rng, bag, 8), grey(60), pick(rng, ("plain", "split", "stripes")), 0.12, 0.2),
    )


def _make_top(rng: Rng, place: int, first: Colour, second: Colour) -> Fill:
    """One family member's top: the family's two colours, another pattern for each member."""
    if place == 3:
        first, second = second, first
    pattern = TOP_PATTERNS[(int(rng.integers(3)) + 3 * place) % len(TOP_PATTERNS)]
    period_m = PERIODS_M.get(pattern, between(rng, 0.07, 0.16))
    return Fill(varied(rng, first, 6), varied(rng, second, 6), pattern, period_m, 0.3)
