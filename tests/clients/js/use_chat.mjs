// What useChat of Vercel's AI SDK is made of, without React: its chat on its transport, or the transport and
// readUIMessageStream alone.

import { AbstractChat, DefaultChatTransport, readUIMessageStream } from "ai";

import { Pieces, serve } from "./pieces.mjs";

/** What @ai-sdk/react keeps in React; tells of each change to a message. */
class State {
  status = "ready";
  error = undefined;
  messages = [];

  constructor(changed) {
    this.changed = changed;
  }

  pushMessage = (message) => {
    this.messages.push(message);
    this.changed(message);
  };

  popMessage = () => this.messages.pop();

  replaceMessage = (index, message) => {
    this.messages[index] = message;
    this.changed(message);
  };

  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {}

/** A plain `Error`, which is what the SDK makes of an error it is sent; all else is a fault of its reading. */
class ChatError extends Error {
  static of(error) {
    return error.constructor === Error ? new ChatError(error.message) : error;
  }
}

function transportTo(base) {
  return new DefaultChatTransport({
    api: base,
    // As its documents tell for a server that wants only the last message.
    prepareSendMessagesRequest: ({ messages }) => ({ body: { prompt: messages.at(-1).parts[0].text } }),
  });
}

/** Yield what a message says more than before; it grows, and its calls are whole once their input is. */
class Growth {
  #said = { text: 0, reasoning: 0 };
  #called = new Set();

  *of({ role, parts }) {
    if (role !== "assistant") return;
    for (const kind of ["text", "reasoning"]) {
      const said = parts.filter(({ type }) => type === kind).map(({ text }) => text).join("");
      if (said.length > this.#said[kind]) yield [kind, said.slice(this.#said[kind])];
      this.#said[kind] = said.length;
    }
    for (const { type, toolName, toolCallId, state, input } of parts) {
      if (state !== "input-available" || this.#called.has(toolCallId)) continue;
      this.#called.add(toolCallId);
      yield ["call", [toolName ?? type.slice("tool-".length), JSON.stringify(input)]];
    }
  }
}

async function* chat(base) {
  const pieces = new Pieces();
  const growth = new Growth();
  const state = new State((message) => {
    for (const [kind, value] of growth.of(message)) pieces.add(kind, value);
  });
  const chat = new Chat({ transport: transportTo(base), state });
  chat.sendMessage({ text: "hi" }).then(() => (chat.error ? pieces.fail(ChatError.of(chat.error)) : pieces.end()));
  try {
    yield* pieces;
  } finally {
    await chat.stop();
  }
}

async function* reader(base) {
  const growth = new Growth();
  const leaving = new AbortController();
  try {
    const stream = await transportTo(base).sendMessages({
      chatId: "1",
      messages: [{ id: "1", role: "user", parts: [{ type: "text", text: "hi" }] }],
      trigger: "submit-message",
      abortSignal: leaving.signal,
    });
    for await (const message of readUIMessageStream({ stream, terminateOnError: true })) yield* growth.of(message);
  } catch (error) {
    throw ChatError.of(error);
  } finally {
    leaving.abort();
  }
}

const APIS = { chat, reader };

await serve(({ base, api }) => APIS[api](base), ChatError);
