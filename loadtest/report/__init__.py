"""How results are shown: in a terminal, as JSON, as Markdown, and as a page."""
