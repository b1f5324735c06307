"""How a run was made: its stages, commits, versions and config."""

from collections.abc import Mapping

from ssinfnet_jax import rundir
from ssinfnet_jax.report.kit import blocks, table_files, tables
from ssinfnet_jax.report.run import run_files


def build(run: run_files.Run) -> blocks.Section:
    """Section with facts, stages and, collapsed, versions and the whole config."""
    section = blocks.Section("how", "How this run was made", "Run")
    commits = list(dict.fromkeys(str(s.marker["commit"]) for s in run.stages.values() if s.marker.get("commit")))
    facts = {"Configuration": run.config.get("name", "unnamed"), "Dataset": run.dataset}
    facts |= {"Seed": run.config["seed"]} if "seed" in run.config else {}
    facts |= {"Commit": commits[0]} if len(commits) == 1 else {}
    section.add("facts", [(name, str(value)) for name, value in facts.items()])
    rows = []
    for stage in run.stages.values():
        seconds = stage.marker.get("seconds")
        cells = [
            tables.text_cell(rundir.STAGES[stage.name]),
            tables.Cell(stage.state, stage.state, str(stage.marker.get("skipped") or "")),
            tables.Cell(tables.duration(seconds), seconds),
            tables.text_cell(str(stage.marker.get("finished") or tables.MISSING).replace("T", " ")[:19]),
        ]
        if len(commits) > 1:
            cells.append(tables.text_cell(str(stage.marker.get("commit") or tables.MISSING)[:12]))
        rows.append(cells)
    heads = [("Stage", False), ("State", False), ("Time", True), ("Finished", False)]
    heads += [("Commit", False)] if len(commits) > 1 else []
    total = sum(stage.marker.get("seconds") or 0 for stage in run.stages.values())
    foot = f"Total time: {tables.duration(total)}." if total else ""
    columns = [tables.Column(head, numeric) for head, numeric in heads]
    section.add("table", tables.Table("Stages of the pipeline.", columns, rows, foot))
    if len(commits) > 1:
        section.add("warning", f"The stages ran with {len(commits)} different commits of the code; see the table.")
    versions: dict[str, dict[str, None]] = {}
    for stage in run.stages.values():
        for package, version in (stage.marker.get("versions") or {}).items():
            versions.setdefault(str(package), {})[str(version)] = None
    if versions:
        different = [package for package, found in versions.items() if len(found) > 1]
        if different:
            section.add("warning", f"Stages ran with different versions of {', '.join(different)}.")
        shown = {package: ", ".join(found) for package, found in versions.items()}
        section.fold("Versions", _pairs("Versions of packages.", "Package", "Version", shown))
    table = _pairs("All values of config.json.", "Key", "Value", table_files.flatten(run.config))
    section.fold("Full configuration", table)
    return section


def _pairs(caption: str, key: str, value: str, pairs: Mapping[str, str]) -> tables.Table:
    """A table of two columns."""
    cells = [[tables.text_cell(text) for text in pair] for pair in pairs.items()]
    return tables.Table(caption, [tables.Column(key), tables.Column(value)], cells)
