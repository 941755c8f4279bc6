# SPDX-License-Identifier: Apache-2.0
"""The page of HTML: well formed, alone, complete without its script, and unharmed by names that try to break out."""
import html.parser
import json
import re
import xml.etree.ElementTree

import case
from test_formats import Made

VOID = {"meta", "input", "br", "link", "wbr"}
GRID = (("plain", (2, 3, 4, 2)), ("one cell", (1, 1, 1, 1)), ("many", (1, 9, 12, 1)), ("hostile", (2, 3, 3, 2, "hostile")))


class Page(html.parser.HTMLParser):
    """Elements that are closed in their order, their attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts, self.raw = [], [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            raise AssertionError(f"</{tag}> closes {self.open[-3:]}")
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.raw.setdefault(self.open[-1], []).append(data)
        else:
            self.texts.append(data)

    def attributes(self, name):
        return [own[name] for _, own in self.elements if name in own]


class Pages(Made):
    def pages(self):
        for name, sizes in GRID:
            path = self.sweep(*sizes)
            text = self.report(path, "html")
            with self.subTest(name):
                yield path, text, Page(text)

    def test_the_page_is_well_formed_and_needs_no_other_file(self):
        for _, text, page in self.pages():
            self.assertEqual(page.open, [])
            self.assertEqual(len(page.attributes("id")), len(set(page.attributes("id"))))
            for target in page.attributes("href"):
                self.assertRegex(target, "^#")
                self.assertIn(target[1:], page.attributes("id"))
            self.assertEqual([own for _, own in page.elements if "src" in own or "srcset" in own], [])
            self.assertNotRegex("".join(page.raw["style"]), r"url\(|@import")
            self.assertEqual([tag for tag, _ in page.elements].count("script"), 2, "the data and the script")
            self.assertEqual([name for _, own in page.elements for name in own if name.startswith("on")], [])
            self.assertIn("prefers-color-scheme: dark", text)

    def test_figures_are_xml_with_a_title_and_a_description(self):
        for _, text, page in self.pages():
            drawings = re.findall(r"<svg role.*?</svg>", text, re.S)
            self.assertGreaterEqual(len(drawings), 6)
            for drawing in drawings:
                root = xml.etree.ElementTree.fromstring(drawing)
                for part in root.attrib["aria-labelledby"].split():
                    own = [e for e in root.iter() if e.attrib.get("id") == part]
                    self.assertTrue(own and own[0].text.strip(), drawing[:200])
                height = float(root.attrib["viewBox"].split()[3])
                for e in root.iter("text"):
                    self.assertTrue(-1 <= float(e.attrib["x"]) <= 361 and 0 <= float(e.attrib["y"]) <= height, e.attrib)
                self.assertNotRegex(drawing, r'[ "M(](nan|inf)')

    def test_labels_of_points_do_not_touch(self):
        for _, text, _ in self.pages():
            for drawing in re.findall(r'<figure class="(?:memory|time)">.*?(<svg.*?</svg>)', text, re.S):
                heights = sorted(float(e.attrib["y"]) for e in xml.etree.ElementTree.fromstring(drawing).iter("text")
                                 if e.attrib["class"] == "name")
                for above, below in zip(heights, heights[1:]):
                    self.assertGreaterEqual(below - above, 13.9)

    def test_the_data_are_those_of_the_report(self):
        for path, _, page in self.pages():
            data = json.loads(page.raw["script"][0])
            self.assertEqual(data, json.loads(self.report(path, "json")))
            text = " ".join("".join(page.texts).split())
            for failed in data["failed"]:
                self.assertIn(" ".join(failed["message"].split()), text)
            for name in {score["method"] for score in data["scores"]}:
                self.assertIn(name, text)
            for score in data["scores"]:
                if score["mean"] is not None:
                    self.assertIn(f"{score['mean']:.2f}", text)
            for missing in data["missing"]:
                self.assertIn(f"missing: {missing['model']}/{missing['dataset']}/{missing['method']}/{missing['seed']}", text)

    def test_a_score_that_failed_says_why(self):
        for path, text, page in self.pages():
            failed = json.loads(page.raw["script"][0])["failed"]
            whole = {(s["model"], s["dataset"], s["method"]) for s in json.loads(page.raw["script"][0])["scores"] if s["seeds"] == 0}
            titles = [own["title"] for tag, own in page.elements if tag == "a" and "title" in own]
            for cell in failed:
                if (cell["model"], cell["dataset"], cell["method"]) in whole:
                    self.assertIn(cell["message"], titles)

    def test_betas_of_text_say_where_methods_swap(self):
        path = self.sweep(1, 2, 4, 1)
        costs = {c["method"]: c for c in json.loads(self.report(path, "json"))["pscp"]}
        text = self.report(path, "text", "--betas", "--width", "200")
        found = re.findall(r"^beta_m +(\S+) +(\S+) +([\d.]+)$", text, re.M)
        for above, below, beta in found:
            scores = [costs[m]["score"] * costs[m]["cost_p"] * costs[m]["cost_f"] *
                      (1 + costs[m]["memory_gb"] / 94) ** -float(beta) for m in (above, below)]
            self.assertAlmostEqual(scores[0], scores[1], 2)
        self.assertTrue(found, text)


if __name__ == "__main__":
    case.main()
