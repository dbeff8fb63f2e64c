"""Write the table docs/default-settings.md from a result of the experiment default_settings.

Run it after a change of a recommendation::

    neurofa experiment default_settings --seeds 1 --out runs/default
    python docs/default_settings.py runs/default/result.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "default-settings.md"
HEAD = """# Every rule on every kind of network, as recommended

Mean training loss of the first 5 and of the last 30 of {steps} steps of 32 samples, with the optimizer that the rule
recommends and seed 0. Nothing is tuned for these small tasks: the table says where a default trains at all, and not how
good a rule is. `-`: the rule does not serve the network and says so; `!`: the loss does not fall, or is no number;
empty: not run.

    neurofa experiment default_settings --seeds 1 --out runs/default
    python docs/default_settings.py runs/default/result.json
"""


def cell(row: dict[str, Any] | None) -> str:
    """Return the text of one rule on one network."""
    if row is None:
        return ""
    if row["outcome"] == "refused":
        return "-"
    mark = "" if row["outcome"] == "learns" else " !"
    losses = f"{row['start']:.2f} → {row['end']:.2f}" if row["n"] else row["outcome"]
    return losses + mark


def document(rows: list[dict[str, Any]], steps: int) -> str:
    """Return the document of all rows of a result.

    Args:
        rows: one a rule and network.
        steps: of each run.
    """
    at = {(row["rule"], row["part"]): row for row in rows}
    networks, rules = (list(dict.fromkeys(row[key] for row in rows)) for key in ("part", "rule"))
    lines = [HEAD.format(steps=steps), "| network | data |", "|---|---|"]
    lines += list(dict.fromkeys(f"| `{row['network']}` | `{row['data']}` |" for row in rows))
    lines += ["", "| rule | " + " | ".join(networks) + " |", "|---" * (len(networks) + 1) + "|"]
    lines += [" | ".join([f"| `{rule}`", *(cell(at.get((rule, name))) for name in networks)]) + " |" for rule in rules]
    count = {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in ("learns", "refused")}
    others = [row for row in rows if row["outcome"] not in count]
    lines += ["", f"{count['learns']} pairs learn, {count['refused']} are refused, {len(others)} do neither."]
    lines += [f"- `{row['rule']}` on `{row['part']}` with `{row['optimizer']}`: {row['outcome']}" for row in others]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    TABLE.write_text(document(result["rows"], 300), encoding="utf-8")
