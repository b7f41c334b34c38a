"""One static HTML file: no server, no network; legible on a phone and in the dark; tables that sort and filter.

Every number can be asked for the command that reproduces it: a tap shows it at the foot of the page.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from refnode.json_file import write_text

LONG = 30  # letters of a cell that may be broken into lines
Look = Literal["", "good", "known", "bad", "faint"]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    text       what is shown
    value      what it sorts by; None: by its text
    look       "good", "known" (as expected, not good), "bad", "faint"
    command    what reproduces it; empty: the row's command
    note       more about it, shown with the command
    """

    text: str
    value: float | None = None
    look: Look = ""
    command: str = ""
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table, and the command that reproduces its numbers."""

    cells: Sequence[Cell]
    command: str = ""


def save_page(path: str | Path, title: str, lead: str, facts: Sequence[str], sections: Iterable[str]) -> None:
    """Write a page whole or not at all.

    title, lead    plain text;  facts   lines of small print;  sections   HTML, from `section`
    """
    small = "".join(f"<p class=small>{escape(fact)}</p>" for fact in facts)
    head = f"<h1>{escape(title)}</h1><p class=lead>{escape(lead)}</p>{small}"
    write_text(PAGE.format(title=escape(title), style=STYLE, script=SCRIPT, body=head + "".join(sections)), path)


def section(title: str, about: str, columns: Sequence[str], rows: Iterable[Row], filtered: bool = False) -> str:
    """A heading, a sentence and a table; `filtered` adds a box that leaves rows with the words typed into it."""
    box = "<input type=search placeholder='only rows with ..' aria-label='only rows with ..'>" if filtered else ""
    head = "".join(f"<th scope=col><button>{escape(name)}</button></th>" for name in columns)
    body = "\n".join(_row(row) for row in rows)
    return (
        f"<section><h2>{escape(title)}</h2><p>{escape(about)}</p>{box}\n<div class=wide><table><thead><tr>{head}</tr>"
        f"</thead>\n<tbody>\n{body}\n</tbody></table></div></section>\n"
    )


def _row(row: Row) -> str:
    first, *rest = row.cells
    cells = f"<th scope=row{_attributes(first)}>{escape(first.text)}</th>" + "".join(map(_cell, rest))
    return f"<tr{_said('c', row.command)}>{cells}</tr>"


def _cell(cell: Cell) -> str:
    if not cell.text:
        return "<td></td>"
    return f"<td{_attributes(cell)}>{escape(cell.text)}</td>"


def _attributes(cell: Cell) -> str:
    classes = " ".join(filter(None, (cell.look, "words" if len(cell.text) > LONG else "")))
    look = f' class="{classes}"' if classes else ""
    value = "" if cell.value is None else f" data-v={cell.value:.6g}"
    return look + value + _said("c", cell.command) + _said("n", cell.note)


def _said(name: str, text: str) -> str:
    return f' data-{name}="{escape(text)}"' if text else ""


STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1a1a1a; --soft: #595959; --line: #d9d9d9; --raised: #f4f4f4;
  --good: #06603a; --known: #7a4a00; --bad: #a30d0d; --badback: #fbe3e1; }
@media (prefers-color-scheme: dark) { :root { --back: #14161a; --ink: #e8e8e8; --soft: #a8adb5; --line: #3a3f47;
  --raised: #20242a; --good: #6fd6a0; --known: #e6b566; --bad: #ff9d94; --badback: #4a1a1a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem 1rem 6rem; max-width: 90rem; background: var(--back); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin: 2rem 0 .3rem; }
.lead { font-size: 1.1rem; font-weight: 600; } .small { color: var(--soft); font-size: .875rem; margin: .2rem 0; }
.wide { overflow-x: auto; max-width: 100%; border: 1px solid var(--line); border-radius: 6px; max-height: 85vh; }
table { border-collapse: separate; border-spacing: 0; font-size: .875rem; line-height: 20px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 5px 8px; text-align: left; border-bottom: 1px solid var(--line); max-width: 26rem; }
td { white-space: nowrap; } td.words { white-space: normal; min-width: 15rem; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { position: sticky; top: 0; z-index: 2; background: var(--raised); padding: 0; }
th[scope=row] { position: sticky; left: 0; z-index: 1; background: var(--back); max-width: min(20rem, 40vw); }
thead th:first-child { left: 0; z-index: 3; }
button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: .45rem .5rem;
  text-align: left; cursor: pointer; white-space: nowrap; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
.good { color: var(--good); } .known { color: var(--known); } .faint { color: var(--soft); }
.bad { color: var(--bad); background: var(--badback); font-weight: 600; }
input { font: inherit; width: 100%; max-width: 22rem; margin: .4rem 0 .6rem; padding: .45rem .6rem; color: var(--ink);
  background: var(--raised); border: 1px solid var(--line); border-radius: 6px; }
tr.chosen > * , td.chosen { outline: 2px solid var(--soft); outline-offset: -2px; }
[data-c] { cursor: pointer; }
#foot { position: fixed; inset: auto 0 0 0; z-index: 9; display: flex; flex-wrap: wrap; gap: .6rem; align-items: center;
  padding: .6rem 1rem; background: var(--raised); border-top: 1px solid var(--line); }
#foot[hidden] { display: none; }
#foot code { font: .875rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; flex: 1 1 14rem; }
#foot button { border: 1px solid var(--line); border-radius: 6px; background: var(--back); }
"""

SCRIPT = """
const foot = document.getElementById("foot"), code = foot.querySelector("code"), note = foot.querySelector("span");
function key(row, i) { const c = row.cells[i], v = c.dataset.v; return v === undefined ? c.textContent : Number(v); }
function compare(a, b) {                              // numbers before words, words in order, empty cells last
  if (a === "" || b === "") return (a === "") - (b === "");
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return typeof a === "number" ? a - b : a.localeCompare(b);
}
function sort(head) {
  const table = head.closest("table"), i = head.cellIndex, body = table.tBodies[0];
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const rows = [...body.rows].map((row) => [key(row, i), row]);
  rows.sort(([a], [b]) => (a === "" || b === "" ? 1 : sign) * compare(a, b));
  body.append(...rows.map(([, row]) => row));
}
function show(cell) {
  const holder = cell.closest("[data-c]");
  for (const old of document.querySelectorAll(".chosen")) old.classList.remove("chosen");
  foot.hidden = !holder;
  if (!holder) return;
  cell.classList.add("chosen");
  code.textContent = holder.dataset.c;
  note.textContent = cell.dataset.n || "";
}
document.addEventListener("click", (event) => {
  const head = event.target.closest("thead th"), cell = event.target.closest("tbody td, tbody th");
  if (head) sort(head); else if (cell) show(cell);
  else if (event.target.id === "copy") navigator.clipboard?.writeText(code.textContent);
  else if (event.target.id === "close") foot.hidden = true;
});
document.addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(" ").filter(Boolean);
  for (const row of event.target.parentElement.querySelectorAll("tbody tr")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
});
"""

PAGE = """<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel=icon href="data:,">
<style>{style}</style>
</head>
<body>
{body}
<div id=foot hidden><code></code><span class=small></span>
<button id=copy>copy</button><button id=close>close</button></div>
<script>{script}</script>
</body>
</html>
"""
