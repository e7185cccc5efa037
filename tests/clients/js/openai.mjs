// The OpenAI SDK: chat completions as chunks and by the helper that accumulates, and Responses.

import OpenAI from "openai";

import { Calls, Pieces, serve } from "./pieces.mjs";

const messages = [{ role: "user", content: "?" }];

async function* chat(sdk) {
  const calls = new Calls();
  const stream = await sdk.chat.completions.create({ model: "any", messages, stream: true });
  for await (const { choices } of stream) {
    for (const { delta } of choices) {
      if (delta.content) yield ["text", delta.content];
      if (delta.reasoning_content) yield ["reasoning", delta.reasoning_content];
      for (const { index, function: called } of delta.tool_calls ?? []) {
        calls.add(index, called.name, called.arguments);
      }
    }
  }
  yield* calls;
}

async function* helper(sdk) {
  const pieces = new Pieces();
  const runner = sdk.chat.completions.stream({ model: "any", messages });
  runner.on("content", (delta) => pieces.add("text", delta));
  runner.on("tool_calls.function.arguments.done", ({ name, arguments: args }) => pieces.add("call", [name, args]));
  runner.on("error", (error) => pieces.fail(error));
  runner.on("abort", (error) => pieces.fail(error));
  runner.on("end", () => pieces.end());
  try {
    yield* pieces;
  } finally {
    runner.abort();
  }
}

async function* responses(sdk) {
  const stream = await sdk.responses.create({ model: "any", input: "?", stream: true });
  for await (const event of stream) {
    switch (event.type) {
      case "response.output_text.delta":
        yield ["text", event.delta];
        break;
      case "response.reasoning_text.delta":
      case "response.reasoning_summary_text.delta":
        yield ["reasoning", event.delta];
        break;
      case "response.output_item.done":
        if (event.item.type === "function_call") yield ["call", [event.item.name, event.item.arguments]];
    }
  }
}

const APIS = { chat, helper, responses };

await serve(({ base, patience, api }) => {
  return APIS[api](new OpenAI({ baseURL: `${base}/v1`, apiKey: "sk-mine", timeout: Math.round(patience * 1000) }));
}, OpenAI.APIError);
