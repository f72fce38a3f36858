/**
 * Configurations mean what the original implementation makes of them: windows of each layer, rotary
 * positions, biases, experts, and everything that a file leaves open.
 */

import { assert, assertEquals } from "@std/assert";
import { argmax } from "../runtime/generation/most_likely.ts";
import { distance, IDS, setting, SETTINGS, withSetting } from "./settings.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

/** Settings about which the user is told something. */
const TOLD: Readonly<Record<string, string>> = {
  "llama, window of others": "sliding_window",
  "mistral, window, switch of others": "use_sliding_window",
};

for (const it of SETTINGS) {
  const name = `${it.architecture}, ${it.name}`;
  Deno.test(`settings: ${name}`, async () => {
    for (
      const { backend, bound } of [
        { backend: "reference", bound: 1e-4 },
        { backend: "wasm", bound: 1e-3 },
      ] as const
    ) {
      await withSetting(it, { backend }, async (model, warnings) => {
        const off = distance(await model.logits({ ids: IDS }), it.logits);
        assert(off <= bound, `logits on ${backend} differ by ${off}, at most ${bound} expected`);
        // Tensors of biases that a configuration does not switch on are told as well.
        const told = warnings.filter((it) => /\bfields?\b/.test(it));
        assertEquals(told.length, name in TOLD ? 1 : 0, told.join("\n"));
        if (name in TOLD) assert(told[0]!.includes(`"${TOLD[name]}"`), told[0]);
      });
    }
  });
}

const WINDOWS = [
  setting("qwen2", "window from a layer on"),
  setting("qwen3", "window of named layers"),
  setting("qwen2_moe", "window in even layers"),
  setting("mistral", "window"),
];

/** Backends, and models divided between two. */
const BACKENDS = [
  { name: "wasm", options: { backend: "wasm", threads: 2 } },
  { name: "webgpu", options: { backend: "webgpu" } },
  { name: "two layers on the GPU", options: { backend: "webgpu", gpuLayers: 2 } },
] as const;

for (const { name, options } of BACKENDS) {
  Deno.test({
    name: `settings: windows of some layers on ${name}`,
    ignore: options.backend === "webgpu" && !hasWebgpu,
    async fn(): Promise<void> {
      for (const it of WINDOWS) {
        const expected: number[] = [];
        await withSetting(it, { backend: "reference" }, async (model) => {
          using session = model.session();
          let logits = await session.prefill(IDS.slice(0, 12));
          for (let i = 0; i < 20; i++) {
            expected.push(argmax(logits));
            logits = await session.step(expected.at(-1)!);
          }
        });
        await withSetting(it, { ...options, sequences: 2 }, async (model) => {
          // A whole text, token by token, and generated, which a GPU does ahead.
          const off = distance(await model.logits({ ids: IDS }), it.logits);
          assert(off <= 1e-3, `${it.architecture}: logits differ by ${off}`);
          using session = model.session();
          let last = await session.prefill(IDS.slice(0, 3));
          for (const id of IDS.slice(3)) last = await session.step(id);
          const row = it.logits[IDS.length - 1]!;
          const stepOff = Math.max(...row.map((value, i) => Math.abs(value - last[i]!)));
          assert(stepOff <= 1e-3, `${it.architecture}, step by step: logits differ by ${stepOff}`);
          const generate = async (): Promise<number[]> => {
            using session = model.session();
            const ids: number[] = [];
            const prompt = IDS.slice(0, 12);
            const limits = { temperature: 0, maxTokens: 20, stopIds: [] };
            for await (const { id } of session.generate(prompt, limits)) ids.push(id);
            return ids;
          };
          assertEquals(await generate(), expected);
          // Two texts at once run as batches.
          assertEquals(await Promise.all([generate(), generate()]), [expected, expected]);
        });
      }
    },
  });
}
