# SPDX-License-Identifier: Apache-2.0
"""Stands in for MLflow's client: every call is a JSON line of $FAKE_CALLS, and a run is called by its name."""
import types

from wandb import note


class MlflowClient:
    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        note("experiment", name)
        return "7"

    def create_run(self, experiment, run_name):
        note("init", experiment, run_name)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_name))

    def log_param(self, run, key, value):
        note("param", run, key, value)

    def log_metric(self, run, key, value, timestamp, step):
        assert isinstance(timestamp, int)
        note("log", run, {key: value}, step)

    def set_tag(self, run, key, value):
        note("tag", run, key, value)

    def set_terminated(self, run, status, end_time):
        assert isinstance(end_time, int)
        note("finish", run, status)
