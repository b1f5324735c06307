"""Draws the single network, the multi network and the coach's loop: docs/figures/networks.svg and .png.

python -m docs.figures.networks

Every box has the name of a module's attribute; a test looks them up in the modules. The pictures show a generated
slice; they are not the output of a network.
"""

import pathlib

import matplotlib
import numpy as np
from matplotlib import colors
from PIL import Image

from docs.figures.sheet import FILL, GREY, Sheet
from ssinfnet_jax.config import LEARNER
from ssinfnet_jax.data import labels
from ssinfnet_jax.data.datasets.ct_phantom import generator, population
from ssinfnet_jax.report.kit import figure_style

SIZE = (148, 139)  # tenths of an inch


def draw() -> Sheet:
    """Draws the three panels."""
    sheet, slices = Sheet(*SIZE), _pictures()
    _single(sheet, slices, top=SIZE[1] - 3)
    _multi(sheet, slices, left=2, top=60)
    _coach(sheet, slices, left=77, top=60)
    sheet.axes.set(xlim=(0, SIZE[0]), ylim=(0, SIZE[1]), aspect="auto")
    return sheet


def _single(sheet: Sheet, slices, top: float) -> None:
    """Panel a: the backbone in the middle, the coarse map to its left, its refinement to its right."""
    sheet.title((2, top), "a", "infnet", "InfNet, the single network: finds the lesion")
    _legend(sheet, (3.5, top - 9))
    rows = {level: top - 8 - 12 * level for level in (1, 2, 3, 4)}
    sheet.picture((56, top - 4.5), 8, slices["image"])
    sheet.text((61, top - 4.5), "slice, grey repeated\n[S, S, 3]", ha="left")
    sheet.frame((46, rows[4] - 5.2), (20, 50), "encoder", "encoder", "infnet")
    sheet.arrow((56, top - 8.5), (56, rows[1] + 3.8))
    for level, channels in zip(rows, (256, 512, 1024, 2048), strict=True):
        y = rows[level]
        sheet.box(
            (56, y), (14, 7.6), "encoder", label=f"x{level}", note=f"stride {2 ** (level + 1)}\n{channels} channels"
        )
        if level < 4:
            sheet.arrow((56, y - 3.8), (56, rows[level + 1] + 3.8))
    for level in (2, 3, 4):
        sheet.box((34, rows[level]), (10, 6), "decoder", "infnet", f"rfb{level}", "32 channels")
        sheet.arrow((49, rows[level]), (39, rows[level]))
        sheet.arrow((29, rows[level]), (22, rows[level]))
    sheet.frame((6, rows[4] - 4), (16, rows[2] - rows[4] + 8), "decoder", "decoder", "infnet")
    inside = "parallel partial\ndecoder:\nproducts and\nconcatenations,\nstride 8"
    sheet.text((14, rows[3]), inside, colour=GREY)
    low = rows[4] - 8.5
    sheet.box((12, low), (10, 3.2), "head", "infnet", "decoder/head")
    sheet.arrow((12, rows[4] - 4), (12, low + 1.6))
    sheet.box((27, low), (14.5, 3.2), "head", "infnet", "decoder/head_inpainting", twin=True)
    sheet.arrow((18.4, rows[4] - 4), (18.4, low), (19.75, low), dashed=True)
    _edge_branch(sheet, rows)
    _refinement(sheet, rows, low - 4.6)
    sheet.text((140, rows[2] + 6.2), "sigmoid(map_2)", mono=True)
    sheet.picture((140, rows[2]), 9.4, slices["lesion"], "lesion")
    sheet.arrow((131.6, rows[2]), (135.3, rows[2]))


def _edge_branch(sheet: Sheet, rows) -> None:
    """Edge branch: x1 -> edge features, which feed every attention, and the edge map."""
    y, colour, bus = rows[1], FILL["edge"][1], 71.5
    sheet.arrow((63, y), (75, y))
    for number in (1, 2, 3):
        x = 67.5 + 12.5 * number
        sheet.box((x, y), (10, 5.2), "edge", "infnet", f"edge_conv{number}", "64 channels")
        sheet.arrow((x + 5, y), (x + 7.5, y))
    sheet.box((117.4, y), (9.8, 3.2), "head", "infnet", "edge_head")
    sheet.box((121.4, y + 4), (17.6, 3.2), "head", "infnet", "edge_head_inpainting", twin=True)
    sheet.arrow((111.2, y), (111.2, y + 4), (112.6, y + 4), dashed=True)
    _output(sheet, y, "edge", 122.3)
    sheet.arrow((105, y - 2.6), (105, y - 5.4), (bus, y - 5.4), (bus, rows[4] + 1.5), (77, rows[4] + 1.5),
                colour=colour, over=True)  # fmt: skip
    for level in (2, 3):
        sheet.arrow((bus, rows[level] + 1.5), (77, rows[level] + 1.5), colour=colour)


def _refinement(sheet: Sheet, rows, lane: float) -> None:
    """Reverse attention: the coarse map moves from the decoder's head, along `lane`, up to map 2."""
    plus = 119.2
    sheet.arrow((12, lane + 3), (12, lane), (125.4, lane))
    sheet.box((130.6, lane), (10.4, 3.2), "data", label="global_map")
    for level in (4, 3, 2):
        y = rows[level]
        below = lane if level == 4 else rows[level + 1] + 7
        sheet.arrow((63, y - 1.5), (77, y - 1.5))
        sheet.arrow((plus, below), (85, below), (85, y - 4), head=True)
        sheet.arrow((plus, below if level == 4 else rows[level + 1] + 1.25), (plus, y - 1.25))
        convs = "5×5 convolutions, 256" if level == 4 else "3×3 convolutions, 64"
        note = f"(1 − sigmoid(coarse)) · x{level}\n{convs}"
        sheet.box((85, y), (16, 8), "attention", "infnet", f"attention{level}", note)
        sheet.arrow((93, y), (102, y))
        sheet.box((107, y), (10, 3.2), "head", "infnet", f"attention{level}/head")
        sheet.box((107, y + 4), (14, 3.2), "head", "infnet", f"attention{level}/head_inpainting", twin=True)
        sheet.arrow((96.5, y), (96.5, y + 4), (100, y + 4), dashed=True)
        sheet.arrow((112, y), (plus - 1.25, y))
        sheet.node((plus, y), "+")
        _output(sheet, y, f"map_{level}", plus + 1.25)


def _output(sheet: Sheet, y: float, name: str, start: float) -> None:
    sheet.arrow((start, y), (125.4, y))
    sheet.box((128.5, y), (6.2, 3.2), "data", label=name)


def _legend(sheet: Sheet, at) -> None:
    x, y = at
    sheet.box((x + 2.5, y), (5, 2.2), "head", label=" ", twin=True)
    sheet.text((x + 6.5, y), "of the inpainting form (method inpaint): 3 channels, tanh", ha="left", colour=GREY)
    sheet.node((x + 2.5, y - 3.6), "+")
    sheet.text((x + 6.5, y - 3.6), "the coarse map, resized, is added", ha="left", colour=GREY)
    sheet.arrow((x, y - 7.2), (x + 5, y - 7.2), colour=FILL["edge"][1])
    sheet.text((x + 6.5, y - 7.2), "edge features, resized", ha="left", colour=GREY)
    sheet.text((x, y - 10.8), "All maps are enlarged to the size of the slice.", ha="left", colour=GREY)


def _multi(sheet: Sheet, slices, left: float, top: float) -> None:
    """Panel b: the U-Net with two expanding paths."""
    name, blue = "multi_ssinfnet", FILL["encoder"][1]
    sheet.title((left, top), "b", name, "U-Net, the multi network: divides the lesion into GGO and consolidation")
    rows = [top - 12 - 9.2 * level for level in range(5)]
    entry, down, join, up = left + 12.5, left + 21, left + 29.5, left + 45
    sheet.picture((left + 5, rows[0]), 8, slices["image"], "slice")
    sheet.picture((left + 5, rows[1] - 2.5), 8, slices["prior"], "prior")
    sheet.text((left + 5, rows[1] - 11), "[S, S, 3] each", colour=GREY)
    sheet.arrow((left + 9, rows[0]), (down - 5.5, rows[0]))
    sheet.arrow((left + 9, rows[1] - 2.5), (entry, rows[1] - 2.5), (entry, rows[0]), head=False)
    for level, channels in enumerate((64, 128, 256, 512, 512)):
        y = rows[level]
        sheet.box((down, y), (11, 4.8), "encoder", name, f"down_{level}", f"{channels} channels")
        if level in (2, 4):
            above = (rows[level - 1] + y) / 2
            sheet.arrow((entry, rows[1] - 2.5 if level == 2 else (rows[1] + rows[2]) / 2), (entry, above),
                        (join, above), (join, y + 1.25), colour=blue, over=True)  # fmt: skip
            sheet.arrow((down + 5.5, y), (join - 1.25, y), head=False)
            sheet.node((join, y), "c", blue)
        if level < 4:
            below = (down, rows[level + 1] + 2.4)
            middle = (rows[level + 1] + y) / 2 - 0.6
            path = [(join, y - 1.25), (join, middle), (down, middle)] if level == 2 else [(down, y - 2.4)]
            sheet.arrow(*path, below)
    again = "c: the input again,\nresized by nearest\nneighbour, is\nconcatenated"
    sheet.text((left, rows[4] - 0.2), again, ha="left", colour=blue)
    # Two expanding paths, one behind the other.
    sheet.frame((up - 5, rows[3] - 3.6), (17, rows[0] - rows[3] + 11), "decoder", "up_inpainting", name, twin=True)
    sheet.frame((up - 8.5, rows[3] - 6), (17, rows[0] - rows[3] + 10.8), "decoder", "up", name, zorder=1.5)
    for step, channels in enumerate((256, 128, 64, 64), start=1):
        level = 4 - step
        sheet.box((up, rows[level]), (12, 4.8), "decoder", name, f"up/up{step}", f"{channels} channels")
        sheet.names[name].add(f"up_inpainting/up{step}")
        sheet.arrow((join + 1.25 if level == 2 else down + 5.5, rows[level]), (up - 6, rows[level]))
        if level:
            sheet.arrow((up, rows[level] + 2.4), (up, rows[level - 1] - 2.4))
    sheet.arrow((join + 1.25, rows[4]), (up, rows[4]), (up, rows[3] - 2.4))
    sheet.arrow((up + 6, rows[0]), (left + 59, rows[0]))
    sheet.box((left + 62, rows[0]), (6, 3.2), "head", name, "head")
    sheet.arrow((left + 62, rows[0] - 1.6), (left + 62, rows[1] + 4))
    sheet.picture((left + 62, rows[1] - 0.2), 8.4, slices["classes"])
    sheet.text((left + 67, rows[1] + 2), "GGO", colour=figure_style.GGO, weight="bold", ha="left")
    sheet.text(
        (left + 67, rows[1] - 0.2), "conso-\nlidation", colour=figure_style.CONSOLIDATION, weight="bold", ha="left"
    )
    sheet.box((left + 65, rows[3]), (14, 3.2), "head", name, "head_inpainting", twin=True)
    sheet.arrow((up + 12, rows[3]), (left + 58, rows[3]), dashed=True)
    sheet.text((left + 65, rows[3] - 3), "6 channels, tanh", colour=GREY)


def _coach(sheet: Sheet, slices, left: float, top: float) -> None:
    """Panel c: the coach erases, the inpainter restores, and both learn from the error."""
    sheet.title((left, top), "c", "coach", "adversarial pretraining without labels: two networks in alternating phases")
    high, low, middle, right = top - 15, top - 38.5, top - 27, left + 62
    sheet.picture((left + 5, high), 8, slices["image"], "slice")
    sheet.arrow((left + 9, high), (left + 16, high))
    sheet.frame((left + 13, high - 8.4), (38, 15.6), "coach", "coach")
    sheet.box((left + 21, high), (10, 4.8), "coach", "coach", "encoder", "stride 16")
    for name, y in (("mu", high + 2.4), ("logvar", high - 3.2)):
        sheet.box((left + 34.5, y), (8, 3.4), "coach", "coach", name)
        sheet.arrow((left + 26, high), (left + 28, high), (left + 28, y), (left + 30.5, y))
        sheet.arrow((left + 38.5, y), (left + 40.4, y), (left + 40.4, high), (left + 42.3, high))
    sheet.box((left + 45.8, high), (7, 3.4), "coach", "coach", "score")
    sheet.text((left + 42.5, high - 6.7), "z = mu + eps · exp(logvar / 2)", size=7.4, colour=GREY)
    sheet.arrow((left + 49.3, high), (right - 4, high))
    sheet.text((left + 54.7, high + 1.4), "keep_mask", size=8.2, mono=True)
    sheet.picture((right, high), 8, slices["keep"], "")
    sheet.text((right + 1.2, high - 6.4), "keeps 75 %", ha="left", colour=GREY)
    # Erase, restore, compare.
    sheet.arrow((right, high - 4), (right, middle + 1.25))
    sheet.arrow((left + 5, high - 6.6), (left + 5, low + 4.6), head=True)
    sheet.arrow((left + 5, middle), (right - 1.25, middle))
    sheet.node((right, middle), "×")
    sheet.arrow((right, middle - 1.25), (right, low + 4))
    sheet.picture((right, low), 8, slices["erased"])
    sheet.text((right, low - 5.6), "a quarter erased", colour=GREY)
    sheet.arrow((right - 4, low), (left + 48, low))
    sheet.box((left + 37.5, low), (21, 8), "attention", label="inpainter",
              note="infnet or multi_ssinfnet,\nmethod inpaint")  # fmt: skip
    sheet.arrow((left + 27, low), (left + 17, low))
    sheet.text((left + 22, low + 1.4), "restored")
    sheet.box((left + 8.5, low + 2.3), (17, 4.4), "data", label="reconstruction", note="error where erased")
    sheet.box((left + 8.5, low - 2.6), (17, 4.4), "data", label="context", note="error where kept")
    red, green = FILL["coach"][1], FILL["decoder"][1]
    sheet.arrow((left + 12, low - 4.8), (left + 12, low - 8), (left + 37.5, low - 8), (left + 37.5, low - 4),
                colour=green, dashed=True)  # fmt: skip
    sheet.text((left + 13.2, low - 6.6), "inpaint_step", mono=True, ha="left", colour=green)
    sheet.text((left + 13.2, low - 9.4), "0.99 reconstruction + 0.01 context", ha="left", colour=green)
    _coach_gradient(sheet, left, high, low, red)
    _phases(sheet, left, low - 17)


def _coach_gradient(sheet: Sheet, left: float, high: float, low: float, red: str) -> None:
    """The coach's gradient goes back through the inpainter's input and the mask."""
    far = left + 70
    lower, upper = low - 12, high + 9.4
    sheet.arrow((left + 4, low - 4.8), (left + 4, lower), (far, lower), (far, upper), (left + 32, upper),
                (left + 32, high + 7.2), colour=red, dashed=True)  # fmt: skip
    sheet.text((left + 38.5, low - 10.6), "coach_step", mono=True, ha="left", colour=red)
    sheet.text((left + 38.5, low - 13.4), "1 − reconstruction + 1e-6 KL", ha="left", colour=red)


def _phases(sheet: Sheet, left: float, y: float) -> None:
    """Draws the schedule as a strip."""
    x = left
    for name, width in (("inpaint_random", 14.5), ("coach", 8), ("inpaint_coach", 13.5), ("coach", 8), ("…", 4)):
        learner = LEARNER.get(name)
        kind = {"inpainter": "decoder", "coach": "coach", None: "data"}[learner]
        sheet.box((x + width / 2, y), (width - 0.6, 2.8), kind, label=name)
        x += width
    sheet.arrow((x + 0.2, y), (x + 2.6, y))
    sheet.text((x + 3.2, y), "then training: only the\nlast layers start fresh", size=7.6, colour=GREY, ha="left")


def _pictures(size: int = 256) -> dict[str, np.ndarray]:
    """Returns a generated slice and ideal results of the networks: uint8[128,128] or [128,128,3]."""
    drawn = generator.render_slice(0, population.sample_patient(0, 3), 1, 3, size)
    image = np.array(Image.fromarray(drawn.image).resize((128, 128), Image.Resampling.BICUBIC))
    classes = labels.resize_label(drawn.classes, image.shape)
    # The coach erases what is hard to restore: here the quarter of the regions with the
    # highest contrast, except at the rim.
    contrast = image.reshape(8, 16, 8, 16).std(axis=(1, 3))
    contrast[[0, -1]] = contrast[:, [0, -1]] = 0
    keep = np.kron(contrast <= np.quantile(contrast, 0.75), np.ones((16, 16), bool))
    return {
        "image": image,
        "prior": np.uint8(255 * (classes > 0)),
        "lesion": _painted(image, classes > 0, {1: figure_style.LESION}),
        "classes": _painted(image, classes, figure_style.CLASSES),
        "keep": np.uint8(255 * keep),
        "erased": np.where(keep[..., None], image[..., None], _painted(image, ~keep, {1: figure_style.ERASED}, 1.0)),
    }


def _painted(image: np.ndarray, areas: np.ndarray, colours: dict[int, str], opacity: float = 0.6) -> np.ndarray:
    """Paints areas of a grey image in colour: uint8[H,W,3]."""
    painted = np.repeat(image[..., None], 3, axis=-1).astype(float)
    for value, colour in colours.items():
        area = areas == value
        painted[area] = (1 - opacity) * painted[area] + opacity * 255 * np.array(colors.to_rgb(colour))
    return painted.astype(np.uint8)


def main() -> None:
    """Writes both files, with the same bytes every time."""
    with matplotlib.rc_context({"svg.hashsalt": "networks"}):
        drawn = draw().figure
        folder = pathlib.Path(__file__).parent
        drawn.savefig(folder / "networks.svg", metadata={"Date": None})
        drawn.savefig(folder / "networks.png", dpi=150)


if __name__ == "__main__":
    main()
