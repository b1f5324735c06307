"""Renders pages and cards from the folder `templates`."""

import pathlib
from typing import Any

import jinja2

from ssinfnet_jax import rundir
from ssinfnet_jax.report.kit import figure_style

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("ssinfnet_jax.report.kit", "templates"),
    autoescape=lambda name: ".html" in name,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write(path: pathlib.Path, template: str, **content: Any) -> pathlib.Path:
    """Writes an HTML page or Markdown card atomically.

    Args:
      path: of the page.
      template: file in `templates`.
      **content: the template's variables.
    Returns: `path`.
    """
    colours = {"ggo": figure_style.GGO, "consolidation": figure_style.CONSOLIDATION, "lesion": figure_style.LESION}
    page = _ENVIRONMENT.get_template(template).render(colours=colours, truth_line=figure_style.TRUTH_LINE, **content)
    rundir.write_text(path, page)
    return path
