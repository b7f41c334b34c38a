"""HTML pages in a real browser: no error, sorted by a tap, legible on a phone and in the dark, a command a number.

A script is planted at the end of the page, does what a reader would, and leaves what it saw; Chromium runs it without a
window and dumps the page. Without Chromium the tests are skipped, except in continuous integration, which installs it.
"""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from click.testing import CliRunner

import refnode as rn
from refnode import cli
from refnode.certificate_html import save_certificate
from refnode.html_page import Cell, Row, save_page, section
from refnode.oracle import certificate
from refnode.oracle.certificate import Certificate
from validation.board import html
from validation.board.scores import load

RESULTS = Path(__file__).resolve().parent.parent / "validation" / "results"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--dump-dom", "--virtual-time-budget=5000",
]  # fmt: skip
PHONE, DESK = (390, 844), (1400, 900)

in_a_browser = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="Chromium is not installed (apt-get install chromium)"
)


def certified():
    """The certificate that stands in validation/results."""
    node = json.loads((RESULTS / "certificate.json").read_text("utf-8"))
    solver = rn.Solver(node["solver"]["method"], tol=node["solver"]["rtol"])
    return Certificate(tuple(certificate.Cell(**cell) for cell in node["cells"]), solver, node["seconds"])


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The whole certificate and the whole scoreboard as pages."""
    folder = tmp_path_factory.mktemp("pages")
    save_certificate(certified(), folder / "certificate.html")
    html.save(folder / "scoreboard.html", load(RESULTS / "scoreboard.json"))
    return folder


WATCH = """<script>const errors = []; window.onerror = (...said) => errors.push(said.join(" "));
addEventListener("securitypolicyviolation", (e) => errors.push("loads " + e.blockedURI));</script>
<meta http-equiv=Content-Security-Policy content="default-src 'none'; style-src 'unsafe-inline';
script-src 'unsafe-inline'; img-src data:">"""


FRAME = """<!doctype html><pre id=seen></pre><script>
addEventListener("message", (e) => document.getElementById("seen").textContent = e.data);</script>
<iframe src=page.html width={} height={} style="border:0"></iframe>"""  # a window cannot be as narrow as a phone


def seen(page, script, tmp_path, size=DESK, dark=False):
    """What a script planted at the end of a page returns; there was no error, and nothing was to be loaded."""
    assert CHROMIUM, "Chromium is not installed"
    planted = f"<script>const found = (() => {{ {script} }})();"
    planted += "parent.postMessage(JSON.stringify([found, errors]), '*');</script>"
    text = page.read_text("utf-8").replace("<head>", "<head>" + WATCH).replace("</body>", planted + "</body>")
    (tmp_path / "page.html").write_text(text, "utf-8")
    (tmp_path / "frame.html").write_text(FRAME.format(*size), "utf-8")
    look = ["--window-size=1500,1000", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command = [CHROMIUM, *FLAGS, *look, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    match = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stderr[-2000:]
    found, errors = json.loads(unescape(match.group(1)))
    assert errors == []
    return found


PAGES = ("certificate", "scoreboard")


# ---------------------------------------------------------------- what a reader does


@in_a_browser
@pytest.mark.parametrize("name", PAGES)
def test_a_tap_on_a_heading_sorts(pages, tmp_path, name):
    """Numbers in order up, then down; words and empty cells behind the numbers; every row is still there."""
    script = """const table = document.querySelectorAll("table")[0], i = 2, out = [table.tBodies[0].rows.length];
    for (let k = 0; k < 2; k++) { table.tHead.rows[0].cells[i].querySelector("button").click();
      out.push([...table.tBodies[0].rows].map((r) => r.cells[i].dataset.v)); }
    return out;"""
    count, up, down = seen(pages / f"{name}.html", script, tmp_path)
    numbers = [float(v) for v in up if v is not None]
    assert len(up) == len(down) == count
    assert numbers == sorted(numbers)
    assert [float(v) for v in down if v is not None] == numbers[::-1]


@in_a_browser
def test_words_and_numbers_sort_by_their_values(tmp_path):
    """9 before 10, words in their order, what is empty last both ways."""
    rows = [Row([Cell(text), Cell(text, value)]) for text, value in (("ten", 10), ("nine", 9), ("", None), ("b", None))]
    save_page(tmp_path / "p.html", "t", "l", [], [section("s", "a", ["word", "number"], rows)])
    script = """const table = document.querySelector("table"), heads = table.tHead.rows[0].cells, out = [];
    for (const i of [0, 0, 1, 1]) { heads[i].click();
      out.push([...table.tBodies[0].rows].map((r) => r.cells[0].textContent)); }
    return [out, heads[1].getAttribute("aria-sort"), heads[0].getAttribute("aria-sort")];"""
    found, now, before = seen(tmp_path / "p.html", script, tmp_path)
    assert found == [
        ["b", "nine", "ten", ""], ["ten", "nine", "b", ""], ["nine", "ten", "b", ""], ["b", "ten", "nine", ""]
    ]  # fmt: skip
    assert (now, before) == ("descending", None)


@in_a_browser
@pytest.mark.parametrize("name", PAGES)
def test_every_number_tells_its_command(pages, tmp_path, name):
    """Each cell with a number shows a command at the foot when it is tapped, and the command names its row."""
    script = """const cells = [...document.querySelectorAll("td[data-v]")], silent = [], strange = [];
    for (const cell of cells) { cell.click(); const said = document.querySelector("#foot code").textContent;
      if (document.getElementById("foot").hidden || !said) silent.push(cell.textContent);
      if (!said.includes(cell.parentElement.cells[0].textContent)) strange.push(said); }
    document.getElementById("close").click();
    return [cells.length, silent.length, strange.length, document.getElementById("foot").hidden];"""
    count, silent, strange, closed = seen(pages / f"{name}.html", script, tmp_path)
    assert count > 400
    assert (silent, strange, closed) == (0, 0, True)


@in_a_browser
@pytest.mark.parametrize("name", PAGES)
def test_words_filter_rows(pages, tmp_path, name):
    """Rows that have all the words stay."""
    script = """const box = document.querySelector("input"), rows = [...box.parentElement.querySelectorAll("tbody tr")];
    box.value = "MILD backsolve"; box.dispatchEvent(new Event("input", {bubbles: true}));
    return rows.filter((r) => getComputedStyle(r).display !== "none").map((r) => r.textContent);"""
    found = seen(pages / f"{name}.html", script, tmp_path)
    assert found
    assert all("mild" in text and "backsolve" in text for text in found)


# ---------------------------------------------------------------- how it looks

LEGIBLE = """
const parse = (c) => c.match(/[\\d.]+/g).map(Number), shades = {};
const light = (c) => { const v = parse(c).slice(0, 3).map((x) => x / 255);
  const [r, g, b] = v.map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if ((parse(c)[3] ?? 1) > 0) return c; } return "rgb(255, 255, 255)"; };
document.querySelector("td[data-c], td").click();
let least = 99, smallest = 99;
for (const e of document.querySelectorAll("h1, h2, p, th, td, button, input, code, span")) {
  const style = getComputedStyle(e), a = light(style.color), b = light(behind(e));
  least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  smallest = Math.min(smallest, parseFloat(style.fontSize)); }
const wide = document.documentElement.scrollWidth, body = light(getComputedStyle(document.body).backgroundColor);
return {least, smallest, wide, inner: innerWidth, body};"""


@in_a_browser
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("dark", [False, True])
def test_legible_on_a_phone_and_in_the_dark(pages, tmp_path, name, dark):
    """At 390 pixels the page does not run off sideways (tables scroll in themselves); letters have 13 pixels or more
    and a contrast of 4.5 (WCAG AA); the back is dark in the dark."""
    found = seen(pages / f"{name}.html", LEGIBLE, tmp_path, PHONE, dark)
    assert found["inner"] == PHONE[0]
    assert found["wide"] <= PHONE[0]
    assert found["smallest"] >= 13
    assert found["least"] >= 4.5
    assert (found["body"] < 0.05) == dark


# ---------------------------------------------------------------- what is written


def test_text_is_escaped(tmp_path):
    """Names and messages of other libraries cannot become markup."""
    hostile = "<script>alert('x')</script> & \" '"
    row = Row([Cell(hostile), Cell(hostile, None, "bad", hostile, hostile)], hostile)
    save_page(tmp_path / "p.html", hostile, hostile, [hostile], [section(hostile, hostile, [hostile], [row], True)])
    text = (tmp_path / "p.html").read_text("utf-8")
    assert text.count("<script>") == 1
    assert "alert(&#x27;x&#x27;)" in text


def test_nothing_is_loaded(pages):
    """One file: no address of anything else."""
    for name in PAGES:
        text = (pages / f"{name}.html").read_text("utf-8")
        assert not re.findall(r"(?:src|href)=(?!\"data:)|url\(|@import|https?://", text)


def test_certify_writes_the_page(tmp_path):
    """--html writes every number of the certificate; a bad path is refused before anything runs."""
    words = ["certify", "--problems", "exp", "--methods", "discrete,backsolve", "--html"]
    done = CliRunner().invoke(cli.main, [*words, str(tmp_path / "c.html")])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "c.html").read_text("utf-8")
    assert "2 of 2 cells keep their claim" in text
    for cell in rn.certify(["exp"], ["discrete", "backsolve"]).cells:
        assert f">{cell.digits:.1f}<" in text
        assert f"refnode certify --problems exp --methods {cell.method}" in text
    assert CliRunner().invoke(cli.main, [*words, str(tmp_path / "none" / "c.html")]).exit_code == 2


def test_commands_name_the_backend(tmp_path):
    """What was certified in the kernels is computed again in the kernels."""
    save_certificate(certified(), tmp_path / "c.html", "cpu")
    text = (tmp_path / "c.html").read_text("utf-8")
    assert "refnode certify --problems mild --methods discrete --backend cpu" in text
