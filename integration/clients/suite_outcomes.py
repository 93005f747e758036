"""A pytest plugin for `cargo stack suite`: one line of JSON for each test as soon as it has ended, in the file
$SUITE_OUTCOMES, and, with $SUITE_RESP, the protocol that redis-py speaks where nobody says which."""

import json
import os

WORST = ["passed", "skipped", "failed"]


class Outcomes:
    def __init__(self, path):
        self.file = open(path, "a", buffering=1)
        self.under_way = {}

    def write(self, **line):
        self.file.write(json.dumps(line) + "\n")

    def pytest_collection_finish(self, session):
        self.write(collected=len(session.items))

    def pytest_collectreport(self, report):
        if report.failed:
            self.write(test=report.nodeid, outcome="failed", why=message(report))

    def pytest_runtest_logreport(self, report):
        outcome, why = self.under_way.pop(report.nodeid, ("passed", ""))
        if report.outcome == "rerun":  # pytest-rerunfailures: it starts afresh
            return
        # An expected failure is as good as a success, and "skipped" to pytest.
        seen = "passed" if hasattr(report, "wasxfail") else report.outcome
        if WORST.index(seen) > WORST.index(outcome):
            outcome, why = seen, message(report)
        if report.when == "teardown":
            self.write(test=report.nodeid, outcome=outcome, why=why)
        else:
            self.under_way[report.nodeid] = (outcome, why)


def message(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else report.longreprtext
    return " ".join(text.split())[:400]


def pytest_configure(config):
    if resp := os.environ.get("SUITE_RESP"):
        speak(int(resp))
    config.pluginmanager.register(Outcomes(os.environ["SUITE_OUTCOMES"]))


def speak(resp):
    import redis.asyncio.connection
    import redis.connection
    import redis.utils

    for module in (redis.utils, redis.connection, redis.asyncio.connection):
        module.DEFAULT_RESP_VERSION = resp
