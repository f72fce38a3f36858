/**
 * The model that comes with Sparrow: it is there, small, and used where no other is named.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { loadModel } from "../mod.ts";
import { DEFAULT_MODEL } from "../runtime/load.ts";

async function complete(prompt: string, threads: number): Promise<string> {
  await using model = await loadModel(undefined, { threads });
  let text = "";
  const options = { temperature: 0, maxTokens: 24 };
  for await (const token of model.session().generate(prompt, options)) text += token.text;
  return text;
}

Deno.test("the default model is at most 12 MB", async () => {
  assert((await Deno.stat(DEFAULT_MODEL)).size <= 12e6);
});

Deno.test("the default model continues both languages, alike on 1 and 2 threads", async () => {
  const verse = await complete("春眠不觉晓，", 1);
  assertMatch(verse, /^[\p{Script=Han}，。\n]+$/u);
  assertEquals(await complete("春眠不觉晓，", 2), verse);
  assertMatch(await complete("It was a dark night", 2), /^[\p{ASCII}]{20,}$/u);
});

Deno.test("the default model knows when a poem ends", async () => {
  await using model = await loadModel();
  let reason: string | undefined;
  const options = {
    seed: 1,
    maxTokens: 200,
    onFinish: (it: { stopReason: string }) => reason = it.stopReason,
  };
  for await (const _ of model.session().generate("《登高》\n", options));
  assertEquals(reason, "stop");
});
