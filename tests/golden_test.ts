/**
 * Golden models: tiny models of every architecture whose logits and greedy continuations were
 * computed by the original implementations.
 */

import { assert } from "@std/assert";
import { loadModel } from "../mod.ts";
import { FIXTURES } from "./fixtures.ts";
import { BACKENDS, CHECKS, type GoldenCase } from "./golden_checks.ts";
import { skipUnless } from "./skips.ts";
import { withFolder } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

/**
 * Those whose weights are quantized in their files, with the difference of logits where `wasm` rounds
 * activations to 8 bits, for products with such weights.
 */
const QUANTIZED: Readonly<Record<string, number>> = {
  "chatglm6b-int4": 0.05,
  "chatglm6b-int8": 0.05,
  "llama-awq": 0.2,
  "llama-gptq": 0.2,
  "llama-gptq-actorder": 0.2,
};

/** Those of the fixtures whose architectures run. */
const MODELS = [
  ...["llama-bias", "llama-linear", "llama-yarn", "mistral-window"],
  ...["opt", "opt-narrow", "opt-plain"],
  ...["mixtral-narrow", "olmoe", "qwen2-moe-step", "qwen3-moe-dense"],
  ...["llama", "llama3-rope", "mixtral", "qwen2", "qwen2-moe", "qwen3", "qwen3-moe"],
  ...[
    "albert",
    "bert",
    "bert-unilm",
    "distilbert",
    "ernie",
    "gpt2",
    "nomic-bert",
    "nomic-bert-masked",
    "roberta",
    "t5-v1.0",
    "t5-v1.1",
    "mt5",
    "yuan1",
  ],
  ...[
    "chatglm2",
    "chatglm6b",
    "chatglm6b-3layer",
    "glm",
    "glm-130b",
    "glm4",
    "marian",
    "pangu-alpha",
    "switch",
  ],
  ...Object.keys(QUANTIZED),
  "llama-gptq-g16", // whose groups fit no layout of integers: it is held as f32
  ...["transfo-xl", "transfo-xl-bare", "transfo-xl-one", "transfo-xl-pre", "transfo-xl-segments"],
];

/** Data of other people, which tests read where it lies beside the repository. */
const ELSEWHERE = new URL("../../shared/golden/", import.meta.url);
const isElsewhere = await Deno.stat(ELSEWHERE).then(() => true, () => false);
const OTHERS = [
  ...["chatglmcpp-glm", "chatglmcpp-glm2", "chatglmcpp-glm3", "chatglmcpp-glm4"],
  "gpt2-sort",
];
skipUnless(isElsewhere, "the golden models of other people are not beside the repository");

/**
 * What a configuration lacks. This model was run with positions that its caller gave; with these ids
 * its prompt 0, 1, 2 has them: a mask in place 1, and an answer that begins behind it.
 */
const ADDED: Readonly<Record<string, object>> = {
  "chatglmcpp-glm": { gmask_token_id: 1, mask_token_id: 4, bos_token_id: 2 },
};

/** Runs `body` on a golden model's folder, or on a copy with what its configuration lacks. */
async function withModel(
  folder: URL,
  added: object | undefined,
  body: (place: URL | string) => Promise<void>,
): Promise<void> {
  if (!added) return await body(folder);
  const config = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
  await withFolder({
    "config.json": JSON.stringify({ ...config, ...added }),
    "model.safetensors": await Deno.readFile(new URL("model.safetensors", folder)),
  }, body);
}

for (const architecture of [...MODELS, ...OTHERS]) {
  const isOther = OTHERS.includes(architecture);
  const folder = new URL(`${architecture}/`, isOther ? ELSEWHERE : new URL("golden/", FIXTURES));
  for (const { bound: exact, ...options } of BACKENDS) {
    const { backend, threads } = options;
    const rounds = backend === "wasm" || "gpuLayers" in options;
    const bound = rounds ? QUANTIZED[architecture] ?? exact : exact;
    Deno.test({
      name: `golden() ${architecture} on ${backend} with ${threads} threads` +
        ("gpuLayers" in options ? ", one layer on the GPU" : ""),
      ignore: backend === "webgpu" && !hasWebgpu || isOther && !isElsewhere,
      async fn(): Promise<void> {
        const { cases } = JSON.parse(await Deno.readTextFile(new URL("expected.json", folder)));
        const given = isOther ? { ...options, onWarning() {} } : options;
        await withModel(folder, ADDED[architecture], async (place) => {
          await using model = await loadModel(place, given);
          for (const row of cases as GoldenCase[]) {
            const max = await CHECKS[row.kind]!(model, row);
            assert(max <= bound, `${row.name}: off by ${max}, at most ${bound} expected`);
          }
        });
      },
    });
  }
}
