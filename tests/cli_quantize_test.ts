/** `quantize` and `compare` as a user runs them. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describeEstimate } from "../cli/quantize.ts";
import { FIXTURES } from "./fixtures.ts";
import { taskArgs } from "./task_args.ts";

const ROOT = new URL("../", import.meta.url);
const STORIES = new URL("models/stories260K/stories260K.gguf", FIXTURES).pathname;

async function cli(
  name: string,
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...taskArgs(name), ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

Deno.test("quantize writes a file that other commands read, and says what it cost", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/q.gguf`;
    const { code, out, err } = await cli("quantize", STORIES, path, "--tokens", "200", "--json");
    assertEquals([code, err], [0, ""]);
    const report = JSON.parse(out);
    assertEquals([report.path, report.method, report.tokens], [path, "gptq", 200]);
    assertEquals(report.bytes, Deno.statSync(path).size);
    assert(report.comparison.kl.mean > 0 && report.comparison.sameTop > 0.7);
    const again = await cli("quantize", STORIES, path);
    assertEquals([again.code, again.out], [2, ""]);
    assertMatch(again.err, /^quantize: Cannot write .*q\.gguf": it exists; .*--force.*\n$/);
    const typesOf = (list: { name: string; type: string; cost?: number }[]) =>
      list.filter(({ cost }) => cost! > 0).map(({ type }) => type);
    assert(new Set(typesOf(report.tensors)).size > 1, "types were chosen by measuring");
    const nearest = [
      ...["--method", "nearest", "--type", "q4_0", "--force", "--tokens", "50", "-s", "7"],
    ];
    const replaced = await cli("quantize", STORIES, path, ...nearest);
    const note = (flag: string): string =>
      `quantize: --${flag} has no effect with --method nearest, which reads no texts\n`;
    assertEquals(replaced.code, 0);
    const [tokensNote, seedNote, estimate] = replaced.err.split(/(?<=\n)/);
    assertEquals([tokensNote, seedNote], [note("tokens"), note("seed")]);
    // What will be done is said before; with --json it is not.
    assertMatch(
      estimate!,
      /^quantize: 37 tensors to round for a file of \d+ kB: about \d+ seconds?, about \d+ MB of memory\n$/,
    );
    assertStringIncludes(replaced.out, "30 tensors  F32 → Q4_0\n");
    assertStringIncludes(replaced.out, "5 tensors  F32 → F16 (rows of 172 numbers)\n");
    const compared = await cli("compare", STORIES, path, "--text", "Once upon a time", "--json");
    assertEquals([compared.code, compared.err], [0, ""]);
    const { kl, tokens, perplexity } = JSON.parse(compared.out);
    assert(kl.mean > 0 && kl.median <= kl.max && tokens > 3 && perplexity.length === 2);
    const shown = await cli("compare", STORIES, STORIES, "--text", "Once upon a time");
    assertStringIncludes(shown.out, "same best token 100.00 %");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("quantize reads texts, and lists of token ids, to calibrate on", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const text = `${folder}/text.txt`, ids = `${folder}/ids.jsonl`, bad = `${folder}/bad.jsonl`;
    Deno.writeTextFileSync(text, "Once upon a time there was a dog. ".repeat(20));
    Deno.writeTextFileSync(ids, "[1, 403, 407]\n\n[1, 2, 3, 4]\n");
    Deno.writeTextFileSync(bad, "[1, 403]\n[1, nothing]\n");
    const json = `${folder}/json.jsonl`, badJson = `${folder}/text.jsonl`, far = `${folder}/far`;
    Deno.writeTextFileSync(json, '{"text": "Once upon a time"}\n\n{"text": "a dog", "n": 1}\n');
    Deno.writeTextFileSync(badJson, '{"text": "Once"}\n{"texts": []}\n');
    Deno.writeTextFileSync(far, "[1, 2]\n[3, 512]\n");
    for (const [file, tokens] of [[text, 100], [ids, 7], [json, 9]] as const) {
      const path = `${folder}/${tokens}.gguf`;
      const args = ["--calibration", file, "--tokens", "100", "--no-verify", "--json"];
      const { code, out, err } = await cli("quantize", STORIES, path, ...args);
      assertEquals(code, 0, err);
      assertMatch(
        err,
        tokens < 100 ? /^quantize: the model was calibrated on \d tokens,.*\n$/ : /^$/,
      );
      assertEquals(JSON.parse(out).tokens, tokens);
    }
    const mistakes = [
      [bad, /^quantize: Cannot calibrate on .*bad\.jsonl": line 2 is .*\[1, 2, 3\]\n$/],
      [
        badJson,
        /^quantize: Cannot calibrate on .*text\.jsonl": line 2 is .*an object with a text.*\n$/,
      ],
      [far, /^quantize: Cannot calibrate on list 2 of token ids: token id 512 at index 1: .*\n$/],
    ] as const;
    for (const [file, message] of mistakes) {
      const { code, err } = await cli("quantize", STORIES, `${folder}/x`, "--calibration", file);
      assertEquals(code, 2);
      assertMatch(err.replace(/^quantize: \d+ tensors to round .*\n/, ""), message);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("describeEstimate: times and memory of which no more than the size is known", () => {
  const base = { tensors: 1, bytes: 4.1e9, memory: 1_234_567_890 };
  for (
    const [seconds, text] of [
      [0.01, "1 second"],
      [42.4, "42 seconds"],
      [170, "3 minutes"],
      [9000, "2.5 hours"],
      [3600 * 31.4, "31 hours"],
    ] as const
  ) {
    assertEquals(
      describeEstimate({ ...base, seconds }),
      `1 tensor to round for a file of 4.1 GB: about ${text}, about 1.2 GB of memory`,
    );
  }
});

Deno.test("quantize and compare: mistakes are one sentence each, and exit with 2", async () => {
  const mistakes = [
    ["quantize", [STORIES], /expected a source and the name of the file to write/],
    ["quantize", [STORIES, "x", "--type", "q3_k"], /--type/],
    ["quantize", [STORIES, "x", "--tensor", "blk"], /expected REGEX=TYPE/],
    ["quantize", [STORIES, "x", "--tensor", "(=q8_0"], /is no regular expression/],
    ["quantize", [STORIES, "x", "--verify", "--no-verify"], /expected one of them/],
    ["quantize", [STORIES, "/"], /it is a folder/],
    ["compare", [STORIES], /expected two models/],
    ["compare", [STORIES, "https://127.0.0.1:1/x.gguf"], /Cannot/],
  ] as const;
  const outcomes = await Promise.all(mistakes.map(([name, args]) => cli(name, ...args)));
  outcomes.forEach(({ code, out, err }, i) => {
    const [name, , message] = mistakes[i]!;
    assert(code === 2 || code === 1 && name === "compare", err);
    assertEquals(out, "");
    assertMatch(err, new RegExp(`^${name}: [^\n]*\n$`));
    assertMatch(err, message);
  });
});

Deno.test({
  name: "quantize: Ctrl-C while other types are tried says that the file is whole",
  ignore: Deno.build.os === "windows",
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const path = `${folder}/q.gguf`, tries = "q8_0,q5_1,q5_0,q4_1,iq4_nl,f16,bf16,f32";
      const report = ["--report", `${folder}/r.html`, "--try", tries];
      const child = new Deno.Command(Deno.execPath(), {
        args: [...taskArgs("quantize"), STORIES, path, "--method", "nearest", ...report],
        cwd: ROOT,
        env: { NO_COLOR: "1" },
        stdout: "null",
        stderr: "piped",
      }).spawn();
      const errors = new Response(child.stderr).text();
      while (!(await Deno.stat(path).catch(() => undefined))) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      child.kill("SIGINT");
      assertEquals((await child.status).code, 130);
      assertMatch(
        await errors,
        /^quantize: Interrupted: ".*q\.gguf" is whole, its report was not written\n$/m,
      );
      assertEquals(Array.from(Deno.readDirSync(folder), (it) => it.name), ["q.gguf"]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
