// What every view needs: the server's documents, elements, and how a video is shown.

const WARM = 3, NO_FRAMES = "No frames are stored.";
export const at = (id) => document.getElementById(id);

/** run, against: as the server names them; of: the tables' state; like: shows others like a video;
    narrowed: the split and the conditions that hold in a search and on the map. */
export const state = {
  run: "", against: "", view: "search", about: null, of: "", warm: [], like: () => {},
  narrowed: () => ({}),
};

/** What is asked one after another, where only the last answer is of use: each question gets a
    function that tells whether it is still the last. */
export function questions() {
  let asked = 0;
  return () => {
    const number = ++asked;
    return () => number === asked;
  };
}

/** A document of the server, or an Error in its words; a list is a name several times. */
export async function ask(address, wanted = {}) {
  const { run } = state, query = new URLSearchParams(run ? { run } : {});
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
  if (document.state && run === state.run) state.of = document.state; // of the tables: its media are of the same
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
  at(id).textContent = bad ? words.slice(0, 1).toUpperCase() + words.slice(1) : words;
  at(id).classList.toggle("bad", bad);
}

export const media = (kind, id, more = {}) =>
  `/media/${kind}?${new URLSearchParams({ id, state: state.of, ...(state.run ? { run: state.run } : {}), ...more })}`;

export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

const number = (value) => value.toFixed(3).replace("-", "−");

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

/** Stored frames of a video, or of a moment in it, side by side; words where there are none. */
const strip = (video, frames) => (video.pictured
  ? picture(media("strip", video.video_id, { count: frames, ...within(video) }), video.video_id, NO_FRAMES) : NO_FRAMES);

const within = (video) => (video.moment ? { start: video.start, end: video.end } : {});

export const unseen = () => make("span", { class: "none" }, "Nothing of it can be seen.");

/** What can still be seen of a video that failed. */
export const remains = (video) => picture(media("failed", video.video_id), video.video_id, unseen());

/** A clip that was played holds a connection, of which a browser has six: the oldest gives it back. */
function warm(clip) {
  state.warm = [...state.warm.filter((one) => one !== clip && one.isConnected), clip];
  if (state.warm.length > WARM) state.warm.shift().load();
}

/** The clip where a browser can play it, else its stored frames. */
function screen(video, { small = false } = {}) {
  if (!video.plays || small) return strip(video, small ? 1 : 3);
  const clip = make("video", {
    src: media("clip", video.video_id) + (video.end ? `#t=${video.start}` : ""), muted: true, loop: !video.end,
    playsInline: true, preload: "none", ariaLabel: `Clip ${video.video_id}`,
    tabIndex: 0, ...(video.pictured ? { poster: media("strip", video.video_id, { count: 1, ...within(video) }) } : {}),
  });
  clip.addEventListener("error", () => clip.replaceWith(strip(video, 3)));
  const begin = () => {
    if (clip.controls) return; // it plays, or was stopped by its own button
    clip.controls = true;
    clip.play().catch(() => {});
    warm(clip);
  };
  for (const event of ["mouseenter", "focus", "click"]) clip.addEventListener(event, begin);
  for (const event of ["mouseleave", "blur"]) {
    clip.addEventListener(event, () => { clip.controls = false; clip.pause(); });
  }
  if (video.end) { // a moment begins again at its end; what lies beyond may be looked at
    clip.addEventListener("timeupdate", () => {
      const over = clip.currentTime - video.end;
      if (!clip.seeking && over >= 0 && over < 1) clip.currentTime = video.start;
    });
  }
  return clip;
}

/** Where a moment lies in its file, as a line. */
function timeLine(video) {
  if (!video.end || !(video.whole > 0)) return null;
  const words = `${seconds(video.start)} to ${seconds(video.end)} of ${seconds(video.whole)}`;
  const part = make("span", { class: "part" });
  part.style.left = `${100 * video.start / video.whole}%`;
  part.style.width = `${100 * Math.min(1, (video.end - video.start) / video.whole)}%`;
  return make("div", { class: "time-line", role: "img", ariaLabel: words, title: words }, part);
}

/** One video: what it looks like, its place and score, and a way to others like it. */
export function card(video, { rank = null, score = null, unit = "", small = false, right = false } = {}) {
  const made = at("card").content.firstElementChild.cloneNode(true);
  const part = (name) => made.querySelector(`.${name}`);
  made.classList.toggle("true", right);
  made.dataset.video = video.video_id;
  part("screen").append(screen(video, { small }));
  const line = timeLine(video);
  if (line) part("screen").after(line);
  part("rank").textContent = rank === null ? "" : rank;
  part("name").textContent = video.video_id;
  part("name").title = video.path || "its file has left the corpus";
  part("score").textContent = score === null ? "" : `${unit} ${number(score)}`.trim();
  part("where").textContent = [
    video.end ? `${seconds(video.start)} – ${seconds(video.end)}` : video.seconds ? seconds(video.seconds) : "",
    small ? "" : video.split,
  ].filter(Boolean).join(" · ");
  if (state.about?.similar) {
    part("more-like").ariaLabel = `More like this: ${video.video_id}`;
    part("more-like").addEventListener("click", () => state.like(video.video_id));
  } else part("more-like").remove();
  return made;
}
