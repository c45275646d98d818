"""Results and comparisons as one HTML file that needs nothing else: no script, font or network."""

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import Final, NamedTuple

from loadtest.report.comparison_section import build_comparison_section, build_goals
from loadtest.report.markup import Markup, element
from loadtest.report.result_section import build_result_section
from loadtest.report.runs_section import build_runs_section
from loadtest.report.saved import Saved
from loadtest.result import Comparison, Result

# What a browser may load for the page: nothing but the style inside it.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def format_page(saved: Sequence[Saved]) -> str:
    """Return a page with a section for each of saved, in their order, below all their goals."""
    title = _find_title(saved)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        element("style", Markup(_read_style())),
    )
    parts = [
        Part(each, f"part-{number}", heading)
        for number, (each, heading) in enumerate(zip(saved, _find_headings(saved), strict=True), 1)
    ]
    body = element("body", _build_header(title, parts), element("main", *_build_parts(parts)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


class Part(NamedTuple):
    """What one section of the page shows, its id, and its heading."""

    saved: Saved
    anchor: str
    heading: str


def _read_style() -> str:
    return files("loadtest.report").joinpath("page.css").read_text(encoding="utf-8")


def _find_title(saved: Sequence[Saved]) -> str:
    if len(saved) == 1:
        (only,) = saved
        return only.work if isinstance(only, Comparison) else f"{only.scenario} of {only.server}"
    return f"{len(saved)} load tests"


def _find_headings(saved: Sequence[Saved]) -> list[str]:
    """Return a heading for each of saved; those that would be the same are numbered."""
    titles = [_find_title([each]) for each in saved]
    seen: Counter[str] = Counter()
    headings = []
    for title in titles:
        seen[title] += 1
        headings.append(title if titles.count(title) == 1 else f"{title}, run {seen[title]}")
    return headings


def _build_header(title: str, parts: Sequence[Part]) -> Markup:
    links = [element("li", element("a", each.heading, href=f"#{each.anchor}")) for each in parts]
    return element(
        "header",
        element("p", "Load test", class_="eyebrow"),
        element("h1", title),
        element("nav", element("ul", *links)) if len(links) > 1 else "",
    )


def _build_parts(parts: Sequence[Part]) -> list[Markup]:
    comparisons = [
        (each.saved, each.anchor) for each in parts if isinstance(each.saved, Comparison)
    ]
    return [_build_overview(comparisons), *_build_runs(parts), *_build_sections(parts)]


def _build_sections(parts: Sequence[Part]) -> list[Markup]:
    """Return a section for each part; a part that is alone has the page's heading."""
    sections = []
    for saved, anchor, text in parts:
        heading = element("h2", text) if len(parts) > 1 else Markup()
        if isinstance(saved, Result):
            sections.append(build_result_section(saved, anchor, heading))
        else:
            sections.append(build_comparison_section(saved, anchor, heading))
    return sections


def _build_runs(parts: Sequence[Part]) -> list[Markup]:
    """Return a section for each scenario that ran several times."""
    scenarios: dict[str, list[tuple[Result, str]]] = {}
    for saved, anchor, _ in parts:
        if isinstance(saved, Result):
            scenarios.setdefault(saved.scenario, []).append((saved, anchor))
    return [build_runs_section(runs) for runs in scenarios.values() if len(runs) > 1]


def _build_overview(comparisons: list[tuple[Comparison, str]]) -> Markup:
    """Return which goals are reached; nothing where none is set."""
    ratios = [ratio for comparison, _ in comparisons for ratio in comparison.ratios]
    verdicts = [ratio.is_reached for ratio in ratios if ratio.goal is not None]
    if not verdicts:
        return Markup()
    score = f"{verdicts.count(True)} of {len(verdicts)} goals reached"
    return element("section", element("h2", score), build_goals(comparisons))
