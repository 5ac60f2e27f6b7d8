// The evaluation's queries: best, worst, those that another run ranked otherwise, and by words.

import { ask, at, card, count, make, questions, say, state } from "/base.js";

const PAGE = 20;
const ORDERS = { worst: "worst first", best: "best first", gained: "those that rose most first", lost: "those that fell most first" };
const NONE = { gained: " rose", lost: " fell" };
const readings = questions();

/** The queries that hold the words, from `offset` on. */
export async function queries({ offset = 0 } = {}) {
  const last = readings();
  for (const name of ["gained", "lost"]) at("order").querySelector(`[value=${name}]`).hidden = !state.against;
  if (!state.against && ["gained", "lost"].includes(at("order").value)) at("order").value = "worst";
  const [direction, order, contains] = ["direction", "order", "holds"].map((id) => at(id).value);
  if (!offset) { at("ranked").replaceChildren(); say("queries-said", "Reading …"); }
  at("more").hidden = true;
  try {
    const beside = state.against ? { against: state.against } : {};
    const found = await ask("/api/queries", { direction, order, contains, offset, limit: PAGE, ...beside });
    if (!last()) return;
    at("ranked").append(...found.rows.map((row) => ranked(row, direction, found.unit)));
    const shown = at("ranked").children.length;
    const kind = direction === "t2v" ? "caption" : "video";
    const where = state.about?.split ? ` of the split ${state.about.split}` : "";
    const which = contains.trim() ? ` with “${contains.trim()}”` : "";
    say("queries-said", found.total ? `${count(found.total, kind)}${where}${which}, ${ORDERS[order]}.` : `No ${kind}${where}${which}${NONE[order] || ""}.`);
    at("more").hidden = shown >= found.total;
    at("more").onclick = () => queries({ offset: shown });
  } catch (error) {
    if (last()) say("queries-said", error.message, true);
  }
}

const kindOf = (rank) => (rank === null ? "miss" : rank <= 1 ? "hit" : rank <= 10 ? "near" : "miss");

/** One query: its text, the rank of the right answer, and the videos that were found. */
function ranked(row, direction, unit) {
  const what = direction === "t2v" ? "video" : "caption";
  const rank = row.rank === null ? "no rank" : `right ${what} at rank ${row.rank}`;
  const top = row.top_video_ids || [];
  const cards = top.map((id, place) => card(row.videos[id], {
    rank: place + 1, score: row.top_scores[place], unit, small: true, right: id === row.video_id,
  }));
  if (!top.includes(row.video_id)) {
    cards.push(card(row.videos[row.video_id], {
      rank: direction === "t2v" ? row.rank : null, score: row.score ?? null, unit, small: true, right: true,
    }));
  }
  const before = state.against && make("span", { class: row.before === null ? "pill" : `pill ${kindOf(row.before)}` },
    row.before === null ? "not scored there" : `rank ${row.before} in ${at("against").selectedOptions[0].text}`);
  return make("article", { class: "query" },
    make("div", { class: "ask" }, make("p", {}, row.text), make("span", { class: `pill ${kindOf(row.rank)}` }, rank), before || null),
    make("div", { class: "grid small" }, ...cards));
}
