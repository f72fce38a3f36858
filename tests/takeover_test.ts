/** A session that is given a new text while the last one is still under way: aborted or left. */

import { assertEquals, assertRejects } from "@std/assert";
import { loadModel, type Model, type Session } from "../mod.ts";
import { tinyBlob, type TinyOptions } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const OPTIONS = { temperature: 0, maxTokens: 12, stopIds: [] } as const;
const BIG: TinyOptions = { context: 256, hidden: 64, intermediate: 512, layers: 6 };
const LONG = Array.from({ length: 200 }, (_, i) => 3 + i % 40), SHORT = [5, 6, 7];

async function ids(session: Session, prompt: readonly number[]): Promise<number[]> {
  return [...(await session.complete(prompt, OPTIONS)).ids];
}

async function withModel(
  load: { backend: "wasm" | "webgpu" },
  body: (model: Model, expected: number[]) => Promise<void>,
): Promise<void> {
  await using model = await loadModel(await tinyBlob(BIG), { threads: 2, ...load });
  await body(model, await ids(model.session(), SHORT));
}

for (const backend of ["wasm", "webgpu"] as const) {
  const ignore = backend === "webgpu" && !hasWebgpu;

  for (const tokens of [0, 1, 3]) {
    Deno.test({
      name: `${backend}: generate() right after an abort that nobody awaited, at token ${tokens}`,
      ignore,
      fn: () =>
        withModel({ backend }, async (model, expected) => {
          using session = model.session();
          for (const prompt of [SHORT, LONG]) {
            const controller = new AbortController(), { signal } = controller;
            const first = session.generate(prompt, { ...OPTIONS, maxTokens: 40, signal });
            for (let i = 0; i < tokens; i++) await first.next();
            const reason = new Error("enough");
            const pending = assertRejects(() => first.next(), Error, "enough");
            // Its step is on the backend by now.
            await Promise.resolve();
            await Promise.resolve();
            controller.abort(reason);
            assertEquals(await ids(session, SHORT), expected);
            await pending;
            assertEquals(session.history.slice(0, SHORT.length), SHORT);
          }
        }),
    });
  }

  Deno.test({
    name: `${backend}: generate() right after a text that was left without waiting`,
    ignore,
    fn: () =>
      withModel({ backend }, async (model, expected) => {
        using session = model.session();
        const first = session.generate(LONG, OPTIONS);
        await first.next();
        const pending = first.next();
        first.return(); // nobody waits for it
        assertEquals(await ids(session, SHORT), expected);
        await pending.catch(() => {});
      }),
  });
}
