// page.html in the system's Chromium, driven through playwright-core: one browser, and for each stream a context
// of its own, whose page is of the gate's origin unless the job names another.

import { readFileSync } from "node:fs";

import { chromium } from "playwright-core";

import { Calls, Pieces, native, serve } from "./pieces.mjs";

const html = readFileSync(new URL("page.html", import.meta.url), "utf-8");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

/** What the page was told went wrong. */
class Told extends Error {}

/** Note what the page asks of `url`. */
function watch(page, url, asked) {
  page.on("request", (request) => {
    if (request.url().startsWith(url) && request.method() !== "OPTIONS") asked.push(request);
  });
}

/** Return how often was asked: the methods, and the ids from which to resume. */
async function told(asked) {
  return Promise.all(
    asked.map(async (request) => [request.method(), (await request.allHeaders())["last-event-id"] ?? null]),
  );
}

async function* follow(pieces, seen) {
  const calls = new Calls();
  for await (const [kind, { data }] of pieces) {
    if (kind === "data") yield* native(data, calls);
    if (kind === "finished") seen.finished.push(data);
    if (kind === "error") seen.errors.push(data && JSON.parse(data));
    if (kind === "over") {
      seen.shown = data;
      break;
    }
  }
  yield* calls;
}

await serve(async function* ({ base, api, page: address, closes = true, quiet = false }) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const seen = { shown: null, finished: [], errors: [] };
    const asked = [];
    const pieces = new Pieces();
    watch(page, base, asked);
    page.on("pageerror", (error) => pieces.fail(error));
    await page.exposeBinding("told", (_, kind, value) => pieces.add(kind, { data: value }));
    await page.goto(address ?? new URL("/health", base).href);
    await page.setContent(html);
    await page.evaluate(({ api, path, closes }) => void start(api, path, closes), {
      api,
      path: api === "EventSource" ? `${base}?prompt=hi` : base,
      closes,
    });
    yield* follow(pieces, seen);
    const failure = [...seen.errors, ...seen.finished].find((data) => data?.error);
    if (failure && !quiet) throw new Told(failure.error);
    return { ...seen, asked: await told(asked) };
  } finally {
    await context.close();
  }
}, Told, () => browser.close());
