// The live page: asks for /-/streams once a second and shows what it says.
// Models and keys are words of strangers: everything is written as text, nothing as HTML.

const PERIOD = 1000; // ms
const MAX_ROWS = 200; // the newest; a table of thousands helps nobody

const find = (id) => document.getElementById(id);
const number = (value, digits) => (value == null ? "–" : value.toFixed(digits));
const seconds = (value) => (value == null ? "–" : `${value.toFixed(value < 10 ? 2 : 0)} s`);

const COLUMNS = [
  [(row) => row.id],
  [(row) => row.route],
  [(row) => row.key],
  [(row) => row.model ?? "–"],
  [(row) => row.state],
  [(row) => seconds(row.age), "number"],
  [(row) => seconds(row.time_to_first_token), "number"],
  [(row) => number(row.tokens, 0), "number"],
  [(row) => number(row.tokens_per_second, 1), "number"],
];

const lines = new Map(); // stream id → its <tr>, kept from one answer to the next

function lineOf(id) {
  const line = document.createElement("tr");
  for (const [, kind] of COLUMNS) line.insertCell().className = kind ?? "";
  const button = document.createElement("button");
  button.textContent = "cancel";
  button.addEventListener("click", async () => {
    button.disabled = true;
    const answer = await fetch(`-/streams/${encodeURIComponent(id)}`, { method: "DELETE" }).catch(() => null);
    button.disabled = answer?.ok ?? false;
  });
  line.insertCell().append(button);
  lines.set(id, line);
  return line;
}

function write(cell, text) {
  if (cell.textContent === text) return; // an untouched cell keeps the reader's selection
  cell.textContent = text;
  cell.title = text;
}

function show({ draining, streams }) {
  const rate = streams.reduce((sum, row) => sum + (row.tokens_per_second ?? 0), 0);
  showState(draining ? "draining" : "ready");
  write(find("active"), String(streams.length));
  write(find("rate"), number(rate, rate < 100 ? 1 : 0));
  write(find("waiting"), String(streams.filter((row) => row.time_to_first_token == null).length));
  const rows = streams.slice(-MAX_ROWS).reverse();
  const more = streams.length - rows.length;
  write(find("caption"), more ? `Live streams, the newest ${rows.length} of ${streams.length}` : "Live streams");
  const shown = new Set(rows.map((row) => row.id));
  for (const [id, line] of lines) if (!shown.has(id)) { line.remove(); lines.delete(id); }
  let before = null;
  for (const row of rows) {
    const line = lines.get(row.id) ?? lineOf(row.id);
    COLUMNS.forEach(([text], at) => write(line.cells[at], String(text(row))));
    const place = before ? before.nextSibling : find("streams").firstChild;
    if (place !== line) find("streams").insertBefore(line, place);
    before = line;
  }
}

function showState(state) {
  write(find("state"), state);
  find("state").className = state;
}

async function poll() {
  try {
    if (!document.hidden) {
      const answer = await fetch("-/streams", { signal: AbortSignal.timeout(5 * PERIOD) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      show(await answer.json());
    }
  } catch {
    showState("lost"); // the gate has gone or is too busy; the next answer tells
  }
  setTimeout(poll, PERIOD);
}

poll();
