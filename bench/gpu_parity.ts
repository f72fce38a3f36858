/**
 * Whether WebGPU computes here what it should: the tests of ops and golden models that run on it,
 * and the default model, token by token, against the reference backend.
 *
 * @module
 */

import { argmax } from "../runtime/generation/most_likely.ts";
import { loadModel } from "../mod.ts";
import { digits } from "./stats.ts";

/** What was found. */
export interface GpuParity {
  /** Tests that passed. */
  readonly passed: number;
  /** Names of tests that failed. */
  readonly failed: readonly string[];
  /** Tokens of the default model after which the same one was likeliest on both backends. */
  readonly sameTop: number;
  /** Tokens compared. */
  readonly tokens: number;
  /** Largest difference of two logits. */
  readonly largestDifference: number;
}

const ROOT = new URL("../", import.meta.url);

/** Runs the tests in a process of its own, without network, and compares the default model. */
export async function checkParity(tokens = 200): Promise<GpuParity> {
  const report = await Deno.makeTempFile({ suffix: ".xml" });
  try {
    const files = ["tests/ops_test.ts", "tests/golden_test.ts"];
    const { stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["test", "-A", "--no-check", "--no-lock", "--filter=webgpu"],
        ...[`--junit-path=${report}`, ...files],
      ],
      cwd: ROOT,
      // In CI a missing adapter fails the tests; here it should too.
      env: { CI: "true" },
    }).output();
    const xml = await Deno.readTextFile(report);
    if (xml === "") throw new Error(new TextDecoder().decode(stderr));
    return { ...readReport(xml), ...await compareModel(tokens) };
  } finally {
    await Deno.remove(report);
  }
}

/** Counts the tests of a JUnit report. */
export function readReport(xml: string): Pick<GpuParity, "passed" | "failed"> {
  const failed: string[] = [];
  let passed = 0;
  for (
    const [, name, end, body] of xml.matchAll(
      /<testcase name="([^"]*)"[^>]*?(\/?)>(?:([^]*?)<\/testcase>)?/g,
    )
  ) {
    if (end !== "/" && /<failure|<error/.test(body ?? "")) failed.push(name!);
    else if (end === "/" || !/<skipped/.test(body ?? "")) passed++;
  }
  return { passed, failed };
}

/** Both backends get the tokens that the reference backend finds likeliest. */
async function compareModel(
  tokens: number,
): Promise<Pick<GpuParity, "sameTop" | "tokens" | "largestDifference">> {
  await using reference = await loadModel(undefined, { backend: "reference" });
  await using webgpu = await loadModel(undefined, { backend: "webgpu" });
  const count = Math.min(tokens, reference.contextLength - 16);
  using ours = webgpu.session();
  using theirs = reference.session();
  const prompt = reference.tokenizer.encode("春眠不觉晓，");
  let expected = await theirs.prefill(prompt), actual = await ours.prefill(prompt);
  let sameTop = 0, largest = 0;
  for (let i = 0; i < count; i++) {
    const id = argmax(expected);
    if (argmax(actual) === id) sameTop++;
    actual.forEach((value, k) => largest = Math.max(largest, Math.abs(value - expected[k]!)));
    expected = await theirs.step(id);
    actual = await ours.step(id);
  }
  return { sameTop, tokens: count, largestDifference: digits(largest) };
}
