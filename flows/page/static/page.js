// The page of a store. It only reads; what it shows of the store is always text, never markup.

import { ask, at, card, count, make, questions, say, state } from "/base.js";
import { conditions, openFilters, readColumns, setConditions } from "/filters.js";
import { showMap, startMap } from "/map.js";
import { about, failures } from "/numbers.js";
import { queries } from "/queries.js";

const VIEWS = ["search", "map", "queries", "failures", "about"];
const FIRST = 24, MOST = 96, SOME = 12;
const searches = questions(), openings = questions();
let likeId = ""; // the video whose like is looked for; "": words are
let stale = true; // the answers shown are of another question

state.narrowed = () => ({
  ...(at("split").value ? { split: at("split").value } : {}),
  ...(conditions().length ? { where: JSON.stringify(conditions()) } : {}),
});

/** Search, by the words in the box or like a video, and show what is found. */
async function search({ top = FIRST } = {}) {
  const text = at("text").value.trim(), last = searches();
  stale = false;
  at("like").hidden = !likeId;
  at("like-name").textContent = likeId;
  if (top === FIRST) { // else what is there stays until more is there
    at("examples").hidden = at("notes").hidden = at("answers-more").hidden = true;
    at("answers").replaceChildren();
  }
  if (!text && !likeId) { await offer(last); return; }
  say("said", "Searching …");
  try {
    const began = performance.now();
    const found = await ask("/api/search", { ...(likeId ? { like: likeId } : { text }), top, ...state.narrowed() });
    if (!last()) return;
    const took = (performance.now() - began) / 1000;
    at("notes").hidden = !found.notes.length;
    at("notes").textContent = found.notes.join(" ");
    at("answers").replaceChildren(...found.rows.map((row) =>
      card(row, { rank: row.rank, score: row.score, unit: found.unit })));
    const what = found.rows.some((row) => row.moment) ? "moment" : "video";
    say("said", found.rows.length
      ? `${count(found.rows.length, what)}, best first, by ${found.unit}, in ${took.toFixed(2)} s.` : "No video is found.");
    at("answers-more").hidden = found.rows.length < top || top === MOST;
  } catch (error) {
    if (!last()) return;
    at("answers").replaceChildren();
    at("answers-more").hidden = true;
    say("said", error.message, true);
  }
}

/** Nothing is asked: what could be, and some of the videos. */
async function offer(last) {
  const run = state.about;
  say("said", run ? `${count(run.videos, "video")} can be searched.` : "");
  if (!run) return;
  at("examples").hidden = !run.examples.length;
  at("examples").replaceChildren("Try ", ...run.examples.map((text) => make("button", {
    type: "button", onclick: () => { at("text").value = text; remember(); search(); },
  }, text)));
  if (!run.similar || !run.videos) return;
  const many = Math.min(SOME, run.videos);
  const rows = Array.from({ length: many }, (_, place) => Math.floor(place * run.videos / many));
  try {
    const found = await ask("/api/videos", { row: rows, state: run.state });
    if (last()) at("answers").replaceChildren(...found.rows.map((video) => card(video)));
  } catch { /* they are not what was asked for */ }
}

function like(id) {
  likeId = id;
  show("search", { push: false });
  remember();
  search();
  scrollTo({ top: 0 });
  at("like-end").focus({ preventScroll: true });
}
state.like = like;

function backToWords() {
  likeId = "";
  remember();
  search();
  at("text").focus({ preventScroll: true });
}

/** The filters are others now. */
function again() {
  stale = true;
  remember();
  show(state.view, { push: false });
}

/** Keep what is looked at in the address, so that it can be gone back to. */
function remember() {
  const query = new URLSearchParams();
  if (state.run) query.set("run", state.run);
  if (state.view !== "search") query.set("view", state.view);
  else if (likeId) query.set("like", likeId);
  else if (at("text").value.trim()) query.set("text", at("text").value.trim());
  for (const [name, value] of Object.entries(state.narrowed())) query.set(name, value);
  if (state.against) query.set("against", state.against);
  const address = query.size ? `/?${query}` : "/";
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
}

function show(view, { push = true } = {}) {
  state.view = view;
  for (const name of VIEWS) at(name).hidden = name !== view;
  at("ask").hidden = view !== "search";
  at("narrow").hidden = at("filters-said").hidden = !["search", "map"].includes(view);
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (push) remember();
  if (!state.about) return; // what is known of the run comes first
  if (view === "search" && stale) search();
  if (view === "map") showMap();
  if (view === "queries") queries();
  if (view === "failures") failures();
  if (view === "about") about();
}

/** What is known of the chosen run; the views follow. False: it cannot be read, or another is asked for. */
async function open({ split, where = conditions() }) {
  const last = openings();
  stale = true;
  searches(); // an answer of the run before is of no use any more
  let columns;
  try {
    const [about, read] = await Promise.all([ask("/api/run"), readColumns()]);
    if (!last()) return false;
    [state.about, columns] = [about, read];
  } catch (error) {
    if (!last()) return false;
    state.about = null;
    show("search", { push: false });
    say("said", error.message, true);
    return false;
  }
  at("split").replaceChildren(make("option", { value: "" }, "all"),
    ...state.about.splits.filter(Boolean).map((name) => make("option", { value: name }, name)));
  at("split").value = state.about.splits.includes(split) ? split : "";
  openFilters(columns, again);
  setConditions(where);
  document.title = `${state.about.name} – Reelvec`;
  return true;
}

async function follow() {
  const query = new URLSearchParams(location.search);
  state.run = query.get("run") || "";
  if (state.run) at("run").value = state.run;
  at("against").value = query.get("against") || "";
  state.against = at("against").value;
  at("text").value = query.get("text") || "";
  likeId = query.get("like") || "";
  const view = VIEWS.includes(query.get("view")) ? query.get("view") : "search";
  state.about = null;
  show(view, { push: false });
  let where = [];
  try { where = JSON.parse(query.get("where") || "[]"); } catch { /* of no use: all are looked at */ }
  if (await open({ split: query.get("split"), where })) show(state.view, { push: false });
}

function keys(event) {
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    show("search");
    at("text").focus();
  } else if (event.key === "Escape" && document.activeElement?.tagName === "VIDEO") document.activeElement.blur();
  else if (event.key === "Escape" && !typing && likeId && state.view === "search") backToWords();
}

function listen() {
  for (const button of document.querySelectorAll("nav button")) {
    button.addEventListener("click", () => show(button.dataset.view));
  }
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    likeId = "";
    remember();
    search();
  });
  at("like-end").addEventListener("click", backToWords);
  at("answers-more").addEventListener("click", () => search({ top: MOST }));
  at("split").addEventListener("change", again);
  addEventListener("keydown", keys);
  startMap();
  at("sift").addEventListener("submit", (event) => { event.preventDefault(); queries(); });
  for (const id of ["direction", "order"]) at(id).addEventListener("change", () => queries());
  let waiting = 0;
  at("holds").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => queries(), 250);
  });
  at("run").addEventListener("change", async () => {
    state.run = at("run").value;
    if (!(await open({ split: at("split").value }))) return;
    remember();
    show(state.view, { push: false });
  });
  at("against").addEventListener("change", () => {
    state.against = at("against").value;
    show(["queries", "about"].includes(state.view) ? state.view : "about");
  });
  addEventListener("popstate", follow);
}

async function start() {
  listen();
  try {
    const { runs } = await ask("/api/store");
    const options = () => runs.map((run) => make("option", { value: run.run },
      run.now ? run.name : `${run.name}, as of ${run.ended}`));
    at("run").replaceChildren(...options());
    at("against").replaceChildren(make("option", { value: "" }, "none"), ...options());
    at("beside").hidden = runs.length < 2;
  } catch (error) {
    show("search", { push: false });
    say("said", error.message, true);
    return;
  }
  await follow();
}

start();
