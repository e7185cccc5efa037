// Vercel's AI SDK on a server: streamText through @ai-sdk/openai-compatible.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { jsonSchema, streamText, tool } from "ai";

import { serve } from "./pieces.mjs";

/** Its stream raises nothing: what went wrong is a part of it, and `error` is what the gate sent. */
class ErrorPart {
  constructor(error) {
    Object.assign(this, error, { message: error.message ?? String(error) });
  }
}

const anything = tool({ inputSchema: jsonSchema({ type: "object" }) });
// It checks calls against the tools that were offered; offered is whatever is called.
const tools = new Proxy({}, { get: () => anything, has: () => true, ownKeys: () => [] });

await serve(async function* ({ base }) {
  const gate = createOpenAICompatible({ name: "gate", baseURL: `${base}/v1`, apiKey: "sk-mine" });
  const leaving = new AbortController();
  const { fullStream } = streamText({
    model: gate("any"),
    prompt: "?",
    tools,
    abortSignal: leaving.signal,
    onError() {}, // it would print what the stream has as a part
  });
  try {
    for await (const part of fullStream) {
      if (part.type === "text-delta") yield ["text", part.text];
      if (part.type === "reasoning-delta") yield ["reasoning", part.text];
      if (part.type === "tool-call") yield ["call", [part.toolName, JSON.stringify(part.input)]];
      if (part.type === "error") throw new ErrorPart(part.error);
    }
  } finally {
    leaving.abort();
  }
}, ErrorPart);
