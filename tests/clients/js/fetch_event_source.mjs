// @microsoft/fetch-event-source, as its README tells to use it. It wants a window and a document, and has no
// errors of its own: what its callbacks throw is what its caller gets.

import { fetchEventSource } from "@microsoft/fetch-event-source";

import { Calls, Pieces, native, serve } from "./pieces.mjs";

globalThis.window = globalThis;
globalThis.document = Object.assign(new EventTarget(), { hidden: false });

class FatalError extends Error {}
class RetriableError extends Error {}

await serve(async function* ({ base }) {
  const pieces = new Pieces();
  const calls = new Calls();
  const leaving = new AbortController();
  let isFinished = false;
  const reading = fetchEventSource(base, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: "hi" }),
    signal: leaving.signal,
    async onopen(answer) {
      if (answer.ok) return;
      if (answer.status !== 429) throw new FatalError(await answer.text());
      const seconds = Number(answer.headers.get("retry-after"));
      throw Object.assign(new RetriableError(), { interval: seconds * 1000 });
    },
    onmessage({ event, data }) {
      const said = JSON.parse(data);
      if (event === "error") throw new FatalError(said.error);
      for (const [kind, value] of native(said, calls)) pieces.add(kind, value);
      isFinished = said.finished;
    },
    onclose() {
      if (!isFinished) throw new RetriableError();
    },
    onerror(error) {
      if (error instanceof RetriableError) return error.interval;
      throw error;
    },
  });
  reading.then(
    () => pieces.end(),
    (error) => pieces.fail(error),
  );
  try {
    yield* pieces;
    yield* calls;
  } finally {
    leaving.abort();
  }
}, FatalError);
