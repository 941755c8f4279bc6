# SPDX-License-Identifier: Apache-2.0
"""jobs/fetch_data.py with a stand-in for the hub's library: pinned, verified, resumed, and never half a file."""
import json
import os
import shutil
import time

import case
import fetching
import program
import world
from fetching import ROWS, lines

OLD, NEW = "1" * 40, "2" * 40
NAME, REPOSITORY = "smollm2-135m", "HuggingFaceTB/SmolLM2-135M"
WANTED = ["config.json", "model.safetensors", "tokenizer.json"]


class Hub(fetching.Case):
    def commit(self, kind, repository, commit, files, branch="main"):
        """Puts files, name → content, under a commit to which a branch then points."""
        root = os.path.join(self.hub, kind, repository)
        for name, content in files.items():
            world.write(os.path.join(root, commit, name), content)
        path = os.path.join(root, "refs.json")
        refs = json.loads(world.read(path)) if os.path.exists(path) else {}
        world.write(path, json.dumps(dict(refs, **{branch: commit})))

    def downloads(self):
        """The files that were downloaded since the last call."""
        path = os.path.join(self.hub, "log")
        if not os.path.exists(path):
            return []
        names = world.read(path).decode().split()
        os.remove(path)
        return [name.partition("@")[2] for name in names]

    def killed(self, *arguments, at):
        """Kills the script while a download hangs in the middle of a file."""
        marker = os.path.join(self.hub, "hangs")
        process = self.start(*arguments, mode=f"hang {at}")
        while process.poll() is None and not os.path.exists(marker):
            time.sleep(0.005)
        self.assertIsNone(process.poll(), "ended before the kill")
        process.kill()
        process.communicate()
        os.remove(marker)


class Models(Hub):
    def setUp(self):
        super().setUp()
        self.content = {name: world.read(os.path.join(self.world.good_model, name)) for name in WANTED}
        others = ["README.md", "pytorch_model.bin", "consolidated.safetensors", "original/params.json", "onnx/model.safetensors"]
        self.commit("model", REPOSITORY, OLD, dict(self.content, **dict.fromkeys(others, b"{}")))

    def there(self):
        return self.below(os.path.join(self.models, NAME))

    def check_complete(self):
        self.assertEqual(self.there(), sorted([*WANTED, "fetch.json"]))
        for name in WANTED:
            self.assertEqual(self.made(f"{NAME}/{name}", self.models), self.content[name])

    def slot(self, old, new):
        configs = self.copy_configs()
        self.change(os.path.join(configs, "model", NAME + ".cfg"), old, new)
        return configs

    def test_only_what_is_read_is_fetched_and_once(self):
        self.fetch(NAME, texts=[f"3 of 3 files downloaded, commit {OLD}"])
        self.check_complete()
        self.downloads()
        self.fetch(NAME, texts=["3 files verified"], mode="offline")
        self.assertEqual(self.downloads(), [])

    def test_fetched_checkpoint_runs_a_plan(self):
        self.fetch(NAME)
        grid = self.world.grid([NAME], ["demo-pairs"], ["lora"])
        self.expect(program.run(["plan", grid], env={"PB_MODELS": self.models}), 0)

    def test_a_damaged_file_is_named(self):
        self.fetch(NAME)
        path = world.write(os.path.join(self.models, NAME, "model.safetensors"), b"changed")
        self.fetch(NAME, code=1, texts=[path, "was changed or is damaged"])

    def test_missing_files_come_from_the_same_commit(self):
        self.fetch(NAME)
        self.downloads()
        self.commit("model", REPOSITORY, NEW, dict.fromkeys(WANTED, b"newer"))
        os.remove(os.path.join(self.models, NAME, "config.json"))
        self.fetch(NAME, texts=["1 of 3 files downloaded"])
        self.check_complete()
        self.assertEqual(self.downloads(), [f"{OLD}/config.json"])

    def test_truncated_and_flipped_downloads_are_removed(self):
        for mode, text in (("cut", "bytes, the hub's has"), ("flip", "hash")):
            for name in ("model.safetensors", "config.json"):
                with self.subTest(mode=mode, name=name):
                    self.fetch(NAME, code=1, mode=f"{mode} {name}", texts=[name, "run this again"])
                    self.assertNotIn(name, self.there())
                    self.assertNotIn(f".fetch/{name}", self.there())
                    self.fetch(NAME)
                    self.check_complete()
                    shutil.rmtree(self.models)

    def test_killed_in_the_middle(self):
        self.killed(NAME, at="model.safetensors")
        self.assertNotIn("model.safetensors", self.there())
        done = [name for name in WANTED if name in self.there()]
        self.assertTrue(done, "smaller files come first")
        self.downloads()
        self.fetch(NAME, texts=[f"{3 - len(done)} of 3 files downloaded"])
        self.check_complete()
        self.assertEqual(self.downloads(), [f"{OLD}/{name}" for name in ("model.safetensors",)])

    def test_files_that_came_in_another_way_are_taken_if_they_are_the_same(self):
        for name in WANTED:
            world.write(os.path.join(self.models, NAME, name), self.content[name])
        self.fetch(NAME, texts=["0 of 3 files downloaded"])
        self.check_complete()
        shutil.rmtree(self.models)
        path = world.write(os.path.join(self.models, NAME, "config.json"), b"{}")
        self.fetch(NAME, code=1, texts=[path, "move it away"])
        self.assertEqual(world.read(path), b"{}")

    def test_pinned_commit(self):
        self.commit("model", REPOSITORY, NEW, dict.fromkeys(WANTED, b"newer"))
        configs = self.slot('revision = "";', f'revision = "{OLD}";')
        self.fetch(NAME, "--configs", configs)
        self.check_complete()
        self.change(os.path.join(configs, "model", NAME + ".cfg"), OLD, NEW)
        self.fetch(NAME, "--configs", configs, code=1, texts=[f"holds {OLD}", f"asks for {NEW}"])
        shutil.rmtree(self.models)
        self.change(os.path.join(configs, "model", NAME + ".cfg"), NEW, "3" * 40)
        self.fetch(NAME, "--configs", configs, code=1, texts=["no revision", "3" * 40])

    def test_printed_hashes_are_slots_that_hold(self):
        self.fetch(NAME, "--print-hashes", code=1, texts=["nothing was fetched"])
        self.fetch(NAME)
        printed = self.fetch(NAME, "--print-hashes").out
        slots = printed.partition("\n")[2]
        self.assertIn(f'revision = "{OLD}";', slots)
        configs = self.slot('  revision = "";', slots + '  # revision = "";')
        path = os.path.join(configs, "model", NAME + ".cfg")
        self.change(path, "  sha256   = [ ];", "")
        self.fetch(NAME, "--configs", configs, texts=["3 files verified"])
        grid = self.world.grid([path], ["demo-pairs"], ["none"])
        self.expect(program.run(["plan", grid], env={"PB_MODELS": self.models}), 0)

    def test_expected_hashes_are_enforced(self):
        wrong = "0" * 64
        configs = self.slot("sha256   = [ ];", f'sha256 = [ "config.json:{wrong}" ];')
        self.fetch(NAME, "--configs", configs, code=1, texts=["config.json", wrong, NAME + ".cfg"])
        self.assertNotIn("config.json", self.there())
        self.fetch(NAME)
        self.fetch(NAME, "--configs", configs, code=1, texts=["config.json", wrong])
        self.change(os.path.join(configs, "model", NAME + ".cfg"), "config.json:", "weights.bin:")
        shutil.rmtree(self.models)
        self.fetch(NAME, "--configs", configs, code=1, texts=["weights.bin", "has not"])

    def test_errors_of_the_hub_say_what_to_do(self):
        page = "https://huggingface.co/" + REPOSITORY
        self.fetch(NAME, code=1, mode="gated", texts=["gated", page, "HF_TOKEN"])
        self.fetch(NAME, code=1, mode="offline", texts=["ConnectionError: the network is down;", "HTTPS_PROXY", "HF_ENDPOINT"])
        self.fetch("qwen3-1.7b", code=1, texts=["https://huggingface.co/Qwen/Qwen3-1.7B", "HF_TOKEN"])
        self.commit("model", "Qwen/Qwen3-1.7B", OLD, {"config.json": b"{}"})
        self.fetch("qwen3-1.7b", NAME, code=1, texts=["no safetensors file", "1 of 2 failed: qwen3-1.7b"])
        self.check_complete()

    def test_dry_run_and_list_need_no_hub(self):
        result = self.fetch(NAME, "rte", "--dry-run", mode="offline", texts=["nothing there yet", "nyu-mll/glue rte train at main"])
        self.assertFalse(os.path.exists(self.models) or os.path.exists(self.data), str(result))
        self.fetch("--list", mode="offline", texts=[REPOSITORY, "Apache-2.0", "aps/super_glue wsc.fixed train"])
        self.fetch(NAME)
        self.fetch(NAME, "--dry-run", mode="offline", texts=["all 3 files there", OLD])


class Sets(Hub):
    def check_rte(self, origin, commit):
        self.assertEqual(self.made("rte/train.jsonl"), lines(ROWS))
        self.assertEqual(self.made("rte/test.jsonl"), lines(ROWS[:2]))
        self.assertEqual(self.below(self.data), ["rte/fetch.json", "rte/test.jsonl", "rte/train.jsonl"])
        entry = self.manifest("rte")["files"]["test.jsonl"]
        self.assertEqual((entry["repository"], entry["revision"], entry["split"], entry["rows"]), (origin, commit, "validation", 2))

    def commit_rte(self, commit=OLD, branch="main", form="rte/{}.jsonl"):
        self.commit("dataset", "nyu-mll/glue", commit, {
            form.format("train"): lines(ROWS), form.format("validation"): lines(ROWS[:2]), form.format("test"): lines(ROWS[2:]),
            form.replace("rte", "mrpc").format("train"): b"{}"}, branch)

    def test_files_of_the_repository(self):
        self.commit_rte()
        self.fetch("rte", texts=["train.jsonl 3 rows, test.jsonl 2 rows"])
        self.check_rte("nyu-mll/glue", OLD)
        self.fetch("rte", texts=["train.jsonl verified"], mode="offline")

    def test_converted_files_where_the_repository_has_a_script(self):
        self.commit("dataset", "nyu-mll/glue", OLD, {"glue.py": b""})
        self.fetch("rte", code=1, texts=["nyu-mll/glue@main or nyu-mll/glue@refs/convert/parquet", "config 'rte'"])
        self.commit_rte(NEW, "refs/convert/parquet", "rte/{}/0000.jsonl")
        self.fetch("rte")
        self.check_rte("nyu-mll/glue", NEW)

    def test_mirror_where_there_is_no_conversion(self):
        row = {"context": "c", "question": "q", "answerA": "a", "answerB": "b", "answerC": "c", "label": "1"}
        self.commit("dataset", "allenai/social_i_qa", OLD, {"social_i_qa.py": b""})
        self.commit("dataset", "lighteval/siqa", NEW, {f"data/{s}-00000-of-00001.jsonl": lines([row]) for s in ("train", "validation")})
        self.fetch("siqa")
        self.assertEqual(self.manifest("siqa")["files"]["train.jsonl"]["repository"], "lighteval/siqa")

    def test_pinned_and_recorded_commits(self):
        self.commit_rte()
        self.fetch("rte")
        self.commit("dataset", "nyu-mll/glue", NEW, {"rte/train.jsonl": lines(ROWS[:1]), "rte/validation.jsonl": lines(ROWS[:1])})
        os.remove(os.path.join(self.data, "rte/test.jsonl"))
        self.fetch("rte")
        self.check_rte("nyu-mll/glue", OLD)
        configs = self.copy_configs()
        slot = '"nyu-mll/glue": "{}"'
        self.change(os.path.join(configs, "dataset/sources.json"), slot.format(""), slot.format(NEW))
        self.fetch("rte", "--configs", configs, code=1, texts=[OLD, f"asks for {NEW}"])
        self.data = self.path("other")
        self.fetch("rte", "--configs", configs, texts=["train.jsonl 1 rows"])
        self.assertIn(NEW, self.fetch("rte", "--print-hashes").out)

    def test_truncated_download(self):
        self.commit_rte()
        self.fetch("rte", code=1, mode="cut rte/validation.jsonl", texts=["rte/validation.jsonl", "run this again"])
        self.assertNotIn("rte/test.jsonl", self.below(self.data))
        self.downloads()
        self.fetch("rte", texts=["train.jsonl verified, test.jsonl 2 rows"])
        self.assertEqual(self.downloads(), [f"{OLD}/rte/validation.jsonl"])
        self.check_rte("nyu-mll/glue", OLD)

    def test_killed_in_the_middle(self):
        self.commit_rte()
        self.killed("rte", at="rte/validation.jsonl")
        self.assertIn("rte/train.jsonl", self.below(self.data))
        self.assertNotIn("rte/test.jsonl", self.below(self.data))
        self.fetch("rte", texts=["train.jsonl verified, test.jsonl 2 rows"])
        self.check_rte("nyu-mll/glue", OLD)


if __name__ == "__main__":
    case.main()
