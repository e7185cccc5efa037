// The Anthropic SDK: Messages as events, and by the helper that accumulates.

import Anthropic from "@anthropic-ai/sdk";

import { Calls, Pieces, serve } from "./pieces.mjs";

const asked = { model: "any", max_tokens: 100, messages: [{ role: "user", content: "?" }] };

async function* messages(sdk) {
  const calls = new Calls();
  for await (const event of await sdk.messages.create({ ...asked, stream: true })) {
    if (event.type === "content_block_start" && event.content_block.type === "tool_use") {
      calls.add(event.index, event.content_block.name);
    } else if (event.type === "content_block_delta") {
      if (event.delta.text) yield ["text", event.delta.text];
      if (event.delta.thinking) yield ["reasoning", event.delta.thinking];
      if (event.delta.type === "input_json_delta") calls.add(event.index, "", event.delta.partial_json);
    }
  }
  yield* calls;
}

async function* helper(sdk) {
  const pieces = new Pieces();
  const stream = sdk.messages.stream(asked);
  stream.on("text", (delta) => pieces.add("text", delta));
  stream.on("thinking", (delta) => pieces.add("reasoning", delta));
  stream.on("finalMessage", ({ content }) => {
    for (const { type, name, input } of content) {
      if (type === "tool_use") pieces.add("call", [name, JSON.stringify(input)]);
    }
  });
  stream.on("error", (error) => pieces.fail(error));
  stream.on("abort", (error) => pieces.fail(error));
  stream.on("end", () => pieces.end());
  try {
    yield* pieces;
  } finally {
    stream.abort();
  }
}

const APIS = { messages, helper };

await serve(({ base, patience, api }) => {
  return APIS[api](new Anthropic({ baseURL: base, apiKey: "sk-mine", timeout: Math.round(patience * 1000) }));
}, Anthropic.APIError);
