# SPDX-License-Identifier: Apache-2.0
"""`report --plots`: gnuplot draws every figure as SVG and PDF, whatever the names are; without it the scripts remain."""
import glob
import os
import shutil
import xml.etree.ElementTree

import case
import program
from test_formats import Made


class Plots(Made):
    def setUp(self):
        super().setUp()
        self.plots = os.path.join(self.folder, "the author's 100% plots")

    def names(self, end):
        return {os.path.basename(path)[:-len(end)] for path in glob.glob(os.path.join(glob.escape(self.plots), "*" + end))}

    def test_every_figure_is_a_script_an_svg_and_a_pdf(self):
        if shutil.which("gnuplot") is None:
            case.skip("gnuplot is not installed")
        for sizes in ((2, 2, 4, 2), (1, 1, 1, 1), (2, 3, 3, 2, "hostile")):
            with self.subTest(sizes):
                shutil.rmtree(self.plots, ignore_errors=True)
                path = self.sweep(*sizes)
                result = self.expect(program.run(["report", path, "--plots", self.plots]), 0)
                self.assertEqual(result.err, "")
                names = self.names(".gp") - {"all"}
                self.assertEqual(result.out, f"{len(names)} plots in {self.plots}\n")
                shown = self.report(path, "html").count("<figure ")
                self.assertEqual(len(names), shown, "the figures of the page")
                self.assertEqual((self.names(".svg"), self.names(".pdf")), (names, names))
                for name in names:
                    file = os.path.join(self.plots, name)
                    root = xml.etree.ElementTree.parse(file + ".svg").getroot()
                    self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
                    with open(file + ".pdf", "rb") as pdf:
                        self.assertEqual(pdf.read(5), b"%PDF-")

    def test_without_gnuplot_the_scripts_are_there(self):
        path = self.sweep(1, 1, 2, 1)
        result = program.run(["report", path, "--plots", self.plots], env={"PATH": self.folder})
        self.expect(result, 1, "gnuplot cannot be started: No such file", "gnuplot all.gp")
        self.assertIn("Llama-3.2-1B-pscp", self.names(".gp"))
        self.assertEqual(self.names(".svg"), set())


if __name__ == "__main__":
    case.main()
