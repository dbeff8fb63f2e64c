"""The tables of a budget, for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from experiments.reports.budget import BudgetReport
from experiments.tables import text_table

OWN = "this network"
"""Source of costs that follow from the network itself."""
PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def print_budget(report: BudgetReport) -> None:
    """Print the tables of errors, drift and costs."""
    console = Console()
    for line in _dynamic_notes(report):
        console.print(Text(line))
    if report["dynamic"]:
        _print_dynamic(console, report)
    if report["drift"]:
        rows = [
            [duration(d["seconds"]), d["formula"], f"{d['gain']:.4f}", _cosine(d["predicted"]), _cosine(d["measured"])]
            for d in report["drift"]
        ]
        headers = ["age of B", "NSR²", "gain left", "cos predicted", "cos measured"]
        title = "drift: B changes between two uses; a gain changes no direction"
        console.print(text_table(title, headers, rows, left=2))
    if report["static"]:
        rows = [[s["source"], *_static_cells(s)] for s in report["static"]]
        headers = ["source", "cos(B, wanted)", "gain", "lowest row", "rank", "stable rank"]
        title = "static errors: another B, which learning absorbs (no alignment lost)"
        console.print(text_table(title, headers, rows))
    _print_costs(console, report)


def _print_dynamic(console: Console, report: BudgetReport) -> None:
    lines = report["dynamic"]
    rows = [[d["source"], d["formula"], f"{d['predicted']:.4f}", f"{d['measured']:.4f}", d["outside"]] for d in lines]
    headers = ["source", "NSR²", "cos predicted", "cos measured", "formula does not hold"]
    title = f"dynamic errors, {report['rule']} on {report['data']}: alignment left"
    console.print(text_table(title, headers, rows, left=2))
    worst = min((d for d in lines if d["source"] != "all together"), key=lambda line: line["measured"])
    console.print(Text(f"largest loss: {worst['source']}"))


def _print_costs(console: Console, report: BudgetReport) -> None:
    costs = report["costs"]
    sources = list(dict.fromkeys(cost["source"] for cost in costs if cost["source"] != OWN))
    numbers = {source: f"[{number}]" for number, source in enumerate(sources, 1)}
    rows = [
        [c["part"], c["what"], amount(c), c["formula"], f"{c['sure']} {numbers.get(c['source'], '')}".rstrip()]
        for c in costs
    ]
    headers = ["part", "quantity", "one update", "formula", "how sure"]
    console.print(text_table(f"costs of one update, weights on {report['device']}", headers, rows, left=5))
    for source, number in numbers.items():
        console.print(Text(f"{number} {source}", style="dim"))
    console.print(Text("not modelled:"))
    for line in report["not_modelled"]:
        console.print(Text(f"  {line}"))


def _dynamic_notes(report: BudgetReport) -> list[str]:
    if report["hardware"] is None:
        if report["path"] == "chained":
            return [f"{report['rule']} sends errors from layer to layer: errors of return weights are not modelled"]
        return [f"the feedback of {report['rule']} is exact arithmetic, or none: it has no errors of hardware"]
    if report["dynamic"] is None:
        return ["dynamic errors: the noise of this projection is not modelled in closed form"]
    return [] if report["dynamic"] else ["dynamic errors: none, the teaching signal keeps its direction"]


def _static_cells(static: BudgetReport) -> list[str]:
    cosines = _cosine(static["cosine"]), _cosine(static["lowest_row"])
    return [cosines[0], f"{static['gain']:.4f}", cosines[1], str(static["rank"]), f"{static['spread']:.2f}"]


def _cosine(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def duration(seconds: float) -> str:
    """Return a time in the largest unit of which it holds one.

    >>> duration(86400), duration(90), duration(0.5)
    ('1 d', '1.5 min', '0.5 s')
    """
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def quantity(value: float, unit: str) -> str:
    """Return a number with its unit and prefix; counts without a unit have none.

    >>> quantity(2.5e-9, "J"), quantity(1234567, ""), quantity(0.5, "")
    ('2.5 nJ', '1.23e+06', '0.5')
    """
    if unit not in ("J", "s") or not value:
        return f"{value:.3g} {unit}".rstrip()
    size, prefix = next((p for p in PREFIXES if abs(value) >= p[0]), PREFIXES[-1])
    return f"{value / size:.3g} {prefix}{unit}"


def amount(cost: BudgetReport) -> str:
    """Return the value of a cost line, or the bounds that are known of it, as text with a unit."""
    low, high, unit = cost["low"], cost["high"], cost["unit"]
    if low is None or high is None:
        return f"up to {quantity(high, unit)}" if low is None else f"{quantity(low, unit)} or more"
    return quantity(low, unit) if low == high else f"{quantity(low, unit)} to {quantity(high, unit)}"
