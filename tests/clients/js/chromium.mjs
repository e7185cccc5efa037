// A page in the system's Chromium, driven through playwright-core: one browser, a fresh context for each job.

import { chromium } from "playwright-core";

import { answerJobs } from "./reading.mjs";

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

/** Load `job.page`, start the client there, and return what it saw once it is over, or shows `job.leaves`. */
async function visit(job, context) {
  const page = await context.newPage();
  const asked = [];
  page.on("request", (request) => {
    const { pathname } = new URL(request.url());
    if (pathname === job.watches) asked.push([request.method(), request.headers()["last-event-id"] ?? null]);
  });
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(job.page);
  await page.evaluate((job) => start(job), job);
  if (job.leaves) {
    await page.waitForFunction(() => out.textContent);
    await (job.leaves === "page" ? page.close() : page.evaluate(() => seen.source.close()));
    return { asked, complaints };
  }
  await page.waitForFunction(() => isOver(), undefined, { polling: 20 });
  const state = await page.evaluate(() => ({ ...seen, source: null, shown: out.textContent }));
  return { ...state, asked, complaints };
}

await answerJobs(async (job) => {
  const context = await browser.newContext();
  try {
    return await visit(job, context);
  } finally {
    await context.close();
  }
});
await browser.close();
