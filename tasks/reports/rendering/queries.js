// Lists the queries of the report. It only reads what the page holds, and shows it as text.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("data").textContent);
  const STEP = 20;
  const ID = 0, TEXT = 1, VIDEO = 2, RANK = 3, SCORE = 4, BEST = 5, SCORES = 6, BEFORE = 7;
  const captions = new Map(); // of a video
  for (const set of data.sets) {
    if (set.direction !== "t2v") continue;
    for (const row of set.rows) captions.set(row[VIDEO], [...(captions.get(row[VIDEO]) || []), row[TEXT]]);
  }
  const text = (set, row) => (set.direction === "v2t" ? (captions.get(row[VIDEO]) || []).join("\n") : row[TEXT]);

  function make(tag, css, ...children) {
    const made = document.createElement(tag);
    if (css) made.className = css;
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  function chosen() {
    const direction = at("direction")?.value || data.sets[0].direction;
    const set = data.sets.find((one) => one.direction === direction);
    const words = at("words").value.trim().toLowerCase();
    const order = at("order")?.value || "";
    const rows = set.rows.filter((row) => !words ||
      `${text(set, row)}\n${row[ID]}\n${data.videos[row[VIDEO]]}`.toLowerCase().includes(words));
    const late = (row) => row[RANK] ?? Infinity;
    const rise = (row) => (row[BEFORE] === null ? 0 : row[BEFORE] - late(row));
    const by = { best: (row) => late(row), worst: (row) => -late(row), gained: (row) => -rise(row), lost: rise }[order];
    const changed = order === "gained" ? (row) => rise(row) > 0 : order === "lost" ? (row) => rise(row) < 0 : () => true;
    const kept = rows.filter(changed);
    if (by) kept.sort((a, b) => (by(a) === by(b) ? 0 : by(a) - by(b)));
    return { set, rows: kept };
  }

  function answer(number, rank, score, unit, css) {
    const picture = data.pictures[number];
    let shown = make("div", "none", "no frame here");
    if (picture) {
      shown = make("img");
      shown.src = `data:image/jpeg;base64,${picture}`;
      shown.alt = `A frame of ${data.videos[number]}`;
      shown.loading = "lazy";
    }
    const words = [rank === null ? "" : `${rank}.`, score === null ? "" : `${unit} ${score.toFixed(3)}`];
    return make("figure", `found ${css}`, shown,
      make("figcaption", "", make("b", "", data.videos[number]), make("span", "", words.filter(Boolean).join(" "))));
  }

  function card(set, row) {
    const rank = row[RANK];
    const css = rank === null ? "miss" : rank <= 1 ? "hit" : rank <= 10 ? "near" : "miss";
    const what = set.direction === "v2t" ? "caption" : "video";
    const ask = make("p", "ask", make("q", "", text(set, row) || row[ID]));
    if (set.direction !== "near") ask.append(make("span", `pill ${css}`, `true ${what} at rank ${rank ?? "–"}`));
    if (row[BEFORE] !== null) ask.append(make("span", "pill", `${row[BEFORE]} in ${data.beside}`));
    ask.append(make("span", "faint", row[ID]));
    const found = row[BEST].map((video, place) =>
      answer(video, place + 1, row[SCORES][place], set.unit, video === row[VIDEO] && set.direction !== "near" ? "true" : ""));
    if (set.direction === "near") found.unshift(answer(row[VIDEO], null, null, "", "true"));
    else if (!row[BEST].includes(row[VIDEO])) {
      found.push(answer(row[VIDEO], set.direction === "t2v" ? rank : null, row[SCORE], set.unit, "true"));
    }
    return make("div", "query", ask, make("div", "row", ...found));
  }

  function list() {
    const { set, rows } = chosen();
    at("list").replaceChildren();
    const more = () => {
      const from = at("list").children.length;
      at("list").append(...rows.slice(from, from + STEP).map((row) => card(set, row)));
      at("more").hidden = at("list").children.length >= rows.length;
    };
    at("said").textContent = `${rows.length.toLocaleString("en")} of ${set.rows.length.toLocaleString("en")}`;
    at("more").onclick = more;
    more();
  }

  function save() {
    const { set, rows } = chosen();
    const quoted = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
    const lines = [["id", "text", "video_id", "rank", "score", "best", ...(data.beside ? [`rank in ${data.beside}`] : [])],
      ...rows.map((row) => [row[ID], text(set, row), data.videos[row[VIDEO]], row[RANK], row[SCORE],
        row[BEST].map((video) => data.videos[video]).join(" "), ...(data.beside ? [row[BEFORE]] : [])])];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n"], { type: "text/csv" }));
    link.download = `queries-${set.direction}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  let waiting = 0;
  at("words").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(list, 150); });
  for (const id of ["direction", "order"]) at(id)?.addEventListener("change", list);
  at("save").addEventListener("click", save);
  list();
})();
