"""What stands in an HTML page, for tests."""

from __future__ import annotations

from html.parser import HTMLParser

__all__ = ["Page"]


class Page(HTMLParser):
    """Collects headings, names of marks, addresses and identifiers."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.marks, self.addresses, self.ids, self.headings, self.open = [], [], [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        if "data-mark" in values:
            self.marks.append(values["aria-label"])
        self.addresses += [values[key] for key in ("src", "href") if key in values]
        self.ids += [values["id"]] if "id" in values else []
        if tag in ("h1", "h2", "h3"):
            self.open = (tag, [])

    def handle_data(self, data):
        if self.open:
            self.open[1].append(data)

    def handle_endtag(self, tag):
        if self.open and tag == self.open[0]:
            self.headings.append((tag, "".join(self.open[1]).strip()))
            self.open = None
