// What every client's runner shares. A runner reads pieces of a stream one at a time, as it is told on standard
// input, and prints each as a line of JSON; so whoever drives it may leave the client's stream after any piece.
//
//   {"base": …, "patience": seconds, "api": …}    begin another stream
//   "next"                                        print the next piece, ["text", …], ["reasoning", …] or
//                                                 ["call", [name, JSON]]; or {"ended": …}; or {"raised": …}
//   "leave"                                       stop reading by the client's own means, then {"ended": …}

import { createInterface } from "node:readline";

const DISPATCHER = Symbol.for("undici.globalDispatcher.1");
const realSetTimeout = globalThis.setTimeout;

/** Pieces that a client hands to callbacks, for whoever would rather ask for them. */
export class Pieces {
  #kept = [];
  #wake = () => {};

  /** Keep a piece; one that says nothing is none. */
  add(kind, value) {
    if (value) this.#keep({ value: [kind, value] });
  }

  end() {
    this.#keep({ done: true });
  }

  fail(error) {
    this.#keep({ error });
  }

  async *[Symbol.asyncIterator]() {
    while (true) {
      while (!this.#kept.length) await new Promise((resolve) => (this.#wake = resolve));
      const { value, done, error } = this.#kept.shift();
      if (error) throw error;
      if (done) return;
      yield value;
    }
  }

  #keep(one) {
    this.#kept.push(one);
    this.#wake();
  }
}

/** Tool calls that come in fragments, by place. */
export class Calls {
  #calls = new Map();

  add(place, name, args) {
    const call = this.#calls.get(place) ?? ["", ""];
    this.#calls.set(place, [call[0] + (name ?? ""), call[1] + (args ?? "")]);
  }

  *[Symbol.iterator]() {
    for (const call of this.#calls.values()) yield ["call", call];
  }
}

/** Yield the pieces of one event of the native format; its calls go to `calls`. */
export function* native(data, calls) {
  if (data.token) yield ["text", data.token];
  if (data.reasoning) yield ["reasoning", data.reasoning];
  if (data.tool_call) calls.add(data.tool_call.index, data.tool_call.name, data.tool_call.arguments);
}

/**
 * Do as standard input says, then exit: clients may keep connections and timers.
 *
 * `read(job)` yields pieces, `OwnError` is the class of the client's errors, `close` ends what is shared.
 */
export async function serve(read, OwnError, close = () => {}) {
  let stream;
  let slept;
  for await (const line of createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    if (typeof asked === "object") {
      setPatience(Math.round(asked.patience * 1000));
      slept = watchTimers();
      stream = read(asked)[Symbol.asyncIterator]();
      continue;
    }
    try {
      const { done, value } = await (asked === "leave" ? stream.return() : stream.next());
      say(done ? { ended: { slept, ...value } } : value);
    } catch (error) {
      say({ raised: described(error, OwnError) });
    }
  }
  await close();
  process.exit(0);
}

function say(what) {
  process.stdout.write(JSON.stringify(what) + "\n");
}

function described(error, OwnError) {
  const { status, code, message } = error;
  return { name: error.constructor.name, own: error instanceof OwnError, status, code, message };
}

/** How long `fetch` waits for a head, and for the next bytes of a body: 300 s unless somebody says so. */
function setPatience(milliseconds) {
  new Headers(); // or fetch has no agent yet
  const { constructor: Agent } = globalThis[DISPATCHER];
  globalThis[DISPATCHER] = new Agent({ headersTimeout: milliseconds, bodyTimeout: milliseconds });
}

/** Return the list to which every delay that any timer is asked for from now on is added, in milliseconds. */
function watchTimers() {
  const slept = [];
  globalThis.setTimeout = (call, delay, ...rest) => {
    slept.push(delay);
    return realSetTimeout(call, delay, ...rest);
  };
  return slept;
}
