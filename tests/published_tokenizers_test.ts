/**
 * Tokenizers of folders without `tokenizer.json`, against the classes of transformers that read them
 * (4.57.6), ChatGLM's against the steps of its own class over the SentencePiece library.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { FormatError, SparrowError } from "../errors.ts";
import { selectFiles } from "../runtime/hub/select.ts";
import { tokenizerFromFolder } from "../runtime/text/tokenizer/published/kinds.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { describeTokenizer } from "../runtime/text/model_text.ts";
import { loadTokenizer } from "../runtime/load_tokenizer.ts";
import type { Tokenizer } from "../runtime/text/tokenizer/tokenizer.ts";
import { FIXTURES } from "./fixtures.ts";

interface Row {
  text: string;
  ids: number[];
  /** Without special tokens; absent where the original's class has no say in it. */
  decoded?: string;
}

interface Folder {
  name: string;
  /** Contents by name, as base64. */
  files: Record<string, string>;
  config: Record<string, unknown>;
  bos: number | null;
  eos: number | null;
  cases: Row[];
}

const FOLDERS: Folder[] = JSON.parse(
  Deno.readTextFileSync(new URL("tokenizers/published.json", FIXTURES)),
).folders;

function filesOf(folder: Folder): Record<string, Uint8Array> {
  const bytes = (text: string) => Uint8Array.from(atob(text), (unit) => unit.charCodeAt(0));
  return Object.fromEntries(Object.entries(folder.files).map(([name, it]) => [name, bytes(it)]));
}

function streamed(tokenizer: Tokenizer, ids: readonly number[]): string {
  const decoder = tokenizer.decoder();
  return ids.map((id) => decoder.push(id)).join("") + decoder.flush();
}

for (const folder of FOLDERS) {
  Deno.test(`a folder's tokenizer gives the original's ids and texts, ${folder.name}`, async () => {
    const { name, config, cases, bos, eos } = folder;
    const tokenizer =
      (await tokenizerFromFolder({ name, files: filesOf(folder), config, model: {} }))!;
    assert(cases.length > 40);
    for (const { text, ids, decoded } of cases) {
      assertEquals(tokenizer.encode(text, { parseSpecial: true }), ids, JSON.stringify(text));
      if (decoded === undefined) continue;
      assertEquals(tokenizer.decode(ids), decoded, `${JSON.stringify(text)}: ${ids}`);
      assertEquals(streamed(tokenizer, ids), decoded, JSON.stringify(text));
    }
    if (bos !== null && !name.startsWith("bert")) assertEquals(tokenizer.bosId, bos);
    if (eos !== null) assert(tokenizer.eosIds.includes(eos), `${tokenizer.eosIds}`);
  });
}

const folderNamed = (name: string): Folder => FOLDERS.find((folder) => folder.name === name)!;

Deno.test("text does not spell the special tokens of a folder's tokenizer", async () => {
  for (
    const [name, token] of [["chatglm-6b", "[gMASK]"], ["chatglm3-6b", "<|user|>"], [
      "t5",
      "<extra_id_0>",
    ]]
  ) {
    const folder = folderNamed(name);
    const tokenizer =
      (await tokenizerFromFolder({ ...folder, files: filesOf(folder), model: {} }))!;
    const id = tokenizer.tokenToId(token)!;
    const text = `a${token}b`;
    assert(!tokenizer.encode(text, { addSpecial: false }).includes(id), name);
    assert(tokenizer.encode(text, { addSpecial: false, parseSpecial: true }).includes(id), name);
  }
});

Deno.test("which tokenizer a folder has is told by its class, its model type, or its files", async () => {
  const same = async (
    name: string,
    config: Record<string, unknown>,
    model: Record<string, unknown>,
  ) => {
    const folder = folderNamed(name);
    const tokenizer = await tokenizerFromFolder({ name, files: filesOf(folder), config, model });
    const { text, ids } = folder.cases[5];
    assertEquals(tokenizer!.encode(text, { parseSpecial: true }), ids, name);
  };
  await same("t5", {}, { model_type: "t5" });
  await same("t5", {}, { model_type: "switch_transformers" });
  await same("t5", { tokenizer_class: "T5TokenizerFast" }, { model_type: "llama" });
  await same("bert", { clean_up_tokenization_spaces: false }, {});
  await same("bert", {}, { model_type: "albert" }); // Chinese models of ALBERT
  await same("marian", {}, {});
  await same("chatglm-6b-images", {}, {});
  await same("chatglm2-6b", {
    auto_map: { AutoTokenizer: ["tokenization_chatglm.ChatGLMTokenizer", null] },
  }, {});
});

Deno.test("a folder whose tokenizer is not known, or lacks a file, is an error that says so", async () => {
  const build = (names: string[], config: Record<string, unknown>, model = {}) =>
    tokenizerFromFolder({
      name: "here/",
      files: Object.fromEntries(names.map((name) => [name, new TextEncoder().encode("{}")])),
      config,
      model,
    });
  assertEquals(await build(["special_tokens_map.json"], {}), undefined);
  const fails = (it: Promise<unknown>, text: string) => assertRejects(() => it, FormatError, text);
  await fails(build(["vocab.txt"], { tokenizer_class: "JumanTokenizer" }), `"JumanTokenizer"`);
  await fails(build(["vocab.txt"], { tokenizer_class: "JumanTokenizer" }), "BertTokenizer");
  await fails(build(["vocab.txt"], {}, { model_type: "ctrl" }), `"ctrl" and no class`);
  await fails(build(["vocab.json", "merges.txt"], {}), "no class and no model type");
  await fails(
    build(["vocab.json"], { tokenizer_class: "GPT2Tokenizer" }),
    "vocab.json with merges.txt",
  );
  await fails(build(["spiece.model"], {}, { model_type: "t5" }), "spiece.model");
  await fails(build(["spiece.model", "vocab.txt"], {}, { model_type: "zzz" }), `"zzz"`);
  const marian = folderNamed("marian");
  await fails(
    tokenizerFromFolder({
      ...marian,
      files: { ...filesOf(marian), "target_vocab.json": new Uint8Array() },
      model: {},
    }),
    "target_vocab.json",
  );
  await fails(
    tokenizerFromFolder({
      ...folderNamed("t5"),
      files: filesOf(folderNamed("t5")),
      config: { tokenizer_class: "T5Tokenizer", extra_ids: -1 },
      model: {},
    }),
    "extra_ids",
  );
});

/** A word that is a token, else neighbours merged by lowest rank, one pair at a time: what ranks mean. */
function byRank(bytes: Uint8Array, ranks: ReadonlyMap<string, number>): number[] {
  const parts = Array.from(bytes, (byte) => String.fromCharCode(byte));
  const whole = ranks.get(parts.join(""));
  if (whole !== undefined) return [whole];
  for (;;) {
    let best = -1, least = Infinity;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(parts[i] + parts[i + 1]) ?? Infinity;
      if (rank < least) [best, least] = [i, rank];
    }
    if (best < 0) return parts.map((part) => ranks.get(part)!);
    parts.splice(best, 2, parts[best] + parts[best + 1]);
  }
}

Deno.test("GLM-4's ranked list merges by rank, and begins a text with its tokens", async () => {
  const ranks = new Map<string, number>();
  for (let byte = 0; byte < 256; byte++) ranks.set(String.fromCharCode(byte), byte);
  const utf8 = (text: string) => String.fromCharCode(...new TextEncoder().encode(text));
  const more = [
    "th",
    "he",
    "the",
    " t",
    " the",
    "er",
    "ere",
    "你",
    "好",
    "你好",
    "12",
    "23",
    "in",
    "  ",
  ];
  more.push("ab", "bc", "abcd", "cd", "\n\n", "ing", utf8("你").slice(0, 2));
  for (const text of more) {
    const bytes = text.charCodeAt(0) > 255 ? utf8(text) : text;
    if (!ranks.has(bytes)) ranks.set(bytes, ranks.size);
  }
  const list = [...ranks].map(([bytes, rank]) => `${btoa(bytes)} ${rank}`).join("\n") + "\n";
  const size = ranks.size;
  const names = ["<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>"];
  names.push("<|user|>", "<|assistant|>", "<|observation|>");
  const decoder = Object.fromEntries(
    names.map((content, i) => [size + i, { content, special: true }]),
  );
  const build = (text: string, config: Record<string, unknown>) =>
    tokenizerFromFolder({
      name: "glm4/",
      files: { "tokenizer.model": new TextEncoder().encode(text) },
      config: { tokenizer_class: "ChatGLM4Tokenizer", ...config },
      model: {},
    });
  const config = { added_tokens_decoder: decoder, eos_token: "<|endoftext|>" };
  const tokenizer = (await build(list, config))!;
  const words = ["the", " there", "你好", " thing", "123", "4", " abcdab", "\n\n", "!"];
  let state = 3;
  for (let run = 0; run < 200; run++) {
    const chosen = Array.from({ length: 1 + run % 3 }, () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return words[(state >>> 16) % words.length];
    });
    // Each is one word of the pattern, so that merging alone is compared.
    for (const word of chosen) {
      assertEquals(
        tokenizer.encode(word, { addSpecial: false }),
        byRank(new TextEncoder().encode(word), ranks),
        word,
      );
    }
    const text = chosen.join("");
    const ids = tokenizer.encode(text);
    assertEquals(ids.slice(0, 2), [size + 2, size + 4]);
    assertEquals(tokenizer.decode(ids), text);
    assertEquals(streamed(tokenizer, ids), text);
  }
  assertEquals([...tokenizer.eosIds].sort(), [size, size + 7, size + 9]);
  assert(!tokenizer.encode("a<|user|>").includes(size + 7));
  for (
    const [text, message] of [["YQ== 0\nYQ== 1\n", "a new token"], [
      "YQ== 0\nYg== 5\n",
      "the rank 1",
    ], ["YQ== 0\n!\n", "base64"]]
  ) {
    await assertRejects(() => build(text, config), FormatError, message);
  }
  await assertRejects(() => build(list, {}), FormatError, "added_tokens_decoder");
});

Deno.test("damaged files and settings of a folder's tokenizer are typed errors, or a tokenizer", async () => {
  let state = 7;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  const names = ["legacy", "extra_ids", "add_bos_token", "bos_token", "added_tokens_decoder"];
  names.push("additional_special_tokens", "num_image_tokens", "do_lower_case", "auto_map");
  const values: unknown[] = [null, true, 5, -1, "x", [], {}, [1], { content: 5 }, {
    "9": { content: "q" },
  }];
  values.push({ x: 1 }, 1e9, { "4000000": { content: "far" } });
  let failed = 0;
  for (let run = 0; run < 600; run++) {
    const folder = FOLDERS[random(FOLDERS.length)];
    const files = filesOf(folder);
    const file = Object.keys(files)[random(Object.keys(files).length)];
    let bytes = files[file];
    const digits = '0123456789"{}[],:\n #';
    for (let k = random(3); k > 0; k--) {
      bytes[random(bytes.length)] = random(2)
        ? random(256)
        : digits.charCodeAt(random(digits.length));
    }
    if (random(10) === 0) bytes = bytes.slice(0, random(bytes.length));
    const config = { ...folder.config };
    if (random(2)) config[names[random(names.length)]] = values[random(values.length)];
    try {
      const tokenizer = await tokenizerFromFolder({
        ...{ name: folder.name, files: { ...files, [file]: bytes }, config, model: {} },
      });
      for (const { text } of folder.cases.slice(0, 8)) {
        const ids = tokenizer!.encode(text, { parseSpecial: random(2) === 0 });
        assert(ids.every((id) => id >= 0 && id < tokenizer!.vocabSize));
        tokenizer!.decode(ids);
      }
    } catch (error) {
      assert(error instanceof SparrowError, `${folder.name}, ${file}: ${error}`);
      failed++;
    }
  }
  assert(failed > 100 && failed < 590, `${failed}`);
});

Deno.test("loadTokenizer() reads folders without weights, and .model files", async () => {
  const folder = folderNamed("xlm-roberta");
  const path = await Deno.makeTempDir();
  try {
    for (const [name, bytes] of Object.entries(filesOf(folder))) {
      await Deno.writeFile(`${path}/${name}`, bytes);
    }
    await Deno.writeTextFile(`${path}/tokenizer_config.json`, JSON.stringify(folder.config));
    const tokenizer = await loadTokenizer(path);
    const { text, ids } = folder.cases[8];
    assertEquals(tokenizer.encode(text, { parseSpecial: true }), ids);

    const server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      async (request) => {
        const name = decodeURIComponent(new URL(request.url).pathname.slice(1));
        try {
          return new Response(await Deno.readFile(`${path}/${name}`));
        } catch {
          return new Response("", { status: 404 });
        }
      },
    );
    try {
      const remote = await loadTokenizer(`http://127.0.0.1:${server.addr.port}/`);
      assertEquals(remote.encode(text, { parseSpecial: true }), ids);
    } finally {
      await server.shutdown();
    }

    const model = new URL("tokenizers/sentencepiece/bpe-bytes.model", FIXTURES);
    const { cases } = JSON.parse(
      Deno.readTextFileSync(new URL("tokenizers/sentencepiece/bpe-bytes.json", FIXTURES)),
    );
    for (const source of [model, new Blob([Deno.readFileSync(model)])]) {
      const plain = await loadTokenizer(source);
      for (const it of cases) assertEquals(plain.encode(it.text), it.ids);
    }
    const llama = new URL("golden/llama/", FIXTURES);
    for (const name of ["config.json", "model.safetensors"]) {
      await Deno.copyFile(new URL(name, llama), `${path}/${name}`);
    }
    assertEquals((await loadTokenizer(path)).encode(text, { parseSpecial: true }), ids);
    const file = await openModelFile(path);
    assertEquals(
      await describeTokenizer(file),
      `XLMRobertaTokenizer of sentencepiece.bpe.model, ${tokenizer.vocabSize} tokens`,
    );
    file.close();
    await Deno.mkdir(`${path}/empty`);
    await assertRejects(() => loadTokenizer(`${path}/empty`), Error, "expected one .gguf model");
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});

Deno.test("a repository's tokenizer files are fetched with its weights", () => {
  const names = [
    "model.safetensors",
    "config.json",
    "source.spm",
    "target.spm",
    "vocab.json",
    "merges.txt",
  ];
  const more = [
    "spiece.model",
    "sentencepiece.bpe.model",
    "ice_text.model",
    "vocab.txt",
    "vocab.pkl",
    "vocab.bin",
    "tokenizer.model",
    ...["vocab.model", "dict.txt", "prob_start.py", "prob_trans.py", "prob_emit.py"],
  ];
  const listing = [...names, ...more, "README.md", "tokenization.py"].map((path) => ({
    path,
    size: 10,
    algorithm: "sha256" as const,
    hash: "0".repeat(64),
  }));
  const spec = { owner: "a", repo: "b" } as unknown as Parameters<typeof selectFiles>[0];
  const { files } = selectFiles(spec, listing);
  assertEquals(files.map(({ path }) => path).sort(), [...names, ...more].sort());
});
