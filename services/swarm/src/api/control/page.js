// The control page. What the API tells is written as text only; nothing of it becomes markup.

const $ = (id) => document.getElementById(id);
const LOOK = 2000;

// `edited` has the fields of the plan that stand otherwise here than at the swarm; `targets` the transports of each target.
const state = { isKnown: false, plan: null, tag: null, edited: new Set(), scenarios: [], targets: new Map(), following: null };

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

const gone = () => new Error("The swarm does not answer. When it is started again, this page goes on.");

function noToken() {
  const isGiven = Boolean($("token").value.trim());
  $("token").focus();
  return isGiven ? "The token above is not the right one." : "A change needs the token: put it into the field above. `zenlab token --show` says it.";
}

/** Asks the admin API; an error is the sentence that it says. */
async function ask(path, method = "GET", body = null, more = {}) {
  const headers = new Headers(more);
  if (body !== null) headers.set("content-type", "application/json");
  if (method !== "GET" && $("token").value) headers.set("authorization", `Bearer ${$("token").value.trim()}`);
  const request = { method, headers, body: body === null ? null : JSON.stringify(body) };
  const answer = await fetch(path, request).catch(() => Promise.reject(gone()));
  const document = await answer.json().catch(() => ({}));
  if (answer.ok) return { document, tag: answer.headers.get("etag") };
  const told = answer.status === 401 ? noToken() : document.detail ?? answer.statusText;
  throw Object.assign(new Error(told), { status: answer.status });
}

/** Does something that may be refused, and says so. */
async function attempt(work) {
  say("");
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
    if (seen.rate === 0 && seen.target_rate > 0 && !status.paused) line.children[3].className = "bad";
    return line;
  });
  const heads = [["target"], ["over", "left"], ["asked /s"], ["right /s"], ["", "bar"], ["p50"], ["p99"], ["failed"], ["connections"]];
  $("targets").classList.toggle("each", $("each").checked);
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

const field = (name) => $("plan").elements[name];

/** What the plan has in each field of the form. */
function fields(plan) {
  const { mode, rate, idle, targets, population } = plan.spotlight;
  const weights = Object.entries(population).map(([kind, weight]) => [`kind-${kind}`, String(weight)]);
  const rest = { steady_rate: String(plan.steady_rate), mode, rate: String(rate), idle: String(idle), targets: targets.join(", ") };
  return { ...rest, ...Object.fromEntries(weights) };
}

/** The fields that have been edited, as a change of the plan. */
function changes() {
  const [patch, spotlight, population] = [{}, {}, {}];
  for (const name of state.edited) {
    const { value } = field(name);
    if (name === "steady_rate") patch.steady_rate = Number(value);
    else if (name.startsWith("kind-")) population[name.slice("kind-".length)] = Number(value);
    else spotlight[name] = name === "mode" ? value : name === "targets" ? names(value) : Number(value);
  }
  return { ...patch, spotlight: { ...spotlight, population } };
}

/** Shows the plan, but for what is being edited. */
function showPlan() {
  const kinds = Object.keys(state.plan.spotlight.population);
  if ($("population").childElementCount !== kinds.length) {
    $("population").replaceChildren(...kinds.map((kind) => {
      const input = make("input", { name: `kind-${kind}`, type: "number", min: 0, max: 1000, step: 1, required: true });
      return make("label", {}, kind.replace("_", " "), input);
    }));
  }
  for (const [name, value] of Object.entries(fields(state.plan))) {
    if (!state.edited.has(name)) field(name).value = value;
  }
  showEdited();
}

function showEdited() {
  for (const input of $("plan").elements) {
    input.classList.toggle("edited", state.edited.has(input.name));
    if (input.name.startsWith("kind-")) input.parentElement.classList.toggle("some", Number(input.value) > 0);
  }
  $("discard").hidden = state.edited.size === 0;
}

function edit({ target }) {
  if (!$("message").classList.contains("bad")) say("");
  const present = fields(state.plan)[target.name];
  if (present === undefined) return;
  if (target.value === present) state.edited.delete(target.name);
  else state.edited.add(target.name);
  showEdited();
}

/** Takes over the present plan, and says if somebody else has changed what is being edited here. */
async function loadPlan() {
  const { document: plan, tag } = await ask("/api/v1/plan");
  if (tag === state.tag) return;
  const [before, now] = [state.plan ? fields(state.plan) : {}, fields(plan)];
  [state.plan, state.tag] = [plan, tag];
  const both = [...state.edited].filter((name) => before[name] !== now[name]);
  state.edited = new Set([...state.edited].filter((name) => field(name).value !== now[name]));
  showPlan();
  const told = both.filter((name) => state.edited.has(name)).map((name) => `${name} is ${now[name] || "empty"} now`);
  if (told.length) say(`The plan has been changed elsewhere: ${told.join(", ")}. Apply puts yours in its place, Discard takes it.`, true);
}

async function applyPlan() {
  if (state.edited.size === 0) return say("The plan is as it stands here.");
  const ttl = field("ttl").value.trim();
  const path = `/api/v1/plan${ttl ? `?ttl=${encodeURIComponent(ttl)}` : ""}`;
  try {
    await ask(path, "PATCH", changes(), { "if-match": state.tag });
  } catch (error) {
    if (error.status !== 412) throw error;
    say("The plan has been changed elsewhere; what you have not edited is shown as it is now. Apply again to change yours as well.", true);
    return loadPlan();
  }
  state.edited.clear();
  field("ttl").value = "";
  say(ttl ? `The plan holds for ${ttl}.` : "The plan holds.");
  return look();
}

function discard() {
  state.edited.clear();
  showPlan();
}

// ---- runs

const chosen = () => state.scenarios.find((one) => one.name === $("scenario").value);

/** Those of a scenario's targets that this swarm has, and those that it has not. */
function partition({ targets, transport }) {
  const isHere = (name) => state.targets.get(name)?.includes(transport) ?? false;
  return [targets.filter(isHere), targets.filter((name) => !isHere(name))];
}

function showScenario() {
  const scenario = chosen();
  if (!scenario) return;
  const [here, missing] = partition(scenario);
  $("summary").textContent = scenario.summary;
  $("expectation").textContent = `Expected: ${scenario.expectation}`;
  $("missing").textContent = missing.length ? `Not in this swarm: ${missing.join(", ")}.` : "";
  $("run-rate").placeholder = scenario.stages ? "in stages" : figure(scenario.rate);
  $("run-rate").disabled = Boolean(scenario.stages);
  $("run-seconds").placeholder = figure(scenario.seconds);
  $("run-targets").placeholder = here.join(", ") || (missing.length ? "none of its own is here" : "everybody");
}

async function startRun() {
  const scenario = chosen();
  const [here, missing] = partition(scenario);
  const body = { scenario: scenario.name };
  if (!scenario.stages && $("run-rate").value) body.rate = Number($("run-rate").value);
  if ($("run-seconds").value) body.duration_seconds = Number($("run-seconds").value);
  if ($("run-targets").value.trim()) body.targets = names($("run-targets").value);
  else if (here.length && missing.length) body.targets = here;
  const { document: run } = await ask("/api/v1/runs", "POST", body);
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
  if (state.following === id) return;
  state.following = id;
  const events = new EventSource(`/api/v1/runs/${encodeURIComponent(id)}/events`);
  const end = () => {
    events.close();
    state.following = null;
    $("active").hidden = true;
    $("start").hidden = false;
    // If the swarm has gone, the next look says so.
    loadRuns().catch(() => {});
  };
  events.addEventListener("progress", (event) => showRun(JSON.parse(event.data)));
  events.addEventListener("ended", end);
  events.addEventListener("error", end);
  $("cancel").onclick = () => attempt(() => ask(`/api/v1/runs/${encodeURIComponent(id)}/cancel`, "POST"));
}

function verdict(run) {
  const word = (textContent, className = "", title = "") => make("span", { textContent, className, title });
  if (run.state !== "ended") return word(run.state, "quiet");
  if (run.ended !== "finished") return word(run.ended, "quiet");
  if (run.validity.verdict !== "valid") return word(run.validity.verdict, "bad", run.validity.reasons.join(" "));
  if (run.as_expected == null) return word(run.ended);
  return run.as_expected ? word("as expected", "good") : word("not as expected", "bad");
}

function finding({ expected, found, holds }) {
  const words = `${expected}: ${found == null ? "nothing is known" : figure(found, 2)}`;
  return make("li", { textContent: `${holds ? "✓" : "✗"} ${words}`, className: holds ? "good" : "bad" });
}

async function loadRuns() {
  const { document: runs } = await ask("/api/v1/runs");
  const rows = runs.slice(0, 8).map((run) => {
    const began = new Date(run.started_unix_seconds * 1000).toLocaleTimeString("en-GB");
    const link = run.report ? make("a", { href: run.report, target: "_blank", rel: "noopener", textContent: "report" }) : "";
    return row(`${run.id} ${run.scenario}`, [began, `${figure(run.elapsed_seconds)} s`, verdict(run), link]);
  });
  table($("runs"), rows.length ? [["run"], ["began"], ["took"], [""], [""]] : [], rows);
  $("findings").replaceChildren(...(runs[0]?.expectations ?? []).map(finding));
}

// ---- all of it

async function look() {
  try {
    if (!state.isKnown) await begin();
    showStatus((await ask("/api/v1/status")).document);
    await loadPlan();
  } catch (error) {
    state.isKnown = false;
    $("state").textContent = "not reachable";
    $("state").classList.add("bad");
    $("lit").textContent = "";
    say(error.message, true);
  }
  document.body.classList.toggle("gone", !state.isKnown);
}

/** Gets to know a swarm: the first one, or the next after it has gone. */
async function begin() {
  const { document: scenarios } = await ask("/api/v1/scenarios");
  const { document: status } = await ask("/api/v1/status");
  await loadRuns();
  const before = $("scenario").value;
  Object.assign(state, { scenarios, tag: null, targets: new Map() });
  for (const { target, transport } of status.targets) state.targets.set(target, [...(state.targets.get(target) ?? []), transport]);
  $("names").replaceChildren(...[...state.targets.keys()].map((name) => make("option", { value: name })));
  $("scenario").replaceChildren(...scenarios.map(({ name }) => make("option", { textContent: name, selected: name === before })));
  showScenario();
  state.isKnown = true;
  say("");
}

function submit(id, work) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(work);
  });
}

$("scenario").addEventListener("change", showScenario);
$("plan").addEventListener("input", edit);
$("discard").addEventListener("click", () => attempt(discard));
// What was said of the last attempt is not said of a field that the browser itself finds wrong.
addEventListener("invalid", () => say(""), true);
$("each").addEventListener("change", look);
$("pause").addEventListener("click", () => attempt(async () => {
  await ask($("pause").textContent === "Pause" ? "/api/v1/pause" : "/api/v1/resume", "POST");
  await look();
}));
submit("start", startRun);
submit("plan", applyPlan);
$("token").value = sessionStorage.getItem("token") ?? "";
$("token").addEventListener("change", () => sessionStorage.setItem("token", $("token").value));
await look();
setInterval(look, LOOK);
