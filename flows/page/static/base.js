// What every view needs: the server's documents, elements, and how a video is shown.

const WARM = 3;
const hovers = matchMedia("(hover: hover)").matches; // else controls are always shown
export const at = (id) => document.getElementById(id);

/** run, against: as the server names them; of: the tables' state; like: shows others like a video. */
export const state = {
  run: "", against: "", view: "search", about: null, of: "", warm: [], like: () => {},
};

/** A document of the server, or an Error in its words; a list is a name several times. */
export async function ask(address, wanted = {}) {
  const query = new URLSearchParams(state.run ? { run: state.run } : {});
  for (const [name, value] of Object.entries(wanted)) {
    for (const one of [value].flat()) query.append(name, one);
  }
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

export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function say(id, words, bad = false) {
  at(id).textContent = words;
  at(id).classList.toggle("bad", bad);
}

export const media = (kind, id, more = {}) =>
  `/media/${kind}?${new URLSearchParams({ id, state: state.of, ...(state.run ? { run: state.run } : {}), ...more })}`;

export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

export function seconds(value) {
  if (value < 60) return `${value.toFixed(1)} s`;
  const minutes = Math.floor(value / 60);
  return `${minutes}:${String(Math.floor(value % 60)).padStart(2, "0")}`;
}

function picture(source, id, instead) {
  const made = make("img", { src: source, alt: `Frames of ${id}`, loading: "lazy", decoding: "async" });
  made.addEventListener("error", () => made.replaceWith(instead));
  return made;
}

/** Stored frames of a video, side by side; words where there are none. */
export const strip = (video, frames) =>
  picture(media("strip", video.video_id, { count: frames }), video.video_id, "No frames are stored.");

/** What can still be seen of a video that failed. */
export const remains = (video) =>
  picture(media("failed", video.video_id), video.video_id, make("span", { class: "none" }, "Nothing of it can be seen."));

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
export function card(video, { rank = null, score = null, unit = "", small = false, right = false } = {}) {
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
  if (state.about?.similar) part("more-like").addEventListener("click", () => state.like(video.video_id));
  else part("more-like").remove();
  return made;
}
