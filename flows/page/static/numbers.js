// Numbers of a run, beside another one where it is chosen; its curves; its failures.

import { ask, at, count, make, questions, remains, say, state, unseen } from "/base.js";

const readings = questions();
const DIRECTIONS = { t2v: "text to video", v2t: "video to text" };

export async function failures() {
  const last = readings();
  at("failed").replaceChildren();
  say("failures-said", "Reading …");
  try {
    const found = await ask("/api/failures");
    if (!last()) return;
    const { planned, ok, salvaged, quarantined, pending } = found.counts;
    const more = found.total > found.rows.length ? ` The first ${found.rows.length} are shown.` : "";
    say("failures-said", `Of ${count(planned, "video")}: ${ok.toLocaleString("en")} ok, ${salvaged} salvaged, ${quarantined} quarantined, ${pending} pending.${more}`);
    if (!found.total) at("failed").append(make("p", { class: "good" }, "Every video could be used: none failed."));
    at("failed").append(...found.rows.map((row) => make("article", { class: "failure" },
      row.seen ? remains(row) : unseen(),
      make("div", {},
        make("div", {}, make("b", {}, row.video_id), " ",
          make("span", { class: `pill ${row.status === "salvaged" ? "near" : "miss"}` }, row.status)),
        make("p", {}, [row.reason, row.message].filter(Boolean).join(": ")),
        make("p", { class: "faint" }, `${row.path} · decided at ${row.stage}`)))));
  } catch (error) {
    if (last()) say("failures-said", error.message, true);
  }
}

function table(rows) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = (tag, row) => columns.map((name) =>
    make(tag, { class: name ? "number" : "" }, row === null ? name : shown(row[name])));
  return make("div", { class: "table" }, make("table", {},
    make("thead", {}, make("tr", {}, ...cells("th", null))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells("td", row))))));
}

function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(1).replace("-", "−");
  return String(value);
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;

const UNITS = { MdR: "MdR, rank", MnR: "MnR, rank" };
const named = (metric) => UNITS[metric] || (/^R|^mAP|^mIoU/.test(metric) ? `${metric}, %` : metric.replace(/ s$/, ", s"));
const digit = (value) => (value === null ? "–" : value.toFixed(1).replace("-", "−"));
const interval = (row) => (row.low === null ? "–" : `${row.low.toFixed(1)} – ${row.high.toFixed(1)}`);

/** Rows by a first column of names: what a phone is wide enough for. */
export function about() {
  const run = state.about;
  const numbers = at("numbers");
  say("about-said", `${run.model}, ${count(run.videos, "video")}, run ${run.name} (${run.identifier}).`);
  numbers.replaceChildren();
  if (state.against) {
    const beside = make("section");
    numbers.append(beside);
    compared(beside);
  }
  const panels = make("div", { class: "panels" });
  numbers.append(panels);
  const scored = scores(run);
  panels.append(panel("What the tables scored", scored.length ? table(scored)
    : make("p", { class: "said" }, "This run is not scored: it has no captions, or `reelvec evaluate` was not run.")));
  if (run.moments.length) {
    panels.append(panel("What windows scored", table(run.moments.map((row) => ({
      "": named(row.metric), value: digit(row.value), "95 % interval": interval(row), queries: row.n })))));
  }
  if (run.coverage.length) {
    const names = ["planned", "ok", "salvaged", "quarantined", "captions", "captions_scored"];
    panels.append(panel("What they cover", table(names.map((name) => ({
      "": name.startsWith("captions") ? name.replace("_", " ") : `videos ${name}`,
      ...Object.fromEntries(run.coverage.map((row) => [row.split || "every split", row[name]])),
    })))));
  }
  panels.append(panel("What became of every video",
    table(Object.entries(run.counts).map(([name, value]) => ({ "": name, videos: value })))));
  const drawn = make("div", { class: "charts" });
  numbers.append(drawn);
  curves(drawn);
}

const panel = (name, shown) => make("section", {}, make("h2", {}, name), shown);

/** A row a metric, a column a direction. */
function scores(run) {
  const scored = new Map();
  for (const row of run.metrics) {
    const plain = row.protocol === "single" || row.protocol === "multi";
    const of = [DIRECTIONS[row.direction] || row.direction, plain ? "" : row.protocol, row.subset].filter(Boolean).join(", ");
    const put = (name, value) => scored.set(name, { ...(scored.get(name) || { "": name }), [of]: value });
    put(named(row.metric), digit(row.value));
    if (row.metric === "R@1" && row.low !== null) put("R@1, 95 % interval", interval(row));
    if (row.published !== null) put(`${named(row.metric)}, published`, digit(row.published));
    put("queries", row.n);
  }
  const queries = scored.get("queries");
  if (scored.delete("queries")) scored.set("queries", queries);
  return [...scored.values()];
}

/** The chosen run less the other one, over the queries both have. */
async function compared(to) {
  const name = at("against").selectedOptions[0].text;
  to.append(make("h2", {}, `Compared with ${name}`));
  try {
    const found = await ask("/api/compare", { against: state.against });
    if (!found.metrics.length) {
      to.append(make("p", {}, "No query is scored in both."));
      return;
    }
    to.append(table(found.metrics.map((row) => ({
      "": `${row.metric} ${row.direction}, %`, there: digit(row.old), here: digit(row.new),
      difference: signed(row.new - row.old), "95 % interval": `${signed(row.low)} to ${signed(row.high)}`,
    }))));
    for (const [direction, change] of Object.entries(found.changes)) {
      to.append(make("p", { class: "faint" },
        `${DIRECTIONS[direction]}: of the queries both have ${change.rose} rose, ${change.fell} fell, ${change.same} stayed. `,
        make("a", { href: `/?${new URLSearchParams({ ...(state.run ? { run: state.run } : {}), against: state.against, view: "queries" })}` },
          "Look at them")));
    }
  } catch (error) {
    to.append(make("p", { class: "said bad" }, error.message));
  }
}

async function curves(to) {
  try {
    const found = await ask("/api/curves");
    const recall = Object.entries(found.recall).filter(([, points]) => points.length > 1)
      .map(([name, points]) => ({ name: DIRECTIONS[name], points }));
    if (recall.length) to.append(chart("Found among the first k, %", "k", recall, { low: 0, high: 100 }));
    if (found.loss.length > 1) to.append(chart("Training loss", "step", [{ name: "loss", points: found.loss }]));
    if (found.selection.length > 1) {
      to.append(chart("R@1 of the selection split, %", "epoch", [{ name: "R@1", points: found.selection }]));
    }
    if (to.children.length) to.before(make("h2", {}, "Curves"));
  } catch (error) {
    to.append(make("p", { class: "said bad" }, error.message));
  }
}

const WIDTH = 520, HEIGHT = 260, LEFT = 46, RIGHT = 12, TOP = 10, BOTTOM = 36;

function draw(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

/** Lines over a common axis; the names stand in the caption. */
function chart(title, label, lines, { low, high } = {}) {
  const all = lines.flatMap((line) => line.points);
  const xs = all.map(([x]) => x), ys = all.map(([, y]) => y);
  const bounds = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const [left, right] = bounds(xs);
  const [bottom, top] = low === undefined ? bounds(ys) : [low, high];
  const x = (v) => LEFT + (v - left) / (right - left || 1) * (WIDTH - LEFT - RIGHT);
  const y = (v) => HEIGHT - BOTTOM - (v - bottom) / (top - bottom || 1) * (HEIGHT - TOP - BOTTOM);
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  const short = (v) => (Number.isInteger(v) ? v : Number(v.toPrecision(3))).toLocaleString("en");
  const whole = xs.every(Number.isInteger), steps = whole ? Math.max(1, Math.min(4, right - left)) : 4;
  for (let n = 0; n <= 4; n++) {
    const up = bottom + (top - bottom) * n / 4;
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(up), y2: y(up) }));
    svg.append(draw("text", { x: LEFT - 7, y: y(up) + 4, "text-anchor": "end" }, short(up)));
  }
  for (let n = 0; n <= steps; n++) {
    const exact = left + (right - left) * n / steps, across = whole ? Math.round(exact) : exact;
    const anchor = n === 0 ? "start" : n === steps ? "end" : "middle";
    svg.append(draw("text", { x: x(across), y: HEIGHT - BOTTOM + 16, "text-anchor": anchor }, short(across)));
  }
  svg.append(draw("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, label));
  lines.forEach((line, place) => svg.append(draw("polyline", {
    class: `line l${place}`, points: line.points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" "),
  })));
  const names = lines.length > 1 ? lines.map((line, place) => make("span", { class: `key l${place}` }, line.name)) : [];
  return make("figure", { class: "chart" }, make("figcaption", {}, make("b", {}, title), ...names), svg);
}
