"""The page: complete, escaped, accessible, and in Chromium without errors or overflow."""

from __future__ import annotations

import base64
import hashlib
import http.server
import itertools
import re
import shutil
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_records import CIFAR_TASKS, record, save

from methods.registry import METHODS
from reports.answers import QUESTIONS
from reports.build import Built, build
from reports.method_facts import Methods
from reports.report_error import ReportError
from reports.style import INK, MUTED, PAPER, SPARE, Ink, Look

#: of every method of this suite
LOOKS = Methods().looks(METHODS)
HOSTILE = '<script>alert("x")</script><img src=http://x.invalid/a onerror=alert(1)>&"\''
CURVE = [
    {"phase": "train", "epoch": e, "lr": 1e-3, "loss": 1 / e, "train": 1 - 0.6 / e, "validation": 1 - 0.7 / e}
    for e in (1, 2, 3)
]


def _runs() -> list[Any]:
    masks = [(task, f"features.{n}", 90 - n, n, 10) for task in CIFAR_TASKS[1:5] for n in range(13)]
    runs = []
    for number, method in enumerate(("finetune", "packnet", "piggyback", "cpg", "ksm")):
        frozen = method in ("piggyback", "ksm")
        for seed in range(3):
            accuracies = [0.5 + 0.04 * task + 0.01 * number + 0.004 * seed for task in range(5)]
            runs.append(
                record(method, seed, accuracies, seconds=[None if frozen else 9.0, 9.0 + number, 9.5, 9.2, 9.9 + seed],
                       sizes={"itemised": (number + 1) * 2**21, "cpg_table": 2**20}, curve=CURVE,
                       components=[("backbone", None, (number + 1) * 2**19, 32)], masks=masks if frozen else (),
                       task1=30.0 if frozen else None)
            )  # fmt: skip
    runs += [record("ksm", seed, [0.6] * 5, initial_task=3, curve=CURVE) for seed in range(2)]
    runs.append(record("ksm", 9, [0.5] * 5, status="failed", error=f"Traceback\nValueError: {HOSTILE}", tasks=[]))
    return runs


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The report on five methods, three seeds and five tasks, with a foreign and a half-written file beside them."""
    folder = tmp_path_factory.mktemp("page")
    results = save(folder / "runs", _runs())
    for name, text in (
        ("half", '{"schema_version": 1, "run'),
        ("other", '{"schema_version": 9, "run_id": "other"}'),
        ("x", "[]"),
    ):
        (results / name).mkdir()
        (results / name / "result.json").write_text(text)
    return build(results, folder / "report")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A report whose every text is an attack."""
    folder = tmp_path_factory.mktemp("hostile")
    spec = {"scenario_title": HOSTILE, "backbone": {"name": HOSTILE}, "selection": HOSTILE}
    names = [HOSTILE, "b" + HOSTILE]
    everywhere = {
        "command": HOSTILE,
        "git": {"commit": HOSTILE},
        "packages": {HOSTILE: HOSTILE},
        "notes": [HOSTILE],
        "host": {"cpu": HOSTILE, "os": HOSTILE},
        "started": HOSTILE,
        "data_fingerprint": HOSTILE,
    }
    first = record(
        HOSTILE,
        0,
        [0.5, 0.6],
        scenario=HOSTILE,
        names=names,
        run_id="one",
        warnings=[HOSTILE],
        spec={**spec, "note": HOSTILE},
        provenance=everywhere,
        masks=[(HOSTILE, HOSTILE, 1, 1, 1)],
        components=[(HOSTILE, HOSTILE, 8, 8)],
        sizes={"itemised": 8},
        curve=CURVE,
    )
    mathematical = record(
        "$\\nonsense{$ x",
        1,
        [0.5, 0.6],
        scenario=HOSTILE,
        names=names,
        run_id="two",
        spec=spec,
        provenance={"host": {"cpu": HOSTILE}},
        sizes={"itemised": 9},
        curve=CURVE,
    )
    runs = [first, mathematical]
    return build(save(folder / "runs", runs), folder / "report")


class Page(HTMLParser):
    """Elements of a page with their attributes, and ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of this kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(built: Built) -> Page:
    """The parsed page."""
    return Page(built.index.read_text(encoding="utf-8"))


def test_first_screen_says_what_on_what_when_and_what_came_out(built: Built) -> None:
    text = built.index.read_text(encoding="utf-8")
    first = text[text.index("<main") : text.index('<h2 id="cifar100-20"')]
    for word in ("17 finished runs", "5 methods", *QUESTIONS, "Ranking", "Claims of the paper", "1 run failed",
                 "5 of 20 tasks"):  # fmt: skip
        assert word in first, word
    last = text[text.index('<h2 id="provenance"') :]
    for word in ("Test CPU", "2025-03-01 10:00 to 10:30 UTC"):
        assert word in last, word


def test_what_was_left_out_or_failed_is_said(built: Built) -> None:
    assert len(built.left_out) == 3
    text = built.index.read_text(encoding="utf-8")
    assert "half/result.json: it is half-written or no JSON" in text
    assert "it has schema version 9" in text
    assert "ImageNet-to-Sketch (tables 2 and 4, figures 4 and 6 of the KSM paper): no run among the records" in text


def test_every_figure_and_table_is_there_in_every_format(built: Built) -> None:
    folder = built.index.parent
    kinds = ("training-cost", "tradeoff", "forgetting", "learning-curves", "initial-tasks-spread",
             "mask-ratios", "equal-budgets", "profiles")  # fmt: skip
    assert built.figures == tuple(f"cifar100-20-{kind}" for kind in kinds)
    for figure in built.figures:
        assert all(
            (folder / "figures" / f"{figure}.{suffix}").stat().st_size > 1000 for suffix in ("svg", "png", "pdf")
        )
    for table in built.tables:
        assert all((folder / "tables" / f"{table}.{suffix}").stat().st_size > 50 for suffix in ("csv", "tex", "md"))
    assert not list(folder.rglob("*.part"))


def test_links_lead_somewhere(built: Built, page: Page) -> None:
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for attributes in page.all("a"):
        target = attributes["href"] or ""
        assert target[1:] in ids if target.startswith("#") else (built.index.parent / target).is_file(), target


def test_page_is_self_contained(built: Built, page: Page) -> None:
    loaded = [v for _, a in page.elements for k, v in a.items() if k in ("src", "xlink:href", "srcset") and v]
    assert all(value.startswith(("#", "data:")) for value in loaded)
    assert [a["href"] for a in page.all("link")] == ["data:,"]
    assert not re.search(r"@import|url\(\s*['\"]?http", built.index.read_text(encoding="utf-8"))


def test_the_page_forbids_every_script_but_its_own_and_every_address(built: Built, hostile: Built) -> None:
    for text in (path.read_text(encoding="utf-8") for path in (built.index, hostile.index)):
        (policy,) = [a["content"] for a in Page(text).all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
        (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert rules == {
            "default-src": "'none'", "script-src": f"'sha256-{digest}'", "style-src": "'unsafe-inline'",
            "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
        }  # fmt: skip
        assert text.index("Content-Security-Policy") < text.index("<style>")  # it holds for what comes after it alone


def test_accessible_structure(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) > 5
    for attributes in page.all("svg"):
        assert attributes["role"] == "img"
        assert set((attributes["aria-labelledby"] or "").split()) <= set(ids)
    assert len(page.all("desc")) == len(page.all("svg")) == 11  # eight figures, the glance, what is explored, a mask
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    controlled = {attributes["aria-controls"] for attributes in page.all("button") if "aria-controls" in attributes}
    assert controlled <= set(ids)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_contrast(mode: str) -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    background = getattr(PAPER, mode)
    texts: list[Ink] = [INK, MUTED]
    marks: list[Look] = [*LOOKS, *SPARE]
    assert all(_contrast(getattr(shade, mode), background) >= 4.5 for shade in texts)
    assert all(_contrast(getattr(shade, mode), background) >= 3 for shade in marks)
    css = (Path(__file__).resolve().parent.parent / "reports" / "templates" / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    shades = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[0 if mode == "light" else 1]))
    for name in ("good", "bad", "doubt", "off"):
        assert _contrast(shades[name], shades[f"{name}-wash"]) >= 4.5, name
        assert _contrast(shades[name], background) >= 4.5, name
    assert _contrast(shades["accent"], background) >= 4.5
    assert _contrast(getattr(MUTED, mode), shades["wash"]) >= 4.5


def test_colours_differ_between_methods() -> None:
    looks = list(LOOKS)
    assert len(looks) == len(METHODS)
    assert (
        len({look.light for look in looks}) == len({look.dark for look in looks}) == len({look.name for look in looks})
    )
    assert len({look.marker for look in looks}) == len(looks)


def test_everything_that_comes_from_files_is_escaped(hostile: Built) -> None:
    parsed = Page(hostile.index.read_text(encoding="utf-8"))
    assert len(parsed.all("script")) == 1
    assert parsed.all("img") == []
    assert not [a for _, a in parsed.elements if any(key.startswith("on") for key in a)]
    for path in (hostile.index.parent / "figures").glob("*.svg"):
        assert "<script" not in path.read_text(encoding="utf-8")
    assert "<script" not in (hostile.index.parent / "tables.md").read_text(encoding="utf-8").replace("\\<script", "")


def test_the_same_records_give_the_same_page(built: Built, tmp_path: Path) -> None:
    again = build(save(tmp_path / "runs", _runs()), tmp_path / "report")
    other = build(tmp_path / "runs", tmp_path / "other")
    assert again.index.read_bytes() == other.index.read_bytes()
    names = {path.relative_to(again.index.parent) for path in again.index.parent.rglob("*.*")}
    for name in names:
        assert (again.index.parent / name).read_bytes() == (other.index.parent / name).read_bytes(), name


def test_one_seed_and_legacy_test_are_said(tmp_path: Path) -> None:
    runs = [record("ksm", 0, [0.5, 0.6], scenario="digits", names=["a", "b"], spec={"selection": "legacy-test"})]
    text = build(save(tmp_path / "runs", runs), tmp_path / "report").index.read_text(encoding="utf-8")
    words = re.sub("<[^>]*>", "", text)
    assert "Everything here rests on one seed" in words
    assert "legacy-test: epochs were selected on the test set" in words


def test_only_failed_runs_still_make_a_page(tmp_path: Path) -> None:
    runs = [record("ksm", 0, [0.5], status="failed", error="RuntimeError: broken", tasks=[])]
    built = build(save(tmp_path / "runs", runs), tmp_path / "report")
    text = built.index.read_text(encoding="utf-8")
    assert "No run finished" in text
    assert "RuntimeError: broken" in text
    assert built.tables == ()
    assert "0 methods" not in text and 'id="configurations"' not in text  # no empty table, no count of nothing
    assert not (built.index.parent / "tables").exists()


def test_nothing_to_report_on_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="does not exist"):
        build(tmp_path / "absent", tmp_path / "report")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match="holds no run record"):
        build(tmp_path / "empty", tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, where it is installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if path is None:
        pytest.skip("no Chromium on this machine to render the page with")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
               "--disable-background-networking", "--disable-component-update"]  # fmt: skip
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=options)
        yield opened
        opened.close()


def _open(browser: Any, built: Built, width: int, scheme: str = "light") -> tuple[Any, list[str]]:
    tab = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme).new_page()
    errors: list[str] = []
    tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("dialog", lambda dialog: (errors.append("a dialog opened"), dialog.dismiss()))
    tab.goto(built.index.as_uri())
    return tab, errors


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_chromium_shows_it_without_errors_or_overflow(browser: Any, built: Built, width: int, scheme: str) -> None:
    tab, errors = _open(browser, built, width, scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    ink = tab.evaluate("getComputedStyle(document.body).color")
    assert ink == ("rgb(28, 33, 39)" if scheme == "light" else "rgb(227, 231, 236)")
    assert errors == []


def test_chromium_sorts_and_switches_views(browser: Any, built: Built) -> None:
    tab, errors = _open(browser, built, 1280)
    rows = "Array.from(document.querySelectorAll('#cifar100-20-ranking-table tbody tr'))"
    column = f"{rows}.map(row => +row.cells[1].dataset.value)"
    button = tab.locator("#cifar100-20-ranking-table thead th").nth(1).locator("button")
    before = tab.evaluate(column)
    button.click()
    assert tab.evaluate(column) == sorted(before)
    button.click()
    assert tab.evaluate(column) == sorted(before, reverse=True)
    assert tab.locator("#cifar100-20-ranking-table thead th").nth(1).get_attribute("aria-sort") == "descending"
    measured, published = (tab.locator(f"#cifar100-20-accuracy{suffix}-view") for suffix in ("", "-published"))
    assert (measured.is_visible(), published.is_visible()) == (True, False)
    tab.locator("#cifar100-20-accuracy-published-tab").click()
    assert (measured.is_visible(), published.is_visible()) == (False, True)
    tab.locator("#cifar100-20-accuracy-published-tab").press("ArrowLeft")
    assert (measured.is_visible(), published.is_visible()) == (True, False)
    tab.locator("#cifar100-20-accuracy-table thead th button").first.click()
    assert tab.locator("#cifar100-20-accuracy-table tfoot th").inner_text() == "Mean"  # sums are not sorted away
    assert errors == []


def test_chromium_runs_nothing_hostile(browser: Any, hostile: Built) -> None:
    for width in (1280, 390):
        tab, errors = _open(browser, hostile, width)
        asked: list[str] = []
        tab.on("request", lambda request, asked=asked: asked.append(request.url))
        tab.reload()
        assert errors == []
        assert asked == [hostile.index.as_uri()]
        assert "scripted" in tab.evaluate("document.documentElement.className")  # the page's own script did run
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


#: what would stand in the page if a text of a record were not escaped
INJECTED = """<script>window.ran = 1</script><img src="{address}/image.png" onerror="window.ran = 2">
<style>main {{ background: url({address}/style.png); }}</style><link rel="stylesheet" href="{address}/sheet.css">
<script src="{address}/script.js"></script><iframe src="{address}/frame.html"></iframe>"""


@pytest.fixture
def listening() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine: its address, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_chromium_would_run_and_fetch_nothing_that_was_not_escaped(
    browser: Any, built: Built, listening: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, asked = listening
    text = built.index.read_text(encoding="utf-8").replace("<h1", INJECTED.format(address=address) + "<h1", 1)
    unguarded = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    ran = {}
    for name, page in (("guarded", text), ("unguarded", unguarded)):
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
        tab = browser.new_context().new_page()
        tab.goto((tmp_path / f"{name}.html").as_uri())
        ran[name] = (tab.evaluate("window.ran"), sorted(asked))
    assert ran["guarded"] == (None, [])
    assert ran["unguarded"][0] is not None
    assert {"/image.png", "/style.png", "/sheet.css", "/script.js", "/frame.html"} <= set(ran["unguarded"][1])
