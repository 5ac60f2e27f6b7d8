// Filters: conditions over columns of the corpus and of the caller's attributes.

import { ask, at, make, say } from "/base.js";

let columns = [];
let changed = () => {};

/** The columns of the chosen run, and why there are none. */
export async function readColumns() {
  try {
    const { columns } = await ask("/api/columns");
    return { columns, failed: "" };
  } catch (error) {
    return { columns: [], failed: error.message };
  }
}

/** What `readColumns` read can be chosen; conditions over other columns are dropped. */
export function openFilters(read, onChange) {
  changed = onChange;
  ({ columns } = read);
  say("filters-said", read.failed, Boolean(read.failed));
  at("add-filter").hidden = !columns.length;
  at("add-filter").onclick = () => { add(); at("filters").lastElementChild?.querySelector("select").focus(); };
}

/** [column, operation, value] of each that is complete. */
export function conditions() {
  return [...at("filters").children].map((row) => row.read()).filter((one) => one !== null);
}

/** Put these conditions in place of those there are; what the run does not know is left out. */
export function setConditions(list) {
  at("filters").replaceChildren();
  for (const one of Array.isArray(list) ? list : []) {
    if (Array.isArray(one) && columns.some((column) => column.name === one[0])) add(one);
  }
}

const LABELS = { "=": "is", "!=": "is not", "<=": "≤", ">=": "≥" };

function add([name, operation, value] = []) {
  const row = make("div", { class: "filter" });
  const column = make("select", { ariaLabel: "Column" }, ...columns.map((one) => make("option", {}, one.name)));
  column.value = name ?? columns[0].name;
  const how = make("select", { ariaLabel: "Operation" });
  const slot = make("span", { class: "slot" });
  const known = () => columns.find((one) => one.name === column.value);

  function choose() {
    how.replaceChildren(...known().operations.map((one) => make("option", { value: one }, LABELS[one] || one)));
  }

  function box(given) {
    const { kind, values } = known();
    let made = null;
    if (how.value !== "has none") {
      const listed = kind === "truth" ? ["true", "false"] : kind === "text" && how.value !== "contains" ? values : [];
      made = listed.length
        ? make("select", { ariaLabel: "Value" }, make("option", { value: "" }, "choose"), ...listed.map((one) => make("option", {}, one)))
        : make("input", { ariaLabel: "Value", type: kind === "number" ? "number" : "text", maxLength: 200,
          placeholder: kind === "time" ? "2026-03-01" : "", autocomplete: "off" });
      if (kind === "number") made.step = "any";
      if (given !== undefined && given !== null) made.value = String(given);
    }
    slot.replaceChildren(...(made ? [made] : []));
  }

  row.read = () => {
    if (how.value === "has none") return [column.value, how.value];
    const text = slot.firstElementChild.value;
    if (text === "") return null;
    const { kind } = known();
    return [column.value, how.value, kind === "number" ? Number(text) : kind === "truth" ? text === "true" : text];
  };
  column.addEventListener("change", () => { choose(); box(); changed(); });
  how.addEventListener("change", () => { box(slot.firstElementChild?.value); changed(); });
  slot.addEventListener("change", () => changed());
  choose();
  if (operation) how.value = operation;
  box(value);
  row.append(column, how, slot, make("button", {
    type: "button", ariaLabel: "Remove this filter", onclick: () => { row.remove(); changed(); },
  }, "×"));
  at("filters").append(row);
}
