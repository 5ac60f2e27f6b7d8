// The page of a store. It only reads; what it shows of the store is always text, never markup.

const VIEWS = ["search", "queries", "failures", "about"];
const PAGE = 20;
const WARM = 3;
const hovers = matchMedia("(hover: hover)").matches; // else controls are always shown
const at = (id) => document.getElementById(id);
const state = { run: "", view: "search", about: null, of: "", asked: 0, sifted: 0, warm: [] };

/** A document of the server, or an Error in its words. */
async function ask(address, wanted = {}) {
  const query = new URLSearchParams({ ...(state.run ? { run: state.run } : {}), ...wanted });
  let answer;
  try {
    answer = await fetch(`${address}?${query}`);
  } catch {
    throw new Error("The page's server does not answer; is `reelvec serve` still running?");
  }
  const text = await answer.text();
  let document = null;
  try { document = JSON.parse(text); } catch { /* words, not a document */ }
  if (!answer.ok) throw new Error(document?.error || text || answer.statusText);
  if (document.state) state.of = document.state; // of the tables: its media are of the same
  return document;
}

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function say(id, words, bad = false) {
  at(id).textContent = words;
  at(id).classList.toggle("bad", bad);
}

const media = (kind, id, more = {}) =>
  `/media/${kind}?${new URLSearchParams({ id, state: state.of, ...(state.run ? { run: state.run } : {}), ...more })}`;

const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

function seconds(value) {
  if (value < 60) return `${value.toFixed(1)} s`;
  const minutes = Math.floor(value / 60);
  return `${minutes}:${String(Math.floor(value % 60)).padStart(2, "0")}`;
}

/** Stored frames of a video, side by side; words where there are none. */
function strip(video, frames) {
  const picture = make("img", {
    src: media("strip", video.video_id, { count: frames }), alt: `Frames of ${video.video_id}`,
    loading: "lazy", decoding: "async",
  });
  picture.addEventListener("error", () => picture.replaceWith("No frames are stored."));
  return picture;
}

/** A clip that was played holds a connection, of which a browser has six: the oldest gives it back. */
function warm(clip) {
  state.warm = [...state.warm.filter((one) => one !== clip && one.isConnected), clip];
  if (state.warm.length > WARM) state.warm.shift().load();
}

/** The clip where a browser can play it, else its stored frames. */
function screen(video, { small = false } = {}) {
  if (!video.plays || small) return strip(video, small ? 1 : 3);
  const window = video.end ? `#t=${video.start},${video.end}` : "";
  const clip = make("video", {
    src: media("clip", video.video_id) + window, controls: !hovers, muted: true, loop: true,
    playsInline: true, preload: hovers ? "none" : "metadata", ariaLabel: `Clip ${video.video_id}`,
    poster: media("strip", video.video_id, { count: 1 }),
  });
  clip.addEventListener("error", () => clip.replaceWith(strip(video, 3)));
  clip.tabIndex = 0;
  for (const begin of ["mouseenter", "focus"]) {
    clip.addEventListener(begin, () => { clip.controls = true; clip.play().catch(() => {}); warm(clip); });
  }
  for (const end of ["mouseleave", "blur"]) {
    clip.addEventListener(end, () => { clip.controls = !hovers; clip.pause(); });
  }
  return clip;
}

/** One video: what it looks like, its place and score, and a way to others like it. */
function card(video, { rank = null, score = null, unit = "", small = false, right = false }) {
  const made = at("card").content.firstElementChild.cloneNode(true);
  const part = (name) => made.querySelector(`.${name}`);
  made.classList.toggle("true", right);
  made.dataset.video = video.video_id;
  part("screen").append(screen(video, { small }));
  part("rank").textContent = rank === null ? "" : rank;
  part("name").textContent = video.video_id;
  part("name").title = video.path || "its file has left the corpus";
  part("score").textContent = score === null ? "" : `${unit} ${score.toFixed(3)}`.trim();
  part("where").textContent = [
    video.start || video.end && video.start ? `from ${seconds(video.start)}` : "",
    video.seconds ? seconds(video.seconds) : "", small ? "" : video.split,
  ].filter(Boolean).join(" · ");
  if (state.about?.similar) part("more-like").addEventListener("click", () => like(video.video_id));
  else part("more-like").remove();
  return made;
}

/** Search, by the words in the box or like a video, and show what is found. */
async function search({ likeId = "" } = {}) {
  const text = at("text").value.trim();
  const number = ++state.asked;
  at("like").hidden = !likeId;
  at("like").replaceChildren("Like ", make("b", {}, likeId), make("button", {
    type: "button", onclick: () => { at("like").hidden = true; remember(); search(); },
  }, "Back to words"));
  if (!text && !likeId) {
    at("answers").replaceChildren();
    at("notes").hidden = true;
    say("said", state.about ? `${count(state.about.videos, "video")} can be searched.` : "");
    return;
  }
  say("said", "Searching …");
  const split = at("split").value;
  try {
    const began = performance.now();
    const wanted = likeId ? { like: likeId } : { text };
    const found = await ask("/api/search", { ...wanted, ...(split ? { split } : {}) });
    if (number !== state.asked) return;
    const took = (performance.now() - began) / 1000;
    at("notes").hidden = !found.notes.length;
    at("notes").textContent = found.notes.join(" ");
    at("answers").replaceChildren(...found.rows.map((row) =>
      card(row, { rank: row.rank, score: row.score, unit: found.unit })));
    say("said", `${count(found.rows.length, "video")}, best first, by ${found.unit}, in ${took.toFixed(2)} s.`);
  } catch (error) {
    if (number !== state.asked) return;
    at("answers").replaceChildren();
    at("notes").hidden = true;
    say("said", error.message, true);
  }
}

function like(id) {
  show("search", { push: false });
  remember({ like: id });
  search({ likeId: id });
  scrollTo({ top: 0 });
}

/** The evaluation's queries that hold the words, from `offset` on. */
async function queries({ offset = 0 } = {}) {
  const number = ++state.sifted;
  const [direction, order, contains] = ["direction", "order", "holds"].map((id) => at(id).value);
  if (!offset) { at("ranked").replaceChildren(); say("queries-said", "Reading …"); }
  at("more").hidden = true;
  try {
    const found = await ask("/api/queries", { direction, order, contains, offset, limit: PAGE });
    if (number !== state.sifted) return;
    at("ranked").append(...found.rows.map((row) => ranked(row, direction)));
    const shown = at("ranked").children.length;
    const kind = direction === "t2v" ? "caption" : "video";
    say("queries-said", `${count(found.total, kind)} of the split ${state.about?.split || ""}, ${order} first.`);
    at("more").hidden = shown >= found.total;
    at("more").onclick = () => queries({ offset: shown });
  } catch (error) {
    if (number === state.sifted) say("queries-said", error.message, true);
  }
}

/** One query: its text, the rank of the right answer, and the videos that were found. */
function ranked(row, direction) {
  const kind = row.rank === null ? "miss" : row.rank <= 1 ? "hit" : row.rank <= 10 ? "near" : "miss";
  const rank = row.rank === null ? "no rank" : `right ${direction === "t2v" ? "video" : "caption"} at rank ${row.rank}`;
  const top = row.top_video_ids || [];
  const cards = top.map((id, place) => card(row.videos[id], {
    rank: place + 1, score: row.top_scores[place], small: true, right: id === row.video_id,
  }));
  if (!top.includes(row.video_id)) {
    cards.push(card(row.videos[row.video_id], {
      rank: direction === "t2v" ? row.rank : null, score: row.score ?? null, small: true, right: true,
    }));
  }
  return make("article", { class: "query" },
    make("div", { class: "ask" }, make("p", {}, row.text), make("span", { class: `pill ${kind}` }, rank)),
    make("div", { class: "grid small" }, ...cards));
}

async function failures() {
  at("failed").replaceChildren();
  say("failures-said", "Reading …");
  try {
    const found = await ask("/api/failures");
    const { planned, ok, salvaged, quarantined, pending } = found.counts;
    const more = found.total > found.rows.length ? ` The first ${found.rows.length} are shown.` : "";
    say("failures-said", `Of ${count(planned, "video")}: ${ok} ok, ${salvaged} salvaged, ${quarantined} quarantined, ${pending} pending.${more}`);
    at("failed").append(...found.rows.map((row) => make("article", { class: "failure" },
      row.status === "salvaged" ? strip(row, 1) : null,
      make("div", {},
        make("div", {}, make("b", {}, row.video_id), " ",
          make("span", { class: `pill ${row.status === "salvaged" ? "near" : "miss"}` }, row.status)),
        make("p", {}, [row.reason, row.message].filter(Boolean).join(": ")),
        make("p", { class: "faint" }, `${row.path} · decided at ${row.stage}`)))));
  } catch (error) {
    say("failures-said", error.message, true);
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
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(1);
  return String(value);
}

/** Rows by a first column of names: what a phone is wide enough for. */
function about() {
  const run = state.about;
  const numbers = at("numbers");
  say("about-said", `${run.model}, ${count(run.videos, "video")}, run ${run.name} (${run.identifier}).`);
  numbers.replaceChildren();
  const scored = new Map();
  for (const row of run.metrics) {
    const plain = row.protocol === "single" || row.protocol === "multi";
    const of = [row.direction, plain ? "" : row.protocol, row.subset].filter(Boolean).join(", ");
    const put = (name, value) => scored.set(name, { ...(scored.get(name) || { "": name }), [of]: value });
    put(row.metric, row.value);
    if (row.metric === "R@1" && row.low !== null) put("R@1, 95 %", `${row.low.toFixed(1)} – ${row.high.toFixed(1)}`);
    if (row.published !== null) put(`${row.metric}, published`, row.published);
    put("queries", row.n);
  }
  const queries = scored.get("queries");
  if (scored.delete("queries")) scored.set("queries", queries);
  numbers.append(make("h2", {}, "What the tables scored"));
  if (scored.size) numbers.append(table([...scored.values()]));
  else numbers.append(make("p", {}, "This run is not scored: it has no captions, or `reelvec evaluate` was not run."));
  if (run.coverage.length) {
    const names = ["planned", "ok", "salvaged", "quarantined", "captions", "captions_scored"];
    numbers.append(make("h2", {}, "What they cover"), table(names.map((name) => ({
      "": name.replace("_", " "),
      ...Object.fromEntries(run.coverage.map((row) => [row.split || "every split", row[name]])),
    }))));
  }
  numbers.append(make("h2", {}, "What became of every video"),
    table(Object.entries(run.counts).map(([name, value]) => ({ "": name, videos: value }))));
}

/** Keep what is looked at in the address, so that it can be gone back to. */
function remember({ like = "", push = true } = {}) {
  const query = new URLSearchParams();
  if (state.run) query.set("run", state.run);
  if (state.view !== "search") query.set("view", state.view);
  else if (like) query.set("like", like);
  else if (at("text").value.trim()) query.set("text", at("text").value.trim());
  if (at("split").value) query.set("split", at("split").value);
  const address = query.size ? `/?${query}` : "/";
  if (address === location.pathname + location.search) return;
  history[push ? "pushState" : "replaceState"](null, "", address);
}

function show(view, { push = true } = {}) {
  state.view = view;
  for (const name of VIEWS) at(name).hidden = name !== view;
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (push) remember();
  if (view === "queries") queries();
  if (view === "failures") failures();
  if (view === "about" && state.about) about();
}

/** What is known of the chosen run; the views follow. */
async function open({ split }) {
  try {
    state.about = await ask("/api/run");
  } catch (error) {
    state.about = null;
    show("search", { push: false });
    say("said", error.message, true);
    return false;
  }
  at("split").replaceChildren(make("option", { value: "" }, "all"),
    ...state.about.splits.filter(Boolean).map((name) => make("option", { value: name }, name)));
  at("split").value = state.about.splits.includes(split) ? split : "";
  document.title = `${state.about.name} – Reelvec`;
  return true;
}

async function follow() {
  const query = new URLSearchParams(location.search);
  state.run = query.get("run") || "";
  if (state.run) at("run").value = state.run;
  at("text").value = query.get("text") || "";
  show(VIEWS.includes(query.get("view")) ? query.get("view") : "search", { push: false });
  if (!(await open({ split: query.get("split") }))) return;
  show(state.view, { push: false }); // which may be another by now
  await search({ likeId: query.get("like") || "" });
}

async function start() {
  for (const button of document.querySelectorAll("nav button")) {
    button.addEventListener("click", () => show(button.dataset.view));
  }
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    remember();
    search();
  });
  at("split").addEventListener("change", () => {
    const likeId = at("like").hidden ? "" : new URLSearchParams(location.search).get("like") || "";
    remember({ like: likeId });
    search({ likeId });
  });
  at("sift").addEventListener("submit", (event) => { event.preventDefault(); queries(); });
  at("direction").addEventListener("change", () => queries());
  at("order").addEventListener("change", () => queries());
  let waiting = 0;
  at("holds").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => queries(), 250);
  });
  at("run").addEventListener("change", async () => {
    state.run = at("run").value;
    const view = state.view;
    if (!(await open({ split: at("split").value }))) return;
    remember();
    show(view, { push: false });
    await search();
  });
  addEventListener("popstate", follow);
  try {
    const { runs } = await ask("/api/store");
    at("run").replaceChildren(...runs.map((run) => make("option", { value: run.run },
      run.now ? run.name : `${run.name}, as of ${run.ended}`)));
  } catch (error) {
    show("search", { push: false });
    say("said", error.message, true);
    return;
  }
  await follow();
}

start();
