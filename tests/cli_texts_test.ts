/** The commands that read texts: what they print, where texts come from, the file of vectors. */

import {
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { UsageError } from "../cli/errors.ts";
import { checkNpyPlace, npyPieces } from "../cli/npy.ts";
import { loadModel } from "../mod.ts";
import { taskArgs } from "./task_args.ts";

const ROOT = new URL("../", import.meta.url);
const GOLDEN = "tests/golden/tasks";

/** Runs `deno task NAME …` without the task runner. */
async function cli(
  name: string,
  args: readonly string[],
  stdin?: string,
): Promise<{ code: number; stdout: string; stderr: string; bytes: Uint8Array }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...taskArgs(name), ...args, "--backend", "reference"],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(60_000),
  }).spawn();
  const output = child.output();
  if (stdin !== undefined) await new Blob([stdin]).stream().pipeTo(child.stdin).catch(() => {});
  const { code, stdout, stderr } = await output;
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr), bytes: stdout };
}

function load(name: string): ReturnType<typeof loadModel> {
  return loadModel(new URL(`${GOLDEN}/${name}/`, ROOT), { backend: "reference" });
}

async function withFolder(body: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "sparrow_" });
  await body(path).finally(() => Deno.remove(path, { recursive: true }));
}

/** Reads a file of NumPy by its format: the shape, and the numbers of f32. */
function readNpy(bytes: Uint8Array): { shape: number[]; values: Float32Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  assertEquals(Array.from(bytes.subarray(0, 8)), [0x93, 78, 85, 77, 80, 89, 1, 0]);
  const length = view.getUint16(8, true), begin = 10 + length;
  assertEquals(begin % 64, 0);
  const header = new TextDecoder().decode(bytes.subarray(10, begin));
  const form = /^\{'descr': '<f4', 'fortran_order': False, 'shape': \((\d+), (\d+)\), \} *\n$/;
  assertMatch(header, form);
  const [, rows, columns] = form.exec(header)!;
  return {
    shape: [Number(rows), Number(columns)],
    values: new Float32Array(bytes.slice(begin).buffer),
  };
}

Deno.test("embed prints a line of JSON for each text, from a file, a pipe or the command line", async () => {
  const lines = ["the cat sat", "", "北京是中国的首都"], model = `${GOLDEN}/bert-sentence`;
  await using loaded = await load("bert-sentence");
  const vectors = await loaded.embed(lines);
  await withFolder(async (path) => {
    await Deno.writeTextFile(`${path}/texts`, lines.join("\r\n") + "\r\n");
    const ways = await Promise.all([
      cli("embed", ["-m", model, `${path}/texts`]),
      cli("embed", ["-m", model, "-f", `${path}/texts`]),
      cli("embed", ["-m", model], lines.join("\n")),
      cli("embed", ["-m", model, "-"], lines.join("\n") + "\n"),
    ]);
    for (const { code, stdout, stderr } of ways) {
      assertEquals([code, stderr, stdout], [0, "", ways[0]!.stdout]);
    }
    const rows = ways[0]!.stdout.trimEnd().split("\n").map((it) => JSON.parse(it));
    assertEquals(rows.map((it) => [it.index, it.text]), lines.map((text, i) => [i, text]));
    // Nine digits are the very number.
    rows.forEach(({ embedding }, i) => assertEquals(Float32Array.from(embedding), vectors[i]));
    const listed = ["--text", lines[0]!, "--text", lines[2]!];
    const given = await cli("embed", ["-m", model, ...listed]);
    assertEquals(given.stdout.split("\n").slice(0, 2).map((it) => JSON.parse(it).embedding), [
      rows[0].embedding,
      rows[2].embedding,
    ]);
  });
});

Deno.test("embed passes its flags on", async () => {
  await using loaded = await load("bert-sentence");
  const model = `${GOLDEN}/bert-sentence`, text = "the cat ".repeat(9);
  const flags = ["--pooling", "max", "--no-normalize", "--truncate", "--prompt-name", "query"];
  const options = { pooling: "max", normalize: false, truncate: true } as const;
  const found = await cli("embed", ["-m", model, "--text", text, ...flags]);
  assertEquals([found.code, found.stderr], [0, ""]);
  const [vector] = await loaded.embed([text], { ...options, promptName: "query" });
  assertEquals(Float32Array.from(JSON.parse(found.stdout).embedding), vector);
  const prefixed = await cli("embed", [
    "-m",
    model,
    "--text",
    "a",
    "--prefix",
    "the ",
    "--normalize",
    ...["--dimensions", "3"],
  ]);
  const [other] = await loaded.embed(["the a"], { dimensions: 3 });
  assertEquals(other!.length, 3);
  assertEquals(Float32Array.from(JSON.parse(prefixed.stdout).embedding), other);
});

Deno.test("embed --npy writes an array of NumPy, to a file or a pipe, and leaves nothing half done", async () => {
  const model = `${GOLDEN}/bert-sentence`,
    args = ["-m", model, "--text", "a cat", "--text", "a dog"];
  await using loaded = await load("bert-sentence");
  const vectors = await loaded.embed(["a cat", "a dog"]);
  await withFolder(async (path) => {
    const filed = await cli("embed", [...args, "--npy", `${path}/x.npy`]);
    assertEquals([filed.code, filed.stdout, filed.stderr], [0, "", ""]);
    const piped = await cli("embed", [...args, "--npy", "-"]);
    assertEquals(piped.bytes, await Deno.readFile(`${path}/x.npy`));
    const { shape, values } = readNpy(piped.bytes);
    assertEquals(shape, [2, 24]);
    assertEquals(values, Float32Array.from(vectors.flatMap((it) => [...it])));
    await Deno.mkdir(`${path}/taken`);
    const refused = await cli("embed", [...args, "--npy", `${path}/taken`]);
    assertEquals([refused.code, refused.stdout], [2, ""]);
    assertStringIncludes(refused.stderr, "it is a folder, expected the name of a file");
    const device = await cli("embed", [...args, "--npy", "/dev/null"]);
    assertEquals([device.code, device.stdout], [2, ""]);
    assertStringIncludes(device.stderr, "it is a device or a pipe");
    const nowhere = await cli("embed", [...args, "--npy", `${path}/none/x.npy`]);
    assertEquals([nowhere.code, nowhere.stdout], [1, ""]);
    assertStringIncludes(nowhere.stderr, "there is no such folder; make it first");
    assertEquals(Array.from(Deno.readDirSync(path), (it) => it.name).sort(), ["taken", "x.npy"]);
  });
  const whole = (count: number): Uint8Array => {
    const pieces = [...npyPieces(Array.from({ length: count }, (_, i) => Float32Array.of(i)))];
    return Uint8Array.from(pieces.flatMap((it) => [...it]));
  };
  assertEquals(readNpy(whole(0)).shape, [0, 0]);
  assertEquals(readNpy(whole(3000)).values.at(-1), 2999);
  await checkNpyPlace("-", false);
  const shown = await assertRejects(() => checkNpyPlace("-", true), UsageError);
  assertStringIncludes(shown.message, "to a terminal: name a file");
});

Deno.test("fill prints words with probabilities for each mask", async () => {
  const model = `${GOLDEN}/bert-mask`, text = "[MASK] dog <mask>.";
  await using loaded = await load("bert-mask");
  const masks = await loaded.fillMask(text, { top: 2 });
  const [plain, one, json] = await Promise.all([
    cli("fill", ["-m", model, "--top", "2", text]),
    cli("fill", ["-m", model], "a [MASK]\n"),
    cli("fill", ["-m", model, "--top", "2", "--json", text]),
  ]);
  assertEquals([plain.code, plain.stderr, one.code, json.stderr], [0, "", 0, ""]);
  const rows = masks.map(({ position, words }, i) =>
    `mask ${i + 1}, token ${position}\n` +
    words.map(({ id, text, probability }) =>
      `  ${probability.toFixed(4)}  ${String(id).padStart(7)}  "${text}"\n`
    ).join("")
  );
  assertEquals(plain.stdout, rows.join("\n"));
  assertEquals(one.stdout.trimEnd().split("\n").length, 5);
  const report = JSON.parse(json.stdout);
  assertEquals(Object.keys(report), ["model", "backend", "text", "masks"]);
  assertEquals([report.backend, report.text, report.masks], ["reference", text, masks]);
});

Deno.test("classify prints labels with probabilities, of a text and of a pair", async () => {
  const model = `${GOLDEN}/bert-classify`;
  await using loaded = await load("bert-classify");
  const pair = await loaded.classify(["a cat", "a dog"]);
  const [plain, json, piped] = await Promise.all([
    cli("classify", ["-m", model, "a cat", "--pair", "a dog"]),
    cli("classify", ["-m", model, "a cat", "--pair", "a dog", "--json"]),
    cli("classify", ["-m", model], "a cat\n"),
  ]);
  assertEquals([plain.code, plain.stderr], [0, ""]);
  assertEquals(
    plain.stdout,
    pair.labels.map((it) => `  ${it.probability!.toFixed(4)}  "${it.label}"\n`).join(""),
  );
  const { model: _, ...report } = JSON.parse(json.stdout);
  assertEquals(report, { backend: "reference", ...pair });
  const single = await loaded.classify("a cat");
  assertStringIncludes(piped.stdout, `${single.labels[0]!.probability!.toFixed(4)}  "`);
});

Deno.test("rerank prints texts in their order, from the command line, a file or a pipe", async () => {
  const model = `${GOLDEN}/roberta-rerank`, texts = ["the dog", "a mat", "in the sun"];
  await using loaded = await load("roberta-rerank");
  const ranked = await loaded.rerank("a cat", texts);
  await withFolder(async (path) => {
    await Deno.writeTextFile(`${path}/texts`, texts.join("\n"));
    const ways = await Promise.all([
      cli("rerank", ["-m", model, "a cat", ...texts]),
      cli("rerank", ["-m", model, "a cat", "--file", `${path}/texts`]),
      cli("rerank", ["-m", model, "a cat"], texts.join("\n") + "\n"),
    ]);
    const rows = ranked.map(({ index, text, score, probability }) =>
      `${score.toFixed(4).padStart(9)}  ${probability.toFixed(4)}      ${index}  "${text}"\n`
    );
    for (const { code, stdout, stderr } of ways) {
      assertEquals([code, stderr, stdout], [0, "", rows.join("")]);
    }
  });
  const best = await cli("rerank", ["-m", model, "a cat", ...texts, "--top", "1", "--json"]);
  const { query, results } = JSON.parse(best.stdout);
  assertEquals([query, results.length, results[0].text], ["a cat", 1, ranked[0]!.text]);
  assertAlmostEquals(results[0].score, ranked[0]!.score, 1e-9);
});

Deno.test("inspect tells how a model's files want vectors to be made", async () => {
  const inspect = async (...args: string[]): Promise<string> => {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: [...taskArgs("inspect"), ...args],
      cwd: ROOT,
      env: { NO_COLOR: "1" },
    }).output();
    return new TextDecoder().decode(stdout);
  };
  const line = "pooled by mean, 1 more layer, length 1, texts of at most 12 tokens, " +
    "prompts document, passage, query";
  const plain = await inspect(`${GOLDEN}/bert-sentence`);
  assertStringIncludes(plain, `\nVectors of texts: ${line}\n`);
  const report = JSON.parse(await inspect(`${GOLDEN}/bert-sentence`, "--json"));
  assertEquals(report.vectors, line);
  assertEquals("vectors" in JSON.parse(await inspect(`${GOLDEN}/bert-mask`, "--json")), false);
});
