// A map of the videos: near ones are alike. Draw around some to look at them.

import { ask, at, card, count, make, say, state } from "/base.js";

const MARGIN = 18, PAGE = 24;
let map = null, of = "", chosen = [], loop = [], asked = 0;

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return ["--accent", "--good", "--near", "--miss", "--faint"].map((name) => style.getPropertyValue(name).trim());
};

export async function showMap() {
  const number = ++asked;
  const wanted = `${state.run} ${state.about?.state}`;
  if (map && of === wanted) { paint(); return; }
  at("inside").replaceChildren();
  at("map-more").hidden = at("play-all").hidden = true;
  say("map-said", "Reading …");
  try {
    const found = await ask("/api/map");
    if (number !== asked) return;
    [map, of, chosen, loop] = [found, wanted, [], []];
    const some = map.step > 1 ? ` Every ${map.step}th is drawn.` : "";
    say("map-said", `${count(map.videos, "video")}; near ones are alike. Draw around some to look at them.${some}`);
    at("map-key").replaceChildren(...map.groups.map((name, place) =>
      make("span", { class: `dot c${place % 5}` }, name || "no split")));
    at("plane").hidden = false;
    paint();
  } catch (error) {
    if (number !== asked) return;
    map = null;
    at("plane").hidden = true;
    at("map-key").replaceChildren();
    say("map-said", error.message, true);
  }
}

function paint() {
  if (!map || at("map").hidden) return;
  const canvas = at("plane"), ratio = devicePixelRatio || 1;
  map.wide ??= map.x.reduce((a, b) => Math.max(a, b), 1);
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  map.tall ??= map.y.reduce((a, b) => Math.max(a, b), 1);
  const scale = Math.min((canvas.clientWidth - 2 * MARGIN) / map.wide, (canvas.clientHeight - 2 * MARGIN) / map.tall);
  const left = (canvas.clientWidth - map.wide * scale) / 2;
  map.at = (row) => [left + map.x[row] * scale, canvas.clientHeight - MARGIN - map.y[row] * scale];
  const names = colours(), size = map.rows.length > 20000 ? 1.2 : map.rows.length > 2000 ? 2 : 4;
  const inside = new Set(chosen);
  for (let row = 0; row < map.rows.length; row++) {
    const [x, y] = map.at(row);
    pen.globalAlpha = chosen.length && !inside.has(row) ? 0.25 : 0.8;
    pen.fillStyle = names[map.group[row] % 5];
    pen.beginPath();
    pen.arc(x, y, inside.has(row) ? size * 1.5 : size, 0, 7);
    pen.fill();
  }
  if (loop.length < 2) return;
  pen.globalAlpha = 1;
  pen.strokeStyle = names[0];
  pen.setLineDash([5, 4]);
  pen.beginPath();
  loop.forEach(([x, y], number) => (number ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.closePath();
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

/** The point nearest to where was tapped, within a finger's width. */
function nearest([x, y]) {
  let best = -1, least = 20 ** 2;
  for (let row = 0; row < map.rows.length; row++) {
    const [a, b] = map.at(row), far = (a - x) ** 2 + (b - y) ** 2;
    if (far < least) [best, least] = [row, far];
  }
  return best < 0 ? [] : [best];
}

async function look({ offset = 0 } = {}) {
  if (!offset) at("inside").replaceChildren();
  at("map-more").hidden = at("play-all").hidden = true;
  say("map-said", chosen.length ? `${count(chosen.length, "video")} inside.` : "No video is inside; draw around some.");
  const some = chosen.slice(offset, offset + PAGE);
  if (!some.length) return;
  try {
    const found = await ask("/api/videos", { row: some.map((row) => map.rows[row]), state: map.state });
    at("inside").append(...found.rows.map((video) => card(video)));
    at("play-all").hidden = !at("inside").querySelector("video");
    at("map-more").hidden = offset + PAGE >= chosen.length;
    at("map-more").onclick = () => look({ offset: offset + PAGE });
  } catch (error) {
    say("map-said", error.message, true);
  }
}

export function startMap() {
  const canvas = at("plane");
  let drawing = false;
  const where = (event) => [event.offsetX, event.offsetY];
  canvas.addEventListener("pointerdown", (event) => {
    if (!map || event.button) return;
    drawing = true;
    loop = [where(event)];
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
    const [xs, ys] = [0, 1].map((axis) => loop.map((point) => point[axis]));
    const tapped = Math.max(...xs) - Math.min(...xs) + Math.max(...ys) - Math.min(...ys) < 8;
    chosen = tapped ? nearest(loop[0]) : map.rows.map((_, row) => row).filter((row) => holds(map.at(row)));
    if (tapped) loop = [];
    paint();
    look();
  };
  canvas.addEventListener("pointerup", done);
  canvas.addEventListener("pointercancel", done);
  at("play-all").addEventListener("click", () => {
    for (const clip of at("inside").querySelectorAll("video")) clip.play().catch(() => {});
  });
  addEventListener("resize", () => { loop = []; paint(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
}
