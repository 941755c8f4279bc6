# SPDX-License-Identifier: Apache-2.0
"""An OpenBLAS that is older than the processor: the program chooses better kernels before MPI starts, once, reports
this once and records it. The user's setting stays. A preloaded library imitates the old one (old_openblas.c)."""
import json
import os

import case
import program
import results

OLD = os.environ.get("PB_OLD_OPENBLAS", "")
UNSET = {"OPENBLAS_CORETYPE": "", "PB_KERNELS": "1 2 1 Prescott 1 Zen 9"}  # of another process: means nothing


class Kernels(case.Case):
    facts = None

    def setUp(self):
        super().setUp()
        if Kernels.facts is None:
            Kernels.facts = json.loads(self.expect(program.run(["info", "--json", "--measure"], env=UNSET), 0).out)
        if "OpenBLAS" not in self.facts["products"]:
            case.skip("the products of this build do not use OpenBLAS")
        if self.candidates(self.facts)[-1] != "Prescott" or len(self.facts["candidates"]) < 2:
            case.skip("OpenBLAS has one kind of kernels for this processor")
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], (1, 2))

    @staticmethod
    def candidates(facts):
        return [row["kernels"] for row in facts["candidates"]]

    def info(self, code=0, **env):
        result = self.expect(program.run(["info", "--json"], env={**UNSET, **env}), code)
        return json.loads(result.out), result.err

    def provenance(self, output, name):
        text = results.h5dump("-a", f"/cells/good/pairs/lora/1/provenance/{name}", os.path.join(output, "tiny.h5")).stdout.decode()
        return text.split('"')[-2] if '"' in text else None

    def test_an_empty_setting_is_none(self):
        result = self.expect(program.run(["info", "--json"], env={"OPENBLAS_CORETYPE": None}), 0)
        facts = json.loads(result.out)
        self.assertIn(facts["kernels_by"], ("library", "program"))
        self.assertEqual(self.facts["kernels_by"], facts["kernels_by"])
        self.assertEqual(self.facts["products"], facts["products"])

    def test_the_candidates_are_listed_with_their_rates(self):
        rows = self.facts["candidates"]
        self.assertEqual([row["in_use"] for row in rows], [True] + [False] * (len(rows) - 1))
        self.assertEqual(rows[0]["kernels"], self.facts["kernels"])
        self.assertTrue(all(row["gflops_1_thread"] > 0 and row["gflops"] > 0 for row in rows))
        several = json.loads(self.expect(program.run(["info", "--json", "--measure", "--threads=2"], env=UNSET), 0).out)["candidates"]
        self.assertEqual({row["threads"] for row in several}, {2})

    def test_a_setting_of_the_users_stays_and_its_cost_is_reported(self):
        facts, err = self.info(OPENBLAS_CORETYPE="Prescott")
        self.assertEqual((facts["kernels"], facts["kernels_by"]), ("Prescott", "user"))
        self.assertIn("OPENBLAS_CORETYPE=Prescott makes products", err)
        self.assertIn(facts["kernels_other"], self.candidates(self.facts))
        ratio = float(facts["kernels_other_gflops"]) / float(facts["kernels_gflops"])
        self.assertAlmostEqual(float(facts["peak_gflops"]) / float(facts["gemm_gflops"]) / ratio, 1, delta=0.02)
        self.assertIn(facts["kernels_other"], facts["peak_source"])

    def test_a_setting_that_costs_nothing_is_no_matter(self):
        facts, err = self.info(OPENBLAS_CORETYPE=self.facts["kernels"])
        self.assertEqual((facts["kernels_by"], err), ("user", ""))
        self.assertEqual(facts["products"], self.facts["products"])

    def test_a_name_that_is_not_known_is_reported(self):
        facts, err = self.info(OPENBLAS_CORETYPE="Zen99")
        self.assertIn("OPENBLAS_CORETYPE=Zen99: this OpenBLAS has no kernels of that name and took " + facts["kernels"], err)

    def test_kernels_that_would_end_the_process_are_refused(self):
        if "SkylakeX" in self.candidates(self.facts):
            case.skip("this processor has AVX-512")
        result = program.run(["info"], env={"OPENBLAS_CORETYPE": "SkylakeX"})
        if result.code == 0:
            self.skipTest("this OpenBLAS has no kernels for AVX-512")
        self.expect(result, 2, "SkylakeX", "AVX-512", "unset OPENBLAS_CORETYPE")

    def test_an_old_library_is_given_better_kernels(self):
        if not OLD or len(self.facts["candidates"]) < 3:
            case.skip("no library to imitate the old one, or a processor without AVX2")
        old = {**UNSET, "LD_PRELOAD": OLD}
        own = self.facts["kernels_by"]  # "program" where the real library is too old
        outputs = {}
        for name, env, ranks in (("new", UNSET, None), ("old", old, None), ("ranks", old, 2)):
            outputs[name] = os.path.join(self.folder, name)
            result = self.run_grid(self.grid, 0, outputs[name], ranks=ranks, env=env)
            self.assertEqual(result.err.count("products use OpenBLAS's"), int(name != "new" or own == "program"), str(result))
        better = self.provenance(outputs["old"], "kernels")
        self.assertIn(better, self.candidates(self.facts))
        self.assertEqual(self.provenance(outputs["old"], "kernels_by"), "program")
        self.assertEqual(self.provenance(outputs["old"], "kernels_other"), "Prescott")
        self.assertEqual(self.provenance(outputs["ranks"], "kernels_by"), "program")
        self.assertEqual(self.provenance(outputs["new"], "kernels_by"), own)
        digests = {self.digest(os.path.join(output, "tiny.h5")) for output in outputs.values()}
        if better == self.facts["kernels"]:
            self.assertEqual(len(digests), 1, "who chose the kernels changes no result")

    def test_an_old_library_that_the_user_pinned_stays_as_it_is(self):
        if not OLD:
            case.skip("no library to play the old one")
        facts, err = self.info(LD_PRELOAD=OLD, OPENBLAS_CORETYPE="Prescott")
        self.assertEqual((facts["kernels"], facts["kernels_by"]), ("Prescott", "user"))
        self.assertNotIn("products take", err)

    def test_help_and_reports_measure_nothing(self):
        if not OLD:
            case.skip("no library to play the old one")
        for arguments in (["--help"], ["run", "--help"], ["--version"], ["help", "info"]):
            result = self.expect(program.run(arguments, env={**UNSET, "LD_PRELOAD": OLD}), 0)
            self.assertEqual(result.err, "")


if __name__ == "__main__":
    case.main()
