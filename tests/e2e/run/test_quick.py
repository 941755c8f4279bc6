# SPDX-License-Identifier: Apache-2.0
"""The default grid serves its purpose: methods learn, and differ."""
import os

import case
import program

# Scores are main metrics times 100.
CHANCE = {"demo-pairs": 50, "demo-single": 50, "demo-numbers": 5}


class Quick(case.Case):
    def setUp(self):
        super().setUp()
        self.run_grid(os.path.join(program.SOURCE, "configs/grid/quick.cfg"), 0, None, ranks=2)
        scores = {}
        for (_, dataset, method, _), row in self.cells("quick").items():
            self.assertEqual(row["status"], "done")
            scores.setdefault((dataset, method), []).append(float(row["score"]))
        self.means = {key: sum(values) / len(values) for key, values in scores.items()}
        self.assertEqual({len(values) for values in scores.values()}, {2})
        self.methods = sorted({method for _, method in self.means} - {"none"})

    def test_methods_learn_and_differ(self):
        self.trained_methods_are_clearly_above_the_frozen_model_which_is_near_chance()
        self.methods_do_not_rank_alike_on_all_sets()

    def trained_methods_are_clearly_above_the_frozen_model_which_is_near_chance(self):
        for dataset, chance in CHANCE.items():
            none = self.means[dataset, "none"]
            self.assertLess(abs(none - chance), 10, dataset)
            for method in self.methods:
                self.assertGreater(self.means[dataset, method], none + 10, (dataset, method))

    def methods_do_not_rank_alike_on_all_sets(self):
        orders = {tuple(sorted(self.methods, key=lambda m, d=dataset: (-self.means[d, m], m))) for dataset in CHANCE}
        self.assertGreater(len(orders), 1)
        spread = [max(values) - min(values) for values in
                  ([self.means[d, m] for m in self.methods] for d in CHANCE)]
        self.assertGreater(max(spread), 20)


if __name__ == "__main__":
    case.main()
