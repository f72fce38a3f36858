/** GGUF files of ChatGLM and GLM-4: what llama.cpp makes of them, what is refused, and their texts. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { loadModel, type LoadOptions, ModelError } from "../mod.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { chatTemplate } from "../runtime/text/chat_template.ts";
import { readModelText } from "../runtime/text/model_text.ts";
import { ggufBytes } from "./fixtures.ts";
import { type Contents, contentsOf, IDS, MODELS, PLACES } from "./glm_gguf.ts";

interface Golden {
  architecture: string;
  name: string;
  /** Of some tokens: the most likely next ones and their probabilities. */
  rows: [id: number, probability: number][][];
}

const { models: GOLDEN }: { models: Golden[] } = JSON.parse(
  await Deno.readTextFile(new URL("golden/llama_cpp_glm.json", import.meta.url)),
);

async function run(
  contents: Contents,
  options: LoadOptions = { backend: "reference" },
): Promise<{ logits: Float32Array; warnings: readonly string[] }> {
  const warnings: string[] = [];
  await using model = await loadModel(new Blob([await ggufBytes(contents)]), {
    onWarning: (message) => warnings.push(message),
    ...options,
  });
  return { logits: await model.logits({ ids: [...IDS] }), warnings };
}

function probabilities(logits: Float32Array, place: number): number[] {
  const vocab = logits.length / IDS.length;
  const row = Array.from(logits.subarray(place * vocab, (place + 1) * vocab));
  const most = Math.max(...row), weights = row.map((it) => Math.exp(it - most));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((it) => it / sum);
}

/** llama.cpp rounds keys and values to 16 bits. */
const BOUND = 3e-3;

for (const [architecture, name] of MODELS) {
  Deno.test(`GGUF of ${architecture}, ${name}: as llama.cpp runs it`, async () => {
    const golden = GOLDEN.find((it) => it.architecture === architecture && it.name === name)!;
    const { logits, warnings } = await run(contentsOf(architecture, name));
    PLACES.forEach((place, i) => {
      const found = probabilities(logits, place);
      for (const [id, probability] of golden.rows[i]!) {
        const off = Math.abs(found[id]! - probability);
        assert(off <= BOUND, `token ${id} after ${place} is off by ${off}`);
      }
    });
    assertEquals(warnings, []);
  });
}

Deno.test("GGUF of chatglm and glm4: the expected values tell the variants apart", () => {
  // One tensor or three makes no difference.
  assertEquals(new Set(GOLDEN.map((it) => JSON.stringify(it.rows))).size, GOLDEN.length - 2);
});

Deno.test("GGUF of chatglm: rows of a fused tensor are taken from packed ones", async () => {
  for (const type of ["Q8_0", "Q4_0", "F16"] as const) {
    for (const backend of ["reference", "wasm"] as const) {
      const options = { backend, threads: 1 } as const;
      const fused = await run(contentsOf("chatglm", { fused: true, biased: true, type }), options);
      const apart = await run(contentsOf("chatglm", { biased: true, type }), options);
      assertEquals(fused, apart);
      assertEquals(fused.warnings, []);
    }
  }
});

const REFUSED: Readonly<Record<string, MetadataValue>> = {
  "attention.scale": { type: "f32", value: 0.7 },
  "attention.value_length": { type: "u32", value: 4 },
  "expert_count": { type: "u32", value: 4 },
  "nextn_predict_layers": { type: "u32", value: 1 },
  "rope.dimension_sections": { type: "array", items: "i32", value: [1, 1, 0, 0] },
  "rope.scaling.type": { type: "string", value: "longrope" },
  "rope.dimension_count": { type: "u32", value: 5 },
};

for (const [field, value] of Object.entries(REFUSED)) {
  Deno.test(`GGUF of glm4: ${field} ${JSON.stringify(value.value)} is refused`, async () => {
    const contents = contentsOf("glm4", "fused");
    contents.fields.set(`glm4.${field}`, value);
    const { message } = await assertRejects(() => run(contents), ModelError);
    const named = field === "attention.value_length"
      ? "values have the length 4, expected that of keys, 8"
      : field === "rope.dimension_count"
      ? "5 elements of which rotate"
      : field;
    assertStringIncludes(message, named);
  });
}

const TOKENS = [
  ...["<|endoftext|>", "[MASK]", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"],
  ..."abcdefgh",
];

Deno.test("GGUF of ChatGLM and GLM-4 without a template have their family's, and end where it does", async () => {
  for (const [architecture, pre] of [["chatglm", "chatglm-bpe"], ["glm4", "glm4"]] as const) {
    const metadata = {
      "general.architecture": architecture,
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": pre,
      "tokenizer.ggml.tokens": TOKENS,
      "tokenizer.ggml.token_type": TOKENS.map((it) => it.length > 1 ? 3 : 1),
      "tokenizer.ggml.merges": [],
      "tokenizer.ggml.eos_token_id": 0,
      "tokenizer.ggml.eot_token_id": 5,
    };
    const file: ModelFile = {
      ...{ format: "gguf", name: "x", metadata, tensors: new Map(), close() {} },
    };
    const { tokenizer, chatTemplate: source } = (await readModelText(file))!;
    const messages = [{ role: "user", content: "abba" }];
    const { render, pieces } = await chatTemplate(source);
    assertEquals(render(messages), "[gMASK]<sop><|user|>\nabba<|assistant|>");
    const ids = tokenizer.encode(pieces(messages), { addSpecial: false });
    assertEquals(ids.filter((id) => id < 7), [2, 3, 5, 6]);
    assertEquals(new Set(tokenizer.eosIds), new Set([0, 5]));
    const own = { ...file, metadata: { ...metadata, "tokenizer.chat_template": "own" } };
    const other = await chatTemplate((await readModelText(own))!.chatTemplate);
    assertEquals(other.render(messages), "own");
  }
});

Deno.test("GGUF of ChatGLM3 has pieces by score, and its own format", async () => {
  const tokens = [
    ...[
      "<unk>",
      "<bos>",
      "<eos>",
      "▁",
      "a",
      "b",
      "▁ab",
      "[MASK]",
      "[gMASK]",
      "[sMASK]",
      "sop",
      "eop",
    ],
    ...["<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<0x0A>"],
  ];
  const metadata = {
    "general.architecture": "chatglm",
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.pre": "chatglm-spm",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.scores": tokens.map((it) => it.length),
    "tokenizer.ggml.token_type": tokens.map((_, i) => i < 3 ? 3 : i < 7 ? 1 : i < 16 ? 3 : 6),
    "tokenizer.ggml.add_bos_token": false,
  };
  const { tokenizer, chatTemplate: source } = (await readModelText({
    ...{ format: "gguf", name: "x", metadata, tensors: new Map(), close() {} },
  }))!;
  const { render, pieces } = await chatTemplate(source);
  const messages = [{ role: "user", content: "ab" }];
  assertEquals(render(messages), "[gMASK]sop<|user|>\n ab<|assistant|>");
  const ids = tokenizer.encode(pieces(messages), { addSpecial: false });
  const specials = ids.filter((id) => id >= 7 && id < 16).map((id) => tokens[id]);
  assertEquals(specials, ["[gMASK]", "sop", "<|user|>", "<|assistant|>"]);
});
