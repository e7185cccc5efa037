// The npm package eventsource, by the handlers that pages have: closed on `finished`, and on any error.

import { EventSource } from "eventsource";

import { Calls, Pieces, native, serve } from "./pieces.mjs";

/** An `error` event that has data, as the server's have. */
class MessageEvent extends Error {}

/** An `error` event of the client's own. */
class ErrorEvent extends Error {}

await serve(async function* ({ base }) {
  const pieces = new Pieces();
  const calls = new Calls();
  const source = new EventSource(`${base}?prompt=hi`);
  source.onmessage = ({ data }) => {
    const said = JSON.parse(data);
    for (const [kind, value] of native(said, calls)) pieces.add(kind, value);
    if (said.finished) {
      source.close();
      pieces.end();
    }
  };
  // Unlike a browser's, its `onerror` is not told of events that the server calls so.
  source.addEventListener("error", ({ data, message }) => {
    source.close();
    pieces.fail(data ? new MessageEvent(JSON.parse(data).error) : new ErrorEvent(message));
  });
  try {
    yield* pieces;
    yield* calls;
  } finally {
    source.close();
  }
}, MessageEvent);
