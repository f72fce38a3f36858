/** Synthetic models: of every family a folder that loads and gives the same numbers everywhere. */

import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { withLayers, withType, writeSyntheticFolder } from "../bench/synthetic_folder.ts";
import type { Config } from "../bench/synthetic_tokenizer.ts";
import { measureExperts } from "../bench/experts.ts";
import { randomBytes } from "../bench/synthetic_numbers.ts";
import { SHAPES } from "../cli/shapes.ts";
import { InputError } from "../errors.ts";
import { loadModel, loadTokenizer, type Prompt } from "../mod.ts";
import { paperTensors } from "../runtime/engine/paper_model.ts";
import { FIXTURES } from "./fixtures.ts";

async function readConfig(golden: string): Promise<Config> {
  return JSON.parse(await Deno.readTextFile(new URL(`golden/${golden}/config.json`, FIXTURES)));
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A prompt for any model. */
function promptOf({ model_type: type, gmask_token_id: mask, bos_token_id: bos }: Config): Prompt {
  const isPrefix = type === "chatglm" && typeof mask === "number";
  return { ids: isPrefix ? [5, 9, 11, mask, bos as number, 7] : [5, 9, 11, 8, 6, 7] };
}

async function logitsOf(folder: string, backend: "reference" | "wasm"): Promise<Float32Array> {
  const config = JSON.parse(await Deno.readTextFile(`${folder}/config.json`));
  const warnings: string[] = [];
  await using model = await loadModel(folder, {
    backend,
    threads: 1,
    onWarning: (message) => warnings.push(message),
  });
  const logits = await model.logits(promptOf(config));
  assertEquals(warnings.filter((it) => it.includes("not used")), []);
  return logits;
}

/** A root mean square. */
function size(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, it) => sum + it * it, 0) / values.length);
}

/** Golden models of every family, whose configurations are tiny. */
const FAMILIES = [
  ...[
    "albert",
    "bert",
    "ernie",
    "roberta",
    "distilbert",
    "chatglm6b-3layer",
    "chatglm6b-int4",
    "chatglm2",
  ],
  ...["gpt2", "llama", "marian", "mixtral", "mt5", "olmoe", "pangu-alpha", "qwen2-moe", "qwen3"],
  ...["chatglm6b-int8", "switch", "t5-v1.0", "t5-v1.1", "transfo-xl", "transfo-xl-pre", "yuan1"],
];

Deno.test("a synthetic folder of every family loads, and gives the same numbers on reference and wasm", async () => {
  for (const name of FAMILIES) {
    const config = await readConfig(name);
    await inFolder(async (folder) => {
      await writeSyntheticFolder(folder, config, { seed: 3 });
      const [reference, wasm] = [
        await logitsOf(folder, "reference"),
        await logitsOf(folder, "wasm"),
      ];
      assert(reference.every(Number.isFinite), name);
      const scale = size(reference);
      assert(scale > 0.02 && scale < 50, `${name}: logits of size ${scale}`);
      const rows = reference.length / 6, last = reference.subarray(-rows);
      assertNotEquals(reference.subarray(0, rows), last, `${name}: all tokens give the same`);
      const difference = size(reference.map((it, i) => it - wasm[i]!)) / scale;
      // Products with whole numbers round their activations.
      const most = "quantization_bit" in config ? 0.1 : 1e-3;
      assert(difference < most, `${name}: wasm differs by ${difference}`);
    });
  }
});

Deno.test("the same seed gives the same bytes, another one others", async () => {
  const config = await readConfig("chatglm6b-int4");
  const files = async (seed: number): Promise<Record<string, Uint8Array>> => {
    const found: Record<string, Uint8Array> = {};
    await inFolder(async (folder) => {
      await writeSyntheticFolder(folder, config, { seed });
      for (const { name } of Deno.readDirSync(folder)) {
        found[name] = await Deno.readFile(`${folder}/${name}`);
      }
    });
    return found;
  };
  const [first, again, other] = [await files(1), await files(1), await files(2)];
  assertEquals(first, again);
  assertEquals(Object.keys(first).sort(), Object.keys(other).sort());
  assertNotEquals(first["model.safetensors"], other["model.safetensors"]);
});

Deno.test("a folder of several files holds the same model as one file", async () => {
  const config = await readConfig("qwen3");
  await inFolder((one) =>
    inFolder(async (many) => {
      await writeSyntheticFolder(one, config);
      await writeSyntheticFolder(many, config, { shardBytes: 20_000 });
      const names = Array.from(Deno.readDirSync(many), (it) => it.name);
      assert(names.filter((it) => it.endsWith(".safetensors")).length > 3, names.join(" "));
      assertEquals(await logitsOf(many, "wasm"), await logitsOf(one, "wasm"));
    })
  );
});

Deno.test("numbers come in pieces, and have the spread of their kind", async () => {
  const [words, codes, scales] = (await paperTensors(SHAPES["chatglm-6b-int4"]!.config, "big"))
    .filter((it) => /word_embeddings|layers\.0\.mlp\.dense_4h_to_h\.weight/.test(it.name));
  const read = <T>(tensor: typeof words, view: (bytes: ArrayBuffer) => T): T => {
    const [piece] = randomBytes(tensor!, 1, 0);
    assert(piece!.length <= 2 ** 22, `${piece!.length} bytes`);
    return view(piece!.slice().buffer);
  };
  const halves = read(words, (it) => Float32Array.from(new Float16Array(it)));
  assert(Math.abs(size(halves) * Math.sqrt(4096) - 1) < 0.01, `${size(halves)}`);
  const nibbles = read(codes, (it) => new Int8Array(it));
  const pairs = Float32Array.from(
    Array.from(nibbles.subarray(0, 1e5)).flatMap((it) => [it << 24 >> 28, it << 28 >> 28]),
  );
  assertEquals([Math.min(...pairs.subarray(0, 1e4)), Math.max(...pairs.subarray(0, 1e4))], [-7, 7]);
  const steps = read(scales, (it) => Float32Array.from(new Float16Array(it)));
  // Numbers of the matrix are codes times scales.
  const spread = size(pairs) * size(steps) * Math.sqrt(16384);
  assert(Math.abs(spread - 1) < 0.05, `${spread}`);
});

Deno.test("a synthetic ChatGLM-6B has its tokens at the published ids, and its chat format", async () => {
  const config = { ...withLayers(SHAPES["chatglm-6b"]!.config, 1), ...TINY_CHATGLM };
  await inFolder(async (folder) => {
    assertEquals((await writeSyntheticFolder(folder, config)).notes, []);
    const tokenizer = await loadTokenizer(folder);
    assertEquals(tokenizer.vocabSize, 130528);
    for (
      const [token, id] of [["[MASK]", 130000], ["[gMASK]", 130001], ["<sop>", 130004]] as const
    ) {
      assertEquals(tokenizer.tokenToId(token), id);
    }
    const ids = tokenizer.encode("你好\n\tab  c");
    assertEquals(ids.slice(-2), [130001, 130004]);
    assertEquals(tokenizer.decode(ids.slice(0, -2)).trim(), "你好\n\tab  c");
    await using model = await loadModel(folder, { contextLength: 64, threads: 1 });
    const messages = [{ role: "user", content: "hi" }];
    const { usage } = await model.chat(messages, { maxTokens: 3 });
    assertEquals(usage.promptTokens, tokenizer.encode("hi").length);
  });
});

const TINY_CHATGLM = { hidden_size: 16, inner_hidden_size: 32, num_attention_heads: 2 };

Deno.test("synthetic tokenizers encode every text and decode it again", async () => {
  const smaller = { d_model: 16, n_embd: 16, hidden_size: 16, d_ff: 16 };
  const configs: Config[] = [
    { ...withLayers(SHAPES["gpt2"]!.config, 1), ...smaller, n_head: 2 },
    { ...withLayers(SHAPES["t5-small"]!.config, 1), ...smaller, num_heads: 2, d_kv: 8 },
    { ...withLayers(SHAPES["chatglm2-6b"]!.config, 1), ...GROUPED },
    { ...withLayers(SHAPES["glm-4-9b"]!.config, 1), ...GROUPED },
  ];
  for (const config of configs) {
    await inFolder(async (folder) => {
      assertEquals((await writeSyntheticFolder(folder, config)).notes, []);
      const tokenizer = await loadTokenizer(folder);
      const text = "naïve 日本 🇨🇭 x";
      const ids = tokenizer.encode(text, { addSpecial: false });
      assertStringIncludes(tokenizer.decode(ids), text, String(config.model_type));
      if (config.model_type === "t5") {
        // Where T5's published vocabulary has them.
        const marked = tokenizer.encode("x <extra_id_0> <extra_id_99>", { parseSpecial: true });
        assert(marked.includes(32_099) && marked.includes(32_000), marked.join(" "));
      }
      assert(tokenizer.vocabSize <= Number(config.padded_vocab_size ?? config.vocab_size));
    });
  }
});

const GROUPED = {
  ...{ hidden_size: 16, ffn_hidden_size: 16, num_attention_heads: 2, kv_channels: 8 },
  multi_query_group_num: 1,
};

Deno.test("layers, types and what cannot be written", async () => {
  const t5 = withLayers(SHAPES["switch-base-8"]!.config, 4);
  assertEquals([t5.num_layers, t5.num_decoder_layers, t5.num_sparse_encoder_layers], [4, 4, 2]);
  assertEquals(withLayers(SHAPES["switch-c"]!.config, 3).num_sparse_decoder_layers, 3);
  const plain = withType(SHAPES["chatglm-6b-int4"]!.config, "F32");
  assertEquals([plain.quantization_bit, plain.torch_dtype], [undefined, "float32"]);
  assertThrows(() => withType(SHAPES["gpt2"]!.config, "int4"), InputError, "a form of chatglm");
  await inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/there`, "");
    const config = await readConfig("gpt2");
    await assertRejects(() => writeSyntheticFolder(folder, config), InputError, "an empty folder");
    // A vocabulary without room for bytes has no tokenizer, and that is told.
    const { notes: [note] } = await writeSyntheticFolder(`${folder}/new`, config);
    assertStringIncludes(note!, "has no tokenizer");
  });
});

Deno.test("bench experts tells what a token reads, and leaves nothing behind", async () => {
  const folder = await Deno.makeTempDir();
  const before = Deno.env.get("TMPDIR");
  Deno.env.set("TMPDIR", folder);
  try {
    const work = { width: 16, inner: 32, layers: 2, genTokens: 2, runs: 1, threads: 1 };
    const [few, many] = await measureExperts({ ...work, experts: [2, 32], weights: "as-is" });
    assertEquals([few!.expertParameters, many!.expertParameters], [8192, 131072]);
    // Two routers of f16 have 30 rows more.
    assertEquals(many!.bytesPerToken - few!.bytesPerToken, 2 * 30 * 16 * 2);
    assertEquals(few!.timeRatio, { min: 1, median: 1, max: 1 });
    assert(many!.tokensPerSecond.median > 0 && many!.bytesRatio > 1);
    assertEquals(Array.from(Deno.readDirSync(folder)), []);
  } finally {
    if (before === undefined) Deno.env.delete("TMPDIR");
    else Deno.env.set("TMPDIR", before);
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the command writes folders and refuses flags that do not go together", async () => {
  const run = async (...args: string[]): Promise<{ code: number; err: string }> => {
    const script = new URL("../bench/synthetic.ts", import.meta.url).href;
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script, ...args],
    }).output();
    return { code, err: new TextDecoder().decode(stderr) };
  };
  await inFolder(async (folder) => {
    const out = `${folder}/model`;
    const small = ["n_embd=12", "n_head=2", "vocab_size=300", "bos_token_id=9", "eos_token_id=9"]
      .flatMap((it) => ["--set", it]);
    const { code, err } = await run(
      "--like",
      "gpt2",
      "--layers",
      "1",
      "--type",
      "F32",
      ...small,
      out,
    );
    assertEquals(code, 0, err);
    // What is there, and how large it is: 12 words wide, 300 words, 1024 positions, one layer.
    const size = (await Deno.stat(`${out}/model.safetensors`)).size, bytes = 4 * 17_796;
    assert(size > bytes && size < bytes + 4096, `${size}`);
    assertEquals(
      err,
      `synthetic: wrote "${out}": 17796 random numbers, 71.2 kB in 1 file\n`,
    );
    const config = JSON.parse(await Deno.readTextFile(`${out}/config.json`));
    assertEquals([config.n_layer, config.n_embd, config.torch_dtype], [1, 12, "float32"]);
    const mistakes: [string[], string][] = [
      [["--like", "gpt2", "--size", "1m", `${folder}/x`], "Cannot use --size here"],
      [["--layers", "2", `${folder}/x`], "expected --like beside it"],
      [["--like", "gpt2", "--type", "Q4_0", `${folder}/x`], "Cannot write a folder of type Q4_0"],
      [["--like", "gpt2", "--type", "int4", `${folder}/x`], "a form of chatglm"],
      [["--type", "int4", `${folder}/x`], "Cannot write a GGUF file of type int4"],
      [["--like", "nothing", `${folder}/x`], "expected a config.json or one of"],
      [["--like", "gpt2", "--set", "n_head", `${folder}/x`], "expected FIELD=VALUE"],
      [["--like", "gpt2", "--set", "n_head=5", `${folder}/x`], "expected a multiple of it"],
      [["--like", "gpt2", out], "expected an empty folder"],
      [
        ["--like", "gpt2", "--set", "hidden_size=64", `${folder}/x`],
        `"hidden_size": it means nothing`,
      ],
      [["--like", "gpt2", "--set", "n_layers=0", `${folder}/x`], "(did you mean n_layer?)"],
      [["--like", "switch-c", `${folder}/x`], "it takes 6.29 TB, but the disk has"],
      [["--size", "8b", "--type", "F32", "/dev/shm/none/x"], "no such file or folder"],
    ];
    await Promise.all(mistakes.map(async ([args, message]) => {
      const { code, err } = await run(...args);
      assert(code === 1 || code === 2, err);
      assertStringIncludes(err, message);
      assertEquals(err.trim().split("\n").length, 1, err);
    }));
  });
});
