import pathlib
import re

import flax
import pytest
from matplotlib.backends import backend_agg

from docs.figures import networks
from ssinfnet_jax import models
from ssinfnet_jax.models import backbones, summary


@pytest.fixture(scope="module")
def drawn():
    return networks.draw()


def _modules(name):
    """Returns the attribute paths of all modules of a network with parameters."""
    model = models.create(name, width=0.125)
    params = flax.traverse_util.flatten_dict(models.shapes(model, models.num_inputs(name))["params"])
    return {"/".join(path[:depth]) for path in params for depth in range(1, len(path))}


@pytest.mark.parametrize("name", ["infnet", "multi_ssinfnet", "coach"])
def test_every_box_is_an_attribute_and_every_attribute_has_a_box(drawn, name):
    modules = _modules(name)
    assert drawn.names[name] <= modules
    assert {path.split("/")[0] for path in modules} <= {path.split("/")[0] for path in drawn.names[name]}


def test_the_figure_exists_and_no_text_leaves_the_page(drawn):
    folder = pathlib.Path(networks.__file__).parent
    assert (folder / "networks.png").is_file()
    assert (folder / "networks.svg").is_file()
    canvas = backend_agg.FigureCanvasAgg(drawn.figure).get_renderer()
    page = drawn.figure.bbox
    for text in drawn.axes.texts:
        box = text.get_window_extent(canvas)
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, text.get_text()
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, text.get_text()


def test_the_page_lists_every_network_with_its_parameters():
    page = (pathlib.Path(networks.__file__).parents[1] / "networks.md").read_text()
    rows = re.findall(r"^\| `(\w+)`(?: \(`(\w+)`\))? \|.*?\| ([\d,]+) \|", page, flags=re.MULTILINE)
    assert {name for name, _, _ in rows} == set(models.MODELS)
    assert {backbone for _, backbone, _ in rows} - {""} == set(backbones.BACKBONES)
    for name, backbone, count in rows:
        options = {"backbone": backbone} if backbone else {}
        found = summary.num_parameters(name, options)["params"]
        assert f"{found:,}" == count, (name, backbone)
