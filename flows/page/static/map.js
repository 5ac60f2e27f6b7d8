// A map of the videos: near ones are alike. Draw around some to look at them.

import { ask, at, card, count, make, questions, say, state } from "/base.js";

const MARGIN = 18, PAGE = 24, RING = 36, FINGER = 20;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let map = null, of = "", chosen = [], loop = [], ring = null;
const maps = questions(), looks = questions();

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return ["--accent", "--good", "--near", "--miss", "--faint"].map((name) => style.getPropertyValue(name).trim());
};

/** The map of what is asked for; the one that is there, where it is of that. */
export async function showMap() {
  const last = maps(), narrowed = state.narrowed();
  const wanted = JSON.stringify([state.run, state.about?.state, narrowed]);
  if (map && of === wanted) { paint(); return; }
  map = null; // the one drawn is of something else
  clear();
  say("map-said", "Reading …");
  try {
    const found = await ask("/api/map", narrowed);
    if (!last()) return;
    [map, of] = [found, wanted];
    tell();
    at("map-key").replaceChildren(...[...new Set(map.group)].sort((a, b) => a - b).map((place) =>
      make("span", { class: `dot c${place % 5}` }, map.groups[place] || "no split")));
    at("plane").hidden = false;
    paint();
  } catch (error) {
    if (!last()) return;
    at("plane").hidden = true;
    at("map-key").replaceChildren();
    say("map-said", error.message, true);
  }
}

function tell() {
  const whole = map.videos < map.of ? ` of ${map.of.toLocaleString("en")}` : "";
  const some = map.step > 1 ? ` Every ${map.step}th is drawn.` : "";
  say("map-said", `${count(map.videos, "video")}${whole}; near ones are alike. Draw around some to look at them.${some}`);
}

/** Nothing is drawn around, and nothing looked at. */
function clear() {
  [chosen, loop, ring] = [[], [], null];
  looks();
  at("inside").replaceChildren();
  at("map-more").hidden = at("play-all").hidden = true;
}

function paint() {
  if (!map || at("map").hidden) return;
  const canvas = at("plane"), ratio = devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const [wide, tall] = map.side.map((side) => Math.max(side, 1));
  const scale = Math.min((canvas.clientWidth - 2 * MARGIN) / wide, (canvas.clientHeight - 2 * MARGIN) / tall);
  const left = (canvas.clientWidth - wide * scale) / 2;
  const foot = (canvas.clientHeight + tall * scale) / 2;
  map.at = (row) => [left + map.x[row] * scale, foot - map.y[row] * scale];
  const names = colours(), size = map.rows.length > 20000 ? 1.2 : map.rows.length > 2000 ? 2 : 4.5;
  const inside = new Set(chosen);
  for (let row = 0; row < map.rows.length; row++) {
    const [x, y] = map.at(row);
    pen.globalAlpha = chosen.length && !inside.has(row) ? 0.2 : 0.8;
    pen.fillStyle = names[map.group[row] % 5];
    pen.beginPath();
    pen.arc(x, y, inside.has(row) ? size * 1.4 : size, 0, 7);
    pen.fill();
  }
  pen.globalAlpha = 1;
  pen.strokeStyle = names[0];
  pen.setLineDash([5, 4]);
  pen.lineWidth = 1.5;
  pen.beginPath();
  if (ring) pen.arc(...ring, RING, 0, 7);
  loop.forEach(([x, y], number) => (number ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  if (loop.length) pen.closePath();
  pen.stroke();
}

/** Whether a point lies inside the drawn loop: an odd number of its sides is to the right. */
function holds([x, y]) {
  let odd = false;
  for (let i = 0, j = loop.length - 1; i < loop.length; j = i++) {
    const [xi, yi] = loop[i], [xj, yj] = loop[j];
    if (yi > y !== yj > y && x < (xj - xi) * (y - yi) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

const rows = () => map.rows.map((_, row) => row);
const far = (row, [x, y]) => Math.hypot(map.at(row)[0] - x, map.at(row)[1] - y);

const closest = (place) => rows().reduce((least, row) => (far(row, place) < far(least, place) ? row : least), 0);

/** The point where was tapped, within a finger's width. */
function tappedOn(place) {
  const best = closest(place);
  return far(best, place) < FINGER ? [best] : [];
}

async function look({ offset = 0 } = {}) {
  const last = looks();
  if (!offset) at("inside").replaceChildren();
  at("map-more").hidden = at("play-all").hidden = true;
  say("map-said", chosen.length ? `${count(chosen.length, "video")} inside.` : "No video is inside; draw around some.");
  const some = chosen.slice(offset, offset + PAGE);
  if (!some.length) return;
  try {
    const found = await ask("/api/videos", { row: some.map((row) => map.rows[row]), state: map.state });
    if (!last()) return;
    at("inside").append(...found.rows.map((video) => card(video)));
    at("play-all").hidden = !at("inside").querySelector("video");
    at("map-more").hidden = offset + PAGE >= chosen.length;
    at("map-more").onclick = () => look({ offset: offset + PAGE });
  } catch (error) {
    if (last()) say("map-said", error.message, true);
  }
}

/** The point that an arrow leads to from a place: near, and little to the side. */
function next([x, y], [across, up]) {
  let best = -1, least = Infinity;
  for (let row = 0; row < map.rows.length; row++) {
    const [a, b] = map.at(row), along = (a - x) * across + (b - y) * up, aside = (a - x) * up - (b - y) * across;
    if (along > 1 && along + 2 * Math.abs(aside) < least) [best, least] = [row, along + 2 * Math.abs(aside)];
  }
  return best;
}

/** A ring that goes from point to point, for who has no pointer. */
function key(event) {
  if (!map) return;
  const canvas = at("plane"), middle = [canvas.clientWidth / 2, canvas.clientHeight / 2];
  if (ARROWS[event.key]) {
    const row = ring ? next(ring, ARROWS[event.key]) : closest(middle);
    loop = [];
    if (row >= 0) ring = map.at(row);
  } else if (event.key === "Enter" && ring) {
    chosen = rows().filter((row) => far(row, ring) <= RING);
    look();
  } else return;
  event.preventDefault();
  paint();
}

export function startMap() {
  const canvas = at("plane");
  let drawing = false;
  const where = (event) => [event.offsetX, event.offsetY];
  canvas.addEventListener("pointerdown", (event) => {
    if (!map || event.button) return;
    drawing = true;
    [loop, ring] = [[where(event)], null];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    loop.push(where(event));
    paint();
  });
  const done = () => {
    if (!drawing) return;
    drawing = false;
    if (!map || !loop.length) return; // another is being read
    const [xs, ys] = [0, 1].map((axis) => loop.map((point) => point[axis]));
    const tapped = Math.max(...xs) - Math.min(...xs) + Math.max(...ys) - Math.min(...ys) < 8;
    chosen = tapped ? tappedOn(loop[0]) : rows().filter((row) => holds(map.at(row)));
    if (tapped) loop = [];
    paint();
    look();
  };
  canvas.addEventListener("pointerup", done);
  canvas.addEventListener("pointercancel", done);
  canvas.addEventListener("keydown", key);
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || state.view !== "map" || !map) return;
    clear();
    tell();
    paint();
  });
  at("play-all").addEventListener("click", () => {
    for (const clip of at("inside").querySelectorAll("video")) clip.play().catch(() => {});
  });
  addEventListener("resize", () => { [loop, ring] = [[], null]; paint(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
}
