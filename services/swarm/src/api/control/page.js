// The control page. What the API tells is written as text only; nothing of it becomes markup.

const $ = (id) => document.getElementById(id);
const LOOK = 2000;

const state = { plan: null, tag: null, kinds: [], dirty: false, scenarios: [], following: null };

/** An element with properties and children; strings become text. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function say(text, isBad = false) {
  $("message").hidden = !text;
  $("message").textContent = text;
  $("message").classList.toggle("bad", isBad);
}

/** Asks the admin API; an error is the sentence that it says. */
async function ask(path, method = "GET", body = null, more = {}) {
  const headers = { ...more };
  if (body !== null) headers["content-type"] = "application/json";
  if (method !== "GET" && $("token").value) headers.authorization = `Bearer ${$("token").value.trim()}`;
  const answer = await fetch(path, { method, headers, body: body === null ? null : JSON.stringify(body) });
  const document = await answer.json().catch(() => ({}));
  if (answer.ok) return { document, tag: answer.headers.get("etag") };
  const hint = answer.status === 401 ? " Put the token in the field above." : "";
  throw new Error(`${document.detail ?? answer.statusText}${hint}`);
}

/** Does something that may be refused, and says so. */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  }
}

const figure = (value, digits = 0) => value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });
const names = (text) => text.split(",").map((name) => name.trim()).filter(Boolean);

/** Microseconds with a unit that fits. */
function time(us) {
  if (us == null) return "–";
  if (us < 1000) return `${figure(us)} µs`;
  return us < 1e6 ? `${figure(us / 1e3, us < 1e4 ? 1 : 0)} ms` : `${figure(us / 1e6, 1)} s`;
}

/** Questions that got no right answer, but for those that clients break off themselves. */
function failed(seen) {
  const bad = Object.entries(seen.outcomes).filter(([outcome]) => outcome !== "ok" && outcome !== "aborted");
  return bad.reduce((sum, [, count]) => sum + count, seen.unsent + seen.dropped);
}

function table(element, heads, rows) {
  const head = make("tr", {}, ...heads.map(([text, className]) => make("th", { textContent: text, className: className ?? "" })));
  element.replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

function row(name, cells, className = "") {
  const cell = (content) => content instanceof Node ? make("td", {}, content) : make("td", { textContent: content });
  return make("tr", { className }, make("th", { textContent: name, scope: "row" }), ...cells.map(cell));
}

function bar(value, most) {
  const fill = make("div", { className: "fill" });
  fill.style.width = `${most > 0 ? Math.min(100, (100 * (value ?? 0)) / most) : 0}%`;
  return make("td", { className: "bar" }, make("div", { className: "track" }, fill));
}

// ---- targets

/** One entry for each target; of its percentiles the worst. */
function together(all) {
  const worst = (one, other) => one == null ? other : other == null ? one : Math.max(one, other);
  const targets = new Map();
  for (const seen of all) {
    const sum = targets.get(seen.target);
    if (!sum) {
      targets.set(seen.target, { ...seen, failed: failed(seen) });
      continue;
    }
    sum.transport += ` ${seen.transport}`;
    sum.target_rate += seen.target_rate;
    sum.rate = sum.rate == null && seen.rate == null ? null : (sum.rate ?? 0) + (seen.rate ?? 0);
    sum.failed += failed(seen);
    sum.connections += seen.connections;
    sum.p50_us = worst(sum.p50_us, seen.p50_us);
    sum.p99_us = worst(sum.p99_us, seen.p99_us);
  }
  return [...targets.values()];
}

function showTargets(status) {
  const all = $("each").checked ? status.targets.map((seen) => ({ ...seen, failed: failed(seen) })) : together(status.targets);
  const most = Math.max(0, ...all.map((seen) => Math.max(seen.rate ?? 0, seen.target_rate)));
  const rows = all.map((seen) => {
    const cells = [figure(seen.target_rate), figure(seen.rate)];
    const line = row(seen.target, cells, status.spotlight.includes(seen.target) ? "lit" : "");
    const rest = [time(seen.p50_us), time(seen.p99_us), figure(seen.failed), figure(seen.connections)];
    line.append(bar(seen.rate, most), ...rest.map((text) => make("td", { textContent: text })));
    line.insertBefore(make("td", { textContent: seen.transport, className: "left quiet" }), line.children[1]);
    if (seen.failed > 0) line.children[7].className = "bad";
    return line;
  });
  const heads = [["target"], ["over", "left"], ["asked /s"], ["right /s"], [""], ["p50"], ["p99"], ["failed"], ["connections"]];
  table($("targets"), heads, rows);
}

function showStatus(status) {
  const word = status.fault ? "failed" : status.paused ? "paused" : status.saturated ? "saturated" : "asking";
  $("state").textContent = word;
  $("state").classList.toggle("bad", Boolean(status.fault || status.saturated));
  if (status.fault) say(status.fault, true);
  $("lit").textContent = status.run ? `run ${status.run} is on` : status.spotlight.length ? `spotlight: ${status.spotlight.join(", ")}` : "";
  $("pause").textContent = status.paused ? "Resume" : "Pause";
  const left = status.plan_reverts_in_seconds;
  $("reverts").textContent = left == null ? "" : `the plan of before comes back in ${figure(left)} s`;
  showTargets(status);
  if (status.run && state.following !== status.run) follow(status.run);
}

// ---- plan

function showPlan(plan) {
  const form = $("plan").elements;
  form.steady_rate.value = plan.steady_rate;
  for (const member of ["mode", "rate", "idle"]) form[member].value = plan.spotlight[member];
  form.targets.value = plan.spotlight.targets.join(", ");
  $("population").replaceChildren(...state.kinds.map((kind) => {
    const weight = plan.spotlight.population[kind] ?? 0;
    const input = make("input", { name: `kind-${kind}`, type: "number", min: 0, max: 1000, step: 1, value: weight });
    return make("label", { className: weight > 0 ? "some" : "" }, kind.replace("_", " "), input);
  }));
}

async function loadPlan() {
  const { document: plan, tag } = await ask("/api/v1/plan");
  if (state.dirty || tag === state.tag) return;
  state.plan = plan;
  state.tag = tag;
  state.kinds = Object.keys(plan.spotlight.population);
  showPlan(plan);
}

async function applyPlan() {
  const form = $("plan").elements;
  const population = Object.fromEntries(state.kinds.map((kind) => [kind, Number(form[`kind-${kind}`].value)]));
  const spotlight = { mode: form.mode.value, rate: Number(form.rate.value), idle: Number(form.idle.value), targets: names(form.targets.value), population };
  const ttl = form.ttl.value.trim();
  const path = `/api/v1/plan${ttl ? `?ttl=${encodeURIComponent(ttl)}` : ""}`;
  await ask(path, "PATCH", { steady_rate: Number(form.steady_rate.value), spotlight }, { "if-match": state.tag });
  state.dirty = false;
  say(ttl ? `The plan holds for ${ttl}.` : "The plan holds.");
  await loadPlan();
}

// ---- runs

function showScenario() {
  const scenario = state.scenarios.find((one) => one.name === $("scenario").value);
  if (!scenario) return;
  $("summary").textContent = scenario.summary;
  $("expectation").textContent = `Expected: ${scenario.expectation}`;
  $("run-rate").placeholder = scenario.stages ? scenario.stages : figure(scenario.rate);
  $("run-seconds").placeholder = figure(scenario.seconds);
  $("run-targets").placeholder = scenario.targets.join(", ") || "everybody";
}

async function startRun() {
  const body = { scenario: $("scenario").value };
  if ($("run-rate").value) body.rate = Number($("run-rate").value);
  if ($("run-seconds").value) body.duration_seconds = Number($("run-seconds").value);
  if ($("run-targets").value.trim()) body.targets = names($("run-targets").value);
  const { document: run } = await ask("/api/v1/runs", "POST", body);
  say("");
  follow(run.id);
}

function showRun(run) {
  $("start").hidden = true;
  $("active").hidden = false;
  $("run-name").textContent = `${run.scenario} (run ${run.id})`;
  $("run-time").textContent = `${run.state}, ${figure(run.elapsed_seconds, 1)} of ${figure(run.duration_seconds, 1)} s`;
  $("run-expectation").textContent = `Expected: ${run.expectation}`;
  $("progress").value = run.progress;
  $("cancel").disabled = run.state !== "running";
  const right = (seen) => seen.planned ? `${figure((100 * seen.outcomes.ok) / seen.planned, 1)} %` : "–";
  const rows = run.targets.map((seen) => row(seen.target, [right(seen), figure(seen.rate), time(seen.p50_us), time(seen.p99_us), figure(failed(seen))]));
  table($("run-seen"), [["target"], ["right"], ["right /s"], ["p50"], ["p99"], ["failed"]], rows);
}

/** Shows a run as it goes on. */
function follow(id) {
  state.following = id;
  const events = new EventSource(`/api/v1/runs/${encodeURIComponent(id)}/events`);
  const end = () => {
    events.close();
    state.following = null;
    $("active").hidden = true;
    $("start").hidden = false;
    attempt(loadRuns);
  };
  events.addEventListener("progress", (event) => showRun(JSON.parse(event.data)));
  events.addEventListener("ended", (event) => {
    const run = JSON.parse(event.data);
    showRun(run);
    end();
  });
  events.addEventListener("error", end);
  $("cancel").onclick = () => attempt(() => ask(`/api/v1/runs/${encodeURIComponent(id)}/cancel`, "POST"));
}

function verdict(run) {
  if (run.state !== "ended") return make("span", { textContent: run.state, className: "quiet" });
  if (run.as_expected == null) return make("span", { textContent: run.ended });
  return make("span", run.as_expected ? { textContent: "as expected", className: "good" } : { textContent: "not as expected", className: "bad" });
}

async function loadRuns() {
  const { document: runs } = await ask("/api/v1/runs");
  const rows = runs.slice(0, 8).map((run) => {
    const began = new Date(run.started_unix_seconds * 1000).toLocaleTimeString("en-GB");
    const link = run.report ? make("a", { href: run.report, target: "_blank", rel: "noopener", textContent: "report" }) : "";
    return row(`${run.id} ${run.scenario}`, [began, `${figure(run.elapsed_seconds)} s`, verdict(run), link]);
  });
  table($("runs"), rows.length ? [["run"], ["began"], ["took"], [""], [""]] : [], rows);
}

// ---- all of it

async function look() {
  try {
    showStatus((await ask("/api/v1/status")).document);
    await loadPlan();
  } catch (error) {
    $("state").textContent = "not reachable";
    $("state").classList.add("bad");
  }
}

async function begin() {
  const { document: scenarios } = await ask("/api/v1/scenarios");
  state.scenarios = scenarios;
  $("scenario").replaceChildren(...scenarios.map((one) => make("option", { textContent: one.name })));
  showScenario();
  const { document: status } = await ask("/api/v1/status");
  const known = [...new Set(status.targets.map((seen) => seen.target))];
  $("names").replaceChildren(...known.map((name) => make("option", { value: name })));
  await look();
  await loadRuns();
}

function submit(id, work) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(work);
  });
}

$("scenario").addEventListener("change", showScenario);
$("plan").addEventListener("input", () => { state.dirty = true; });
$("each").addEventListener("change", look);
$("pause").addEventListener("click", () => attempt(async () => {
  await ask($("pause").textContent === "Pause" ? "/api/v1/pause" : "/api/v1/resume", "POST");
  await look();
}));
submit("start", startRun);
submit("plan", applyPlan);
$("token").value = sessionStorage.getItem("token") ?? "";
$("token").addEventListener("change", () => sessionStorage.setItem("token", $("token").value));
await attempt(begin);
setInterval(look, LOOK);
