"""Results and comparisons as one HTML file that needs nothing else: no script, font or network."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from loadtest.report.comparison_section import build_comparison_section, build_goals
from loadtest.report.markup import Markup, element
from loadtest.report.result_section import build_result_section
from loadtest.report.saved import Saved
from loadtest.result import Comparison, Result

# What a browser may load for the page: nothing but the style inside it.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def format_page(saved: Sequence[Saved]) -> str:
    """Return a page with a section for each of saved, in their order, below all their goals."""
    anchored = [(each, f"part-{number}") for number, each in enumerate(saved, 1)]
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
    body = element("body", _build_header(title, anchored), element("main", *_build_parts(anchored)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _read_style() -> str:
    return files("loadtest.report").joinpath("page.css").read_text(encoding="utf-8")


def _find_title(saved: Sequence[Saved]) -> str:
    if len(saved) == 1:
        (only,) = saved
        return only.work if isinstance(only, Comparison) else f"{only.scenario} of {only.server}"
    return f"{len(saved)} load tests"


def _build_header(title: str, anchored: Sequence[tuple[Saved, str]]) -> Markup:
    links = [
        element("li", element("a", _find_title([each]), href=f"#{anchor}"))
        for each, anchor in anchored
    ]
    return element(
        "header",
        element("p", "Load test", class_="eyebrow"),
        element("h1", title),
        element("nav", element("ul", *links)) if len(links) > 1 else "",
    )


def _build_parts(anchored: Sequence[tuple[Saved, str]]) -> list[Markup]:
    comparisons = [(each, anchor) for each, anchor in anchored if isinstance(each, Comparison)]
    overview = _build_overview(comparisons)
    # What is alone on the page has the page's heading.
    has_headings = len(anchored) > 1
    parts = []
    for each, anchor in anchored:
        heading = element("h2", _find_title([each])) if has_headings else Markup()
        if isinstance(each, Result):
            parts.append(build_result_section(each, anchor, heading))
        else:
            parts.append(build_comparison_section(each, anchor, heading))
    return [overview, *parts]


def _build_overview(comparisons: list[tuple[Comparison, str]]) -> Markup:
    """Return which goals are reached; nothing where none is set."""
    ratios = [ratio for comparison, _ in comparisons for ratio in comparison.ratios]
    verdicts = [ratio.is_reached for ratio in ratios if ratio.goal is not None]
    if not verdicts:
        return Markup()
    score = f"{verdicts.count(True)} of {len(verdicts)} goals reached"
    return element("section", element("h2", score), build_goals(comparisons))
