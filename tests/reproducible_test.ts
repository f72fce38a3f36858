/** The mode whose numbers are the same on every processor and with any number of threads. */

import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { InputError, loadModel } from "../mod.ts";

const MOD = JSON.stringify(new URL("../mod.ts", import.meta.url).href);

/** Prints the bits of logits, and a text, of the model that comes with Sparrow. */
const PROGRAM = `
const { loadModel } = await import(${MOD});
const [reproducible, threads, cacheType] = Deno.args;
await using model = await loadModel(undefined, {
  backend: "wasm", threads: Number(threads), cacheType, reproducible: reproducible === "true",
});
using session = model.session();
const words = [];
const keep = (logits) => words.push(...new Uint32Array(logits.buffer));
const ids = model.tokenizer.encode("春眠不觉晓，".repeat(30));
keep(await session.prefill(ids));
for (const id of ids.slice(0, 12)) keep(await session.step(id));
const { text } = await model.complete("春眠不觉晓，", { seed: 3 });
const bits = new Uint8Array(await crypto.subtle.digest("SHA-256", Uint32Array.from(words)));
console.log(JSON.stringify([Array.from(bits).join(" "), text]));
`;

/** The program's bits and text on a processor that lacks what the flags take away. */
async function run(
  reproducible: boolean,
  threads: number,
  cacheType: string,
  ...flags: string[]
): Promise<[bits: string, text: string]> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, PROGRAM);
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-check", "--no-lock", ...flags.map((it) => `--v8-flags=${it}`), file],
        ...[String(reproducible), String(threads), cacheType],
      ],
    }).output();
    const text = new TextDecoder().decode(stdout);
    assert(text.startsWith("["), new TextDecoder().decode(stderr));
    return JSON.parse(text);
  } finally {
    await Deno.remove(file);
  }
}

for (const cacheType of ["f32", "f16", "int8"]) {
  Deno.test(`reproducible logits are the same to the bit everywhere, cache of ${cacheType}`, async () => {
    const expected = await run(true, 1, cacheType);
    const others = [
      await run(true, 2, cacheType),
      await run(true, 3, cacheType),
      // Processors without fused multiply–add, and without 256-bit vectors.
      await run(true, 2, cacheType, "--no-enable-fma3"),
      await run(true, 2, cacheType, "--no-enable-avx"),
    ];
    for (const other of others) assertEquals(other, expected);
  });
}

Deno.test({
  name: "without it, a processor that does not fuse multiply and add gives other bits",
  ignore: Deno.build.arch !== "x86_64",
  async fn() {
    const [fused] = await run(false, 1, "f32");
    const [apart] = await run(false, 1, "f32", "--no-enable-fma3");
    const [plain] = await run(true, 1, "f32");
    // On a processor that has no such instruction both are the same already.
    if (fused !== plain) assertNotEquals(fused, apart);
    assertEquals(apart, plain);
  },
});

Deno.test("reproducible numbers are those of wasm, and other backends are refused with it", async () => {
  await using model = await loadModel(undefined, { reproducible: true });
  assertEquals(model.backend, "wasm");
  for (
    const options of [{ backend: "webgpu" }, { backend: "reference" }, { gpuLayers: 2 }] as const
  ) {
    await assertRejects(
      () => loadModel(undefined, { ...options, reproducible: true }),
      InputError,
      "and reproducible: only backend wasm gives the same numbers everywhere",
    );
  }
});
