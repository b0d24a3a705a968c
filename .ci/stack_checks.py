#!/usr/bin/env -S python3 -B
"""What must hold of the running stack: `.ci/stack_checks.py [CHECK…]`. Every wait is for a state; no timing is asserted."""

import json
import math
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import otlp_sink

PATIENCE = 120
QUESTIONS = [(b"Beautiful is better than?", b"Ugly."), (b"Explicit is better than?", b"Implicit."), (b"Simple is better than?", b"Complex.")]
PROMETHEUS = "http://127.0.0.1:9090"
SWARM = "http://127.0.0.1:9080"

# Panels whose value is rightly nothing, or nothing at most moments, while all is well.
MAY_BE_EMPTY = {
    "Failures by outcome", "Datagrams not answered, by why", "Served by epoll instead", "Scenario under way",
    "Events for each turn of the loop", "Part of the time that the loop waits",
    "Part of the time that the runtime's threads are busy", "Alerts", "Clients turned away, by why", "Connections by kind of client",
    "Tasks of the runtime", "Time to make a thread or process", "Waiting in the server for a worker: 99th percentile",
    "Used of what there may be", "Pressure of the container", "Threads that wait for a processor",
}
# Panels that count something only while it happens.
MAY_BE_ZERO = {
    "Answers that nobody waited for", "Clients that could not be accepted", "From a death to its successor", "Page faults a second",
    "Part of the time that the swarm's workers are busy", "Questions that wait to be asked",
    "Asked late", "Datagrams waiting in the buffer, as part of it", "Clients in the accept queue by transport", "Connections of the swarm", "Not asked", "Open connections by transport",
    "Questions without an outcome yet", "Time in which the container had used up its CPU quota",
    "Datagrams lost in the server's buffer", "Restarts of workers and data planes", "Wake-ups for nothing", "Clients in the accept queue", "Open connections",
    "Scoreboard: everybody's last turn in the spotlight, at equal offered load",
}


def compose(*arguments):
    return subprocess.run(["docker", "compose", *arguments], check=True, capture_output=True, text=True).stdout


def ask(url, method="GET", body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read().decode()
            return response.status, json.loads(text) if text[:1] in "{[" else text, response.headers
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text[:1] in "{[" else text, error.headers


def result(expression):
    status, answer, _ = ask(f"{PROMETHEUS}/api/v1/query?query=" + urllib.parse.quote(expression))
    if status != 200:
        raise AssertionError(f"{expression}: {answer}")
    return answer["data"]["result"]


def query(expression):
    return [(series["metric"], float(series["value"][1])) for series in result(expression)]


def scraped(selector, since):
    """Of each series what was scraped after an instant, oldest first."""
    series = [(one["metric"], one["values"]) for one in result(f"{selector}[1m]")]
    return [(metric, [float(value) for at, value in values if at > since]) for metric, values in series]


def wait_for(what, holds, patience=PATIENCE):
    """Asks until it holds; gives what it gave."""
    deadline, last = time.monotonic() + patience, None
    while time.monotonic() < deadline:
        try:
            last = holds()
            if last:
                return last
        except (OSError, AssertionError, KeyError, ValueError) as error:
            last = error
        time.sleep(0.5)
    raise AssertionError(f"{what}: not after {patience} s; last: {last}")


class WrongAnswer(Exception):
    """Never to be tried again."""


class Stack:
    def __init__(self):
        services = json.loads(compose("config", "--format", "json"))["services"]
        self.servers = {}
        for name, service in services.items():
            command = service.get("command") or []
            if command[:1] == ["server"]:
                ports = {(port["target"], port["protocol"]): int(port["published"]) for port in service["ports"]}
                self.servers[name] = {
                    "architecture": command[1],
                    "tcp": ports.get((1060, "tcp")),
                    "udp": ports.get((1060, "udp")),
                    "admin": f"http://127.0.0.1:{ports[(9060, 'tcp')]}",
                    "echo": service["environment"].get("ZENLAB__DIALOGUE") == "echo",
                }
        self.token = compose("--profile", "cli", "run", "--rm", "-T", "cli", "token", "--show", "--file", "/run/token/token").split()[-1]
        self.auth = {"Authorization": f"Bearer {self.token}"}

    def change(self, name, path, method="POST", body=None, **headers):
        url = self.servers[name]["admin"] + path
        return ask(url, method, body, {**self.auth, **{key.replace("_", "-"): value for key, value in headers.items()}})

    def is_ready(self, name):
        return ask(self.servers[name]["admin"] + "/readyz")[0] == 200


def same(heard, answer):
    if heard != answer:
        raise WrongAnswer(f"{heard} instead of {answer}")


def converse(port, questions=QUESTIONS):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for question, answer in questions:
            client.sendall(question)
            heard = b""
            while len(heard) < len(answer):
                part = client.recv(64)
                assert part, f"closed after {heard}"
                heard += part
            same(heard, answer)


def datagrams(port, questions):
    for question, answer in questions:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect(("127.0.0.1", port))
            client.send(question)
            same(client.recv(64), answer)


def all_answer(stack):
    for name, server in stack.servers.items():
        questions = [(question, question) for question, _ in QUESTIONS] if server["echo"] else QUESTIONS
        wait_for(f"{name} over TCP", lambda: converse(server["tcp"], questions) is None, 30)
        if server["udp"]:
            wait_for(f"{name} over UDP", lambda: datagrams(server["udp"], questions) is None, 30)
    return f"{len(stack.servers)} servers"


def targets(stack):
    wanted = len(stack.servers) + 2

    def all_up():
        found = query("up")
        down = [metric["instance"] for metric, value in found if value != 1]
        assert len(found) == wanted and not down, f"{len(found)} targets instead of {wanted}, down: {down}"
        return found

    return f"{len(wait_for('targets up', all_up))} targets up: the servers, the swarm, Prometheus"


def thousand(stack):
    def counts():
        _, status, _ = ask(SWARM + "/api/v1/status")
        found = {(one["target"], one["transport"]): one["outcomes"] for one in status["targets"]}
        wrong = {key: outcomes for key, outcomes in found.items() if outcomes["wrong_answer"]}
        if wrong:
            sys.exit(f"wrong answers: {wrong}")
        return found if found and min(outcomes["ok"] for outcomes in found.values()) >= 1000 else None

    found = wait_for("a thousand right answers from each endpoint", counts, 240)
    return f"{len(found)} endpoints, at least {min(outcomes['ok'] for outcomes in found.values())} right answers each, 0 wrong"


def settings(stack):
    name = next(name for name, server in stack.servers.items() if server["architecture"] == "thread_pool")
    status, _, _ = ask(stack.servers[name]["admin"] + "/api/v1/config", "PATCH", {"workers": 6}, {"If-Match": "*"})
    assert status == 401, status
    assert stack.change(name, "/api/v1/config", "PATCH", {"workers": 6})[0] == 428
    status, answer, headers = stack.change(name, "/api/v1/config", "PATCH", {"workers": 6}, If_Match="*")
    assert status == 200 and answer["settings"]["workers"] == 6, answer
    wait_for("six workers", lambda: all(one["workers"]["running"] == 6 for one in ask(stack.servers[name]["admin"] + "/api/v1/status")[1]["endpoints"]))
    assert stack.change(name, "/api/v1/config", "PATCH", {"workers": 4}, If_Match='"0"')[0] == 412
    assert stack.change(name, "/api/v1/config", "PATCH", {"workers": 0}, If_Match="*")[0] == 422
    assert stack.change(name, "/api/v1/config", "PATCH", {"workers": None}, If_Match=headers["ETag"])[0] == 200
    return name


def lifecycle(stack):
    name = next(name for name, server in stack.servers.items() if server["architecture"] == "epoll")
    port = stack.servers[name]["tcp"]
    assert stack.change(name, "/api/v1/pause")[1] == {"state": "paused"}
    assert ask(stack.servers[name]["admin"] + "/readyz")[0] == 503
    assert stack.change(name, "/api/v1/resume")[1] == {"state": "ready"}
    converse(port)
    assert stack.change(name, "/api/v1/drain")[0] == 202
    wait_for("parked", lambda: ask(stack.servers[name]["admin"] + "/api/v1/status")[1]["state"] == "parked")
    assert stack.change(name, "/api/v1/start")[0] == 202
    wait_for("ready again", lambda: stack.is_ready(name))
    converse(port)
    assert stack.change(name, "/api/v1/shutdown")[0] == 202
    wait_for("gone", lambda: name not in compose("ps", "--services", "--status", "running").split())
    compose("up", "--wait", "--no-build", name)
    wait_for("back", lambda: stack.is_ready(name))
    converse(port)
    return name


def scenario(stack):
    """Starts a scenario over the admin API, sees it in Prometheus' data, and stops it; then a plan that lasts for a while only."""
    runs = SWARM + "/api/v1/runs"
    status, run, headers = ask(runs, "POST", {"scenario": "bad_askers", "duration_seconds": 60}, stack.auth)
    assert status == 202, run
    wait_for("the scenario in Prometheus", lambda: any(value == 1 for _, value in query('zen_swarm_run_active{scenario="bad_askers"}')))
    assert ask(runs, "POST", {"scenario": "idlers"}, stack.auth)[0] == 409
    location = SWARM + headers["Location"]
    assert ask(location + "/cancel", "POST", None, stack.auth)[0] in (200, 202)
    wait_for("its end", lambda: not any(value for _, value in query("zen_swarm_run_active")))
    body = {"steady_rate": 12.0}
    assert ask(SWARM + "/api/v1/plan?ttl=5s", "PATCH", body, {**stack.auth, "If-Match": "*"})[0] == 200
    plan = lambda: ask(SWARM + "/api/v1/plan")[1]["steady_rate"]
    assert plan() == 12.0, plan()
    wait_for("the plan to be as it was", lambda: plan() != 12.0)
    wait_for("the run's report", lambda: ask(location + "/report.json")[0] == 200)
    report = ask(location + "/report.json")[1]
    assert report["tables"][0]["rows"] and any("cancelled" in reason for reason in report["validity"]["reasons"]), report["validity"]
    return f"{ask(location)[1]['state']}, with a report of {len(report['charts'])} pictures"


def live_plan(stack):
    """A change of the plan is in the first scrape after it; and the spotlight turns in the data that Grafana asks for."""
    lit = {"epoll", "prefork"}
    generation = query("zen_swarm_plan_generation")[0][1]
    body = {"spotlight": {"mode": "turn", "targets": sorted(lit), "turn_seconds": 4, "rate": 60}}
    assert ask(SWARM + "/api/v1/plan", "PATCH", body, {**stack.auth, "If-Match": "*"})[0] == 200
    changed = time.time()
    first = wait_for("a scrape after the change", lambda: scraped("zen_swarm_plan_generation", changed)[0][1])[0]
    assert first > generation, f"the first scrape after the change has plan {first}, and the plan before it was {generation}"
    turning = lambda: {metric["architecture"]: set(values) for metric, values in scraped("zen_swarm_spotlight", changed)}
    seen = wait_for("a turn of both", lambda: (lambda seen: seen if all(seen[name] == {0, 1} for name in lit) else None)(turning()), 40)
    others = {name: values for name, values in seen.items() if name not in lit and values != {0}}
    assert not others, others
    return f"plan {first:.0f} in the first scrape, and {' and '.join(sorted(lit))} in turn"


def rules(stack):
    """The rules are loaded and can be reckoned, no page fires while all is well, and a server that stops is missed."""
    loaded = lambda: [rule for group in ask(PROMETHEUS + "/api/v1/rules")[1]["data"]["groups"] for rule in group["rules"]]
    wait_for("every rule reckoned", lambda: loaded() and all(rule["health"] == "ok" for rule in loaded()))
    pages = lambda: {(metric["alertname"], metric.get("service")) for metric, _ in query('ALERTS{severity="page", alertstate="firing"}')}
    wait_for("no page", lambda: not pages())
    name = next(name for name, server in stack.servers.items() if server["architecture"] == "select")
    compose("stop", name)
    wait_for(f"the alert that {name} is gone", lambda: pages() == {("ServerGone", name)})
    compose("up", "--wait", "--no-build", name)
    wait_for("no page again", lambda: not pages())
    return f"{len(loaded())} rules, and {name} was missed"


def every_panel(stack):
    """Puts everybody into the spotlight for a while, then runs every query of every panel."""
    body = {"spotlight": {"mode": "fixed", "targets": [], "turn_seconds": 20, "rate": 60}}
    assert ask(SWARM + "/api/v1/plan", "PATCH", body, {**stack.auth, "If-Match": "*"})[0] == 200
    wanted = set(stack.servers)
    datagrams = {name for name, server in stack.servers.items() if server["udp"]}
    wait_for("everybody's window", lambda: {metric["architecture"] for metric, _ in query("zen_swarm_last_window_rate")} >= wanted, 240)
    dashboards = [os.path.join("grafana/dashboards", name) for name in os.listdir("grafana/dashboards") if name.endswith(".json")]
    count = 0
    for path in dashboards:
        with open(path, encoding="utf-8") as file:
            dashboard = json.load(file)
        panels = dashboard["panels"]
        for expression in [one["expr"] for one in dashboard["annotations"]["list"]]:
            count += 1
            # Nothing need have happened; a query that is wrong is refused.
            query(filled(expression).replace("$architecture", ".+"))
        for panel in panels:
            # Traces are asked for in another language.
            for expression in [target["expr"] for target in panel["targets"] if "expr" in target]:
                count += 1
                of = datagrams if re.search("zen_(udp|datagrams)_", expression) else wanted
                wait_for(f"panel {panel['title']!r}: {expression}", lambda panel=panel, expression=expression, of=of: panel_holds(panel, expression, of), 60)
    return f"{count} queries"


def filled(expression):
    """With the intervals that Grafana would fill in."""
    return expression.replace("$__rate_interval", "20s").replace("$__interval", "5s")


def panel_holds(panel, expression, wanted):
    """Whether there is a value for every architecture; a panel that shows one only is asked for each of them."""
    title = panel["title"]
    expression = filled(expression)
    values = largest(query(expression.replace("$architecture", ".+")), title, wanted)
    if "" in values and "$architecture" in expression:
        values = {name: largest(query(expression.replace("$architecture", name)), title, wanted).get("") for name in wanted}
    elif "" in values:
        wanted = {""}
    missing = {name for name in wanted if values.get(name) is None}
    zero = {name for name in wanted - missing if values[name] == 0}
    assert not missing or title in MAY_BE_EMPTY, f"{title}: nothing of {sorted(missing)}"
    assert not zero or title in MAY_BE_EMPTY | MAY_BE_ZERO, f"{title}: zero for {sorted(zero)}"
    return True


def largest(found, title, of):
    """The largest value of each of these servers, of "" if the query does not tell them apart."""
    values = {}
    for metric, value in found:
        name = metric.get("architecture", "")
        if name and name not in of:
            continue
        assert math.isfinite(value), f"{title}: {metric} is {value}"
        values[name] = max(values.get(name, 0), value)
    return values


def traces(stack):
    """With many exchanges sampled, a question of the swarm's and its answer meet in one trace, for every architecture."""
    host = otlp_sink.address()
    if host is None:
        return "skipped: this machine has no address that containers can reach"
    sink = otlp_sink.Sink(host)
    for name in stack.servers:
        assert stack.change(name, "/api/v1/config", "PATCH", {"trace_one_in": 16}, If_Match="*")[0] == 200
    assert ask(SWARM + "/api/v1/plan", "PATCH", {"trace_one_in": 16}, {**stack.auth, "If-Match": "*"})[0] == 200
    wanted = {f"zen-{server['architecture']}" for server in stack.servers.values() if not server["echo"]}
    joined = wait_for("a trace of both ends", lambda: (lambda found: found if found >= wanted else None)(sink.joined()))
    return f"{len(joined)} architectures in one trace with the swarm"


def main():
    stack = Stack()
    failed = []
    checks = (all_answer, targets, thousand, settings, lifecycle, traces, scenario, live_plan, every_panel, rules)
    for check in [check for check in checks if check.__name__ in sys.argv[1:] or not sys.argv[1:]]:
        began = time.monotonic()
        try:
            print(f"ok      {check.__name__}: {check(stack)} ({time.monotonic() - began:.0f} s)", flush=True)
        except (AssertionError, WrongAnswer, OSError, subprocess.CalledProcessError, LookupError, StopIteration, TypeError, ValueError) as error:
            failed.append(check.__name__)
            print(f"FAILED  {check.__name__}: {error} {getattr(error, 'stderr', '')}", flush=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


main()
