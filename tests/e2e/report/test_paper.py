# SPDX-License-Identifier: Apache-2.0
"""Tables 3, 9 and 10 of the paper come out of `pscp --betas`, to the last printed digit but one unit."""
import csv
import os
import re

import case
import program

TABLES = os.path.join(program.SHARED, "protocol/tables")


def rows_of(name):
    with open(os.path.join(TABLES, name), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table_of(markdown, first):
    """The rows of the Markdown table whose first column has this name, without emphasis."""
    lines = re.search(rf"^\| {re.escape(first)} .*\n(?:\|.*\n)+", markdown, re.M)[0].splitlines()
    cells = [[cell.strip().strip("*").replace("\\", "") for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row)) for row in cells[2:]]


class Paper(case.Case):
    def setUp(self):
        super().setUp()
        if not os.path.isdir(TABLES):
            case.skip("the published tables are not in shared")
        path = os.path.join(self.folder, "inputs.csv")
        with open(path, "w", encoding="utf-8", newline="") as file:
            out = csv.writer(file)
            out.writerow(["method", "score", "params", "flops_t", "memory_gb"])
            for row in rows_of("pscp_inputs.csv"):
                out.writerow([row["method"], row["p_avg"], row["trainable_params"], row["flops_minus_base_t"], row["memory_gb"]])
        self.made = self.expect(program.run(["pscp", path, "--betas", "--format", "markdown"]), 0).out

    def test_table_3(self):
        made = {row["method"]: row for row in table_of(self.made, "method")}
        for row in rows_of("pscp_v1_table3.csv"):
            own = made[row["method"]]
            self.assertLessEqual(abs(float(own["PSCP"]) - float(row["pscp"])), 0.011, row)
            for cost in ("cost_p", "cost_f", "cost_m"):
                self.assertLessEqual(abs(float(own[cost]) - float(row[cost])), 0.0051, row)

    def test_tables_9_and_10(self):
        made = {(row["beta_p"], row["beta_f"], row["beta_m"]): row for row in table_of(self.made, "beta_p")}
        published = rows_of("pscp_v1_table9.csv") + rows_of("pscp_v1_table10.csv")
        self.assertEqual(len(published), 9)
        for row in published:
            own = made[row["beta_p"], row["beta_f"], row["beta_m"]]
            for method in list(row)[3:-1]:
                self.assertLessEqual(abs(float(own[method]) - float(row[method])), 0.011, (row, method))

    def test_the_swap_of_the_paper_is_found(self):
        """LoRA is ahead at beta_p = 0.5 and LN tuning at 1."""
        swaps = [row for row in table_of(self.made, "exponent") if row["exponent"] == "beta_p"
                 and {row["above before"], row["above after"]} == {"lora", "lntuning"}]
        self.assertEqual(len(swaps), 1)
        self.assertEqual(swaps[0]["above before"], "lora")
        self.assertTrue(0.5 < float(swaps[0]["at"]) < 1, swaps)


if __name__ == "__main__":
    case.main()
