/** `quantizeModel` with models that write no texts by themselves: encoder–decoders. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { ModelError } from "../errors.ts";
import { loadModel } from "../mod.ts";
import { quantizeModel } from "../quantize/quantize_model.ts";
import { ggufBytes } from "./fixtures.ts";
import { difference } from "./golden_checks.ts";
import { goldenContents } from "./golden_gguf.ts";

Deno.test("an encoder–decoder is quantized to nearest, and by no method that needs texts", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const source = `${folder}/t5.gguf`, made = `${folder}/q.gguf`;
    await Deno.writeFile(source, await ggufBytes(await goldenContents("mt5")));
    for (const method of ["gptq", "importance"] as const) {
      await assertRejects(
        () => quantizeModel(source, made, { method }),
        ModelError,
        `it is an encoder–decoder, whose texts would need sources; use method "nearest"`,
      );
    }
    const { tensors, tokens } = await quantizeModel(source, made, {
      ...{ method: "nearest", type: "Q4_0" },
    });
    assertEquals(tokens, 0);
    const typeOf = (name: string): string | undefined =>
      tensors.find((it) => it.name === name)?.type;
    assertEquals(typeOf("enc.blk.0.attn_q.weight"), "Q4_0");
    assertEquals(typeOf("dec.blk.0.cross_attn_k.weight"), "Q4_0");
    assertEquals(typeOf("token_embd.weight"), "Q8_0"); // which is in no layer
    assertEquals(typeOf("output.weight"), "Q8_0");
    assertEquals(typeOf("dec.output_norm.weight"), "F32");
    const prompt = { ids: [3, 4, 5, 1], decoderIds: [0, 7] };
    await using base = await loadModel(source, { backend: "reference" });
    await using model = await loadModel(made, { backend: "reference" });
    const expected = Array.from(await base.logits(prompt));
    const off = difference(await model.logits(prompt), expected);
    assert(off > 0 && off < 0.5 * Math.max(...expected.map(Math.abs)), `off by ${off}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
