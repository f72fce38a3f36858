/** Reports of quantized files: plots, the page, and the command's `--report`. */

import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { UsageError } from "../cli/errors.ts";
import { type Report, reportPage } from "../cli/report/page.ts";
import { plot } from "../cli/report/plot.ts";
import { readTries } from "../cli/report/tries.ts";
import { taskArgs } from "./task_args.ts";
import { tinyGguf, withFolder } from "./tiny_model.ts";

const ROOT = new URL("../", import.meta.url);

async function quantize(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...taskArgs("quantize"), ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

function namesIn(path: string): string[] {
  return Array.from(Deno.readDirSync(path), (it) => it.name).sort();
}

/** Where marks are: centres of circles. */
function circles(svg: string): [number, number][] {
  return Array.from(
    svg.matchAll(/<circle class="mark-0" cx="([\d.]+)" cy="([\d.]+)"/g),
    ([, x, y]) => [Number(x), Number(y)],
  );
}

Deno.test("plot: larger numbers are further right and up, equal factors equally far on logarithms", () => {
  const axis = { title: "n", format: String }, points = [1, 10, 100];
  const straight = circles(plot("p", axis, axis, [{
    name: "a",
    points: points.map((it) => ({ x: it, y: it, title: "" })),
  }]));
  assertEquals(straight.length, 3);
  for (const i of [1, 2]) {
    assert(straight[i]![0] > straight[i - 1]![0] && straight[i]![1] < straight[i - 1]![1]);
  }
  const [x, y] = [0, 1].map((side) => straight.map((it) => it[side]!));
  const ratio = (list: number[]): number => (list[2]! - list[1]!) / (list[1]! - list[0]!);
  assert(Math.abs(ratio(x!) - 10) < 0.1 && Math.abs(ratio(y!) - 10) < 0.2);
  const bent = circles(plot("p", axis, { ...axis, isLogarithmic: true }, [{
    name: "a",
    points: points.map((it) => ({ x: it, y: it, title: "" })),
  }]));
  assert(Math.abs(ratio(bent.map((it) => it[1])) - 1) < 0.01);
});

Deno.test("plot: numbers that make no axis still make a picture", () => {
  const axis = { title: "n", format: String };
  for (const values of [[], [0], [5, 5], [NaN], [0, Infinity], [1e-300, 1e300]]) {
    for (const isLogarithmic of [false, true]) {
      for (const isCount of [false, true]) {
        const svg = plot("p", { ...axis, isCount: isCount && values.every((it) => it < 1e6) }, {
          ...{ ...axis, isLogarithmic },
        }, [{ name: "a", points: values.map((it) => ({ x: 1, y: it, title: "<" })) }]);
        assert(svg.startsWith("<svg") && svg.length < 200_000, `${values} ${isLogarithmic}`);
        assert(
          !/NaN|Infinity" |undefined/.test(svg.replace(/>[^<]*</g, "><")),
          `${values}: ${svg}`,
        );
      }
    }
  }
});

const COMPARISON = {
  tokens: 100,
  kl: { mean: 0.02, median: 0.01, p99: 0.1, p999: 0.2, max: 0.3 },
  sameTop: 0.9,
  perplexity: [4, 4.1],
} as const;

const REPORT: Report = {
  ...{ path: '/x/<b>&".gguf', type: "Q4_0", method: "gptq", bytes: 5000, bitsPerWeight: 4.5 },
  ...{
    tokens: 64,
    seconds: 2,
    uncovered: [],
    unreached: [],
    comparison: COMPARISON,
    options: { tensor: ["<i>"] },
  },
  tensors: [{ name: "blk.0.<u>.weight", from: "F32", type: "Q4_0", bits: [32, 4.5], elements: 9 }],
  source: { files: ["</code><script>alert(1)</script>"], bytes: 10000, sha256: ["ab"] },
  errors: [{ name: "blk.0.<u>.weight", type: "Q4_0", layer: 0, error: 0.07, weighted: true }],
  tried: [{
    type: "Q8_0",
    method: "nearest",
    bytes: 9000,
    bitsPerWeight: 8.5,
    comparison: COMPARISON,
  }],
};

Deno.test("the page asks nothing of anybody, and shows names as they are", () => {
  for (
    const report of [
      REPORT,
      { ...REPORT, tried: [] },
      { ...REPORT, tried: [], errors: [], comparison: undefined } as unknown as Report,
    ]
  ) {
    const page = reportPage(report);
    assert(!/<script|<link|<img|<iframe|\ssrc=|\shref=|url\(|@import|https?:/i.test(page), page);
    assertStringIncludes(page, "default-src 'none'");
    assertStringIncludes(page, "prefers-color-scheme: dark");
    assertStringIncludes(page, 'name="viewport"');
    assert(!page.includes("<b>&") && !page.includes("<u>") && !page.includes("<i>"));
    // Every element that was opened is closed.
    const open: string[] = [];
    for (const [, slash, name, end] of page.matchAll(/<(\/?)([a-z]\w*)\b[^>]*?(\/?)>/g)) {
      if (end === "/" || name === "meta") continue;
      if (slash === "") open.push(name!);
      else assertEquals(open.pop(), name);
    }
    assertEquals(open, []);
  }
  const page = reportPage(REPORT);
  for (const it of ["0.02", "90.00 %", "× 1.0250", "7.00 %", "Q8_0", "SHA-256 ab"]) {
    assertStringIncludes(page, it);
  }
  assertEquals(page.match(/<svg class="plot"/g)!.length, 2);
});

Deno.test("types to try are read, and anything else refused", () => {
  assertEquals(readTries(undefined), []);
  assertEquals(readTries("q8_0, q4_k:gptq"), [
    { type: "Q8_0", method: "nearest" },
    { type: "Q4_K", method: "gptq" },
  ]);
  for (const text of ["", "q9", "q8_0:best", "q8_0:gptq:1", "q8_0,"]) {
    assertThrows(() => readTries(text), UsageError, "expected TYPE or TYPE:METHOD");
  }
});

Deno.test("quantize --report: a page and JSON with what was tried; a place that cannot be written is told first", async () => {
  await withFolder({ "tiny.gguf": await tinyGguf({ layers: 1 }) }, async (folder) => {
    const source = `${folder}/tiny.gguf`, common = ["--tokens", "64", "--threads", "1"];
    const json = `${folder}/r.json`, page = `${folder}/r.html`;
    const [first, second] = await Promise.all([
      quantize(source, `${folder}/a.gguf`, ...common, "--report", json, "--try", "q8_0,q4_1:awq"),
      quantize(source, `${folder}/b.gguf`, "--method", "nearest", "--report", page),
    ]);
    assertEquals([first.code, second.code], [0, 0]);
    for (const { err } of [first, second]) { // what it will take
      assertMatch(err, /^(quantize: (what rounding costs|\d+ tensors to round) [^\n]*\n)+$/);
    }
    const report = JSON.parse(await Deno.readTextFile(json));
    assertEquals([report.path, report.type, report.method], [`${folder}/a.gguf`, "Q4_K_M", "gptq"]);
    assertEquals(report.bytes, Deno.statSync(`${folder}/a.gguf`).size);
    assertEquals(
      report.tried.map((it: { type: string; method: string }) => [it.type, it.method]),
      [["Q8_0", "nearest"], ["Q4_1", "awq"]],
    );
    assert(report.tried[0].comparison.kl.mean < report.comparison.kl.mean);
    assertEquals(report.tried[0].comparison.tokens, report.comparison.tokens);
    assert(report.errors.length > 0 && report.seconds > 0 && report.heldOut === undefined);
    assertMatch(
      await Deno.readTextFile(page),
      /^<!doctype html>[^]*Q4_K_M by nearest[^]*<\/html>\n$/,
    );
    const names = ["a.gguf", "b.gguf", "r.html", "r.json", "tiny.gguf"];
    assertEquals(namesIn(folder), names);

    const refused = [
      [
        ["--report", `${folder}/none/r.html`],
        1,
        'Cannot write .*none/r\\.html": there is no such folder',
      ],
      [["--report", page], 2, "it exists; give another name"],
      [["--report", `${folder}/r.txt`], 2, "expected the name of a .html or a .json file"],
      [["--report", `${folder}/c.json`, "--save-imatrix", `${folder}/c.json`], 2, "another of the"],
      [["--try", "q8_0"], 2, "expected a --report that compares them"],
      [["--report", `${folder}/c.html`, "--try", "q9"], 2, "Cannot read --try"],
    ] as const;
    const outcomes = await Promise.all(
      refused.map(([args]) => quantize(source, `${folder}/c.gguf`, ...args)),
    );
    outcomes.forEach(({ code, out, err }, i) => {
      assertEquals([code, out], [refused[i]![1], ""], err);
      assertMatch(err, new RegExp(`^quantize: [^\n]*${refused[i]![2]}[^\n]*\n$`));
    });
    assertEquals(namesIn(folder), names);
  });
});
