#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gives the events of a sweep to TensorBoard, Weights & Biases or MLflow: one run per cell, with its losses, learning
rate, norm of the gradient, validation losses, metrics and end.

  peftbench run GRID.cfg --events events.jsonl
  jobs/import_events.py tensorboard events.jsonl* -o runs       (tensorboard or tensorboardX; then tensorboard --logdir runs)
  jobs/import_events.py wandb events.jsonl*                     (wandb; WANDB_MODE=offline works without a network)
  jobs/import_events.py mlflow events.jsonl*                    (mlflow; MLFLOW_TRACKING_URI says where to)

A line that is incomplete, because the run still writes it or was killed, is passed over with a word. Exit codes: 0 done;
1 a file cannot be read, or the package is missing; 2 bad usage."""
import argparse
import json
import os
import sys


class TensorBoard:
    def __init__(self, _, folder):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            from tensorboardX import SummaryWriter
        self.make, self.folder = SummaryWriter, folder

    def start(self, name, _):
        return self.make(os.path.join(self.folder, name.replace("/", "__")))

    def log(self, run, values, step, seconds):
        for tag, value in values.items():
            run.add_scalar(tag, value, step, walltime=seconds)

    def end(self, run, status, _):
        run.add_text("status", status)
        run.close()


class WandB:
    def __init__(self, sweep, _):
        import wandb
        self.wandb, self.sweep = wandb, sweep

    def start(self, name, cell):
        return self.wandb.init(project=self.sweep, name=name, config=cell, reinit="create_new")

    def log(self, run, values, step, _):
        run.log(values, step=step)

    def end(self, run, status, _):
        run.summary["status"] = status
        run.finish(exit_code=0 if status == "done" else 1)


class MLflow:
    def __init__(self, sweep, _):
        from mlflow.tracking import MlflowClient
        self.client = MlflowClient()
        found = self.client.get_experiment_by_name(sweep)
        self.experiment = found.experiment_id if found else self.client.create_experiment(sweep)

    def start(self, name, cell):
        run = self.client.create_run(self.experiment, run_name=name).info.run_id
        for key, value in cell.items():
            self.client.log_param(run, key, value)
        return run

    def log(self, run, values, step, seconds):
        for key, value in values.items():
            self.client.log_metric(run, key, value, timestamp=int(seconds * 1000), step=step)

    def end(self, run, status, seconds):
        self.client.set_tag(run, "status", status)
        self.client.set_terminated(run, "FINISHED" if status == "done" else "FAILED", int(seconds * 1000))


TARGETS = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}


def events_of(path):
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError:
                print(f"{path}:{number}: passed over, it is not whole", file=sys.stderr)


def values_of(event):
    """The numbers of an event by their tags."""
    if event["event"] == "step":
        values = {f"train/{key}": event[key] for key in ("loss", "lr", "grad_norm", "seconds")}
    elif event["event"] == "validation":
        values = {"validation/loss": event["loss"]}
    else:
        values = {"test/score": event["score"], **{f"test/{key}": value for key, value in event["metrics"].items()}}
    return {key: value for key, value in values.items() if value is not None}


def give(events, target):
    """A cell that begins again, after a stop, is a run of its own."""
    runs, steps, attempts, count = {}, {}, {}, 0
    for event in events:
        if "model" not in event:
            continue
        cell = {key: event[key] for key in ("model", "dataset", "method", "seed")}
        name = "/".join(map(str, cell.values()))
        if event["event"] == "start" or name not in runs:
            attempts[name] = attempts.get(name, 0) + 1
            runs[name] = target.start(name + (f"#{attempts[name]}" if attempts[name] > 1 else ""), cell)
            steps[name], count = 0, count + 1
        if event["event"] == "end":
            target.end(runs.pop(name), event["status"], event["time"])
        elif event["event"] != "start":
            steps[name] = event.get("step", steps[name])
            target.log(runs[name], values_of(event), steps[name], event["time"])
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("files", nargs="+", metavar="FILE", help="FILE of run --events, and FILE.1 … of its other processes")
    parser.add_argument("-o", "--output", default="runs", help="folder of TensorBoard's files (default: runs)")
    arguments = parser.parse_args()
    try:
        events = [event for path in arguments.files for event in events_of(path)]
        sweep = next((event["sweep"] for event in events if event["event"] == "run"), "peftbench")
        count = give(events, TARGETS[arguments.target](sweep, arguments.output))
    except (OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{count} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
