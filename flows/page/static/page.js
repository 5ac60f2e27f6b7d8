// The page of a store. It only reads; what it shows of the store is always text, never markup.

import { ask, at, card, count, make, say, state } from "/base.js";
import { conditions, openFilters, setConditions } from "/filters.js";
import { showMap, startMap } from "/map.js";
import { about, failures } from "/numbers.js";
import { queries } from "/queries.js";

const VIEWS = ["search", "map", "queries", "failures", "about"];
let asked = 0;

/** Search, by the words in the box or like a video, and show what is found. */
async function search({ likeId = "" } = {}) {
  const text = at("text").value.trim();
  const number = ++asked;
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
  const split = at("split").value, where = conditions();
  try {
    const began = performance.now();
    const wanted = likeId ? { like: likeId } : { text };
    const found = await ask("/api/search", {
      ...wanted, ...(split ? { split } : {}), ...(where.length ? { where: JSON.stringify(where) } : {}),
    });
    if (number !== asked) return;
    const took = (performance.now() - began) / 1000;
    at("notes").hidden = !found.notes.length;
    at("notes").textContent = found.notes.join(" ");
    at("answers").replaceChildren(...found.rows.map((row) =>
      card(row, { rank: row.rank, score: row.score, unit: found.unit })));
    say("said", `${count(found.rows.length, "video")}, best first, by ${found.unit}, in ${took.toFixed(2)} s.`);
  } catch (error) {
    if (number !== asked) return;
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
state.like = like;

/** Search again, as it was asked last. */
function again() {
  const likeId = at("like").hidden ? "" : new URLSearchParams(location.search).get("like") || "";
  remember({ like: likeId });
  search({ likeId });
}

/** Keep what is looked at in the address, so that it can be gone back to. */
function remember({ like = "", push = true } = {}) {
  const query = new URLSearchParams();
  if (state.run) query.set("run", state.run);
  if (state.view !== "search") query.set("view", state.view);
  else if (like) query.set("like", like);
  else if (at("text").value.trim()) query.set("text", at("text").value.trim());
  if (at("split").value) query.set("split", at("split").value);
  if (conditions().length) query.set("where", JSON.stringify(conditions()));
  if (state.against) query.set("against", state.against);
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
  if (view === "map" && state.about) showMap();
  if (view === "queries") queries();
  if (view === "failures") failures();
  if (view === "about" && state.about) about();
}

/** What is known of the chosen run; the views follow. */
async function open({ split, where = conditions() }) {
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
  await openFilters(again);
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
  show(VIEWS.includes(query.get("view")) ? query.get("view") : "search", { push: false });
  let where = [];
  try { where = JSON.parse(query.get("where") || "[]"); } catch { /* of no use: all are looked at */ }
  if (!(await open({ split: query.get("split"), where }))) return;
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
  at("split").addEventListener("change", again);
  startMap();
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
  at("against").addEventListener("change", () => {
    state.against = at("against").value;
    remember();
    show(["queries", "about"].includes(state.view) ? state.view : "about", { push: false });
  });
  addEventListener("popstate", follow);
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
