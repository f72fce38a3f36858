/** From logits to tokens: what each option keeps, how draws are distributed, what is refused. */

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InputError, ModelError, sampler, type SamplerOptions } from "../mod.ts";

/** Logits whose softmax is 0.4, 0.3, 0.2, 0.1. */
const KNOWN = Float32Array.of(0.1, 0.4, 0.2, 0.3).map(Math.log); // ids by likelihood: 1 3 2 0

/** How often each id is drawn. */
function draw(options: SamplerOptions, logits = KNOWN, history: number[] = []): number[] {
  const DRAWS = 4000;
  const sample = sampler({ topK: 0, topP: 1, temperature: 1, seed: 5, ...options });
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < DRAWS; i++) counts[sample(logits, history)]!++;
  return counts.map((count) => count / DRAWS);
}

/** Shares that 4000 draws may differ by: about four standard deviations. */
const NOISE = 0.03;

const SHARES: [name: string, options: SamplerOptions, expected: number[]][] = [
  ["all options off", {}, [0.1, 0.4, 0.2, 0.3]],
  ["top-k 2", { topK: 2 }, [0, 4 / 7, 0, 3 / 7]],
  ["top-k 1", { topK: 1 }, [0, 1, 0, 0]],
  ["top-k beyond the vocabulary", { topK: 50 }, [0.1, 0.4, 0.2, 0.3]],
  ["top-p 0.5, reached by two", { topP: 0.5 }, [0, 4 / 7, 0, 3 / 7]],
  ["top-p 0.75, reached by three", { topP: 0.75 }, [0, 4 / 9, 2 / 9, 3 / 9]],
  ["top-p 0, which keeps the best", { topP: 0 }, [0, 1, 0, 0]],
  ["min-p 0.4", { minP: 0.4 }, [0, 4 / 9, 2 / 9, 3 / 9]],
  ["min-p 1", { minP: 1 }, [0, 1, 0, 0]],
  ["top-k 3, then top-p of what is left", { topK: 3, topP: 0.7 }, [0, 4 / 7, 0, 3 / 7]],
  ["temperature 0.5, which squares", { temperature: 0.5 }, [1 / 30, 16 / 30, 4 / 30, 9 / 30]],
  ["a high temperature", { temperature: 100 }, [0.25, 0.25, 0.25, 0.25]],
  ["temperature 0", { temperature: 0 }, [0, 1, 0, 0]],
];

for (const [name, options, expected] of SHARES) {
  Deno.test(`sampler() draws by likelihood with ${name}`, () => {
    const shares = draw(options);
    expected.forEach((share, id) => {
      assertAlmostEquals(shares[id]!, share, NOISE, `id ${id}`);
      if (share === 0) assertEquals(shares[id], 0);
    });
  });
}

Deno.test("sampler() keeps exactly the k most likely tokens", () => {
  const logit = fc.oneof(
    fc.float({ min: -20, max: 20, noNaN: true }),
    fc.constantFrom(0, 1, -Infinity, 20), // ties, and tokens that are ruled out
  );
  fc.assert(
    fc.property(
      fc.array(logit, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 45 }),
      (list, topK) => {
        const logits = Float32Array.from(list);
        const possible = Array.from(logits.keys()).filter((id) => logits[id]! > -Infinity)
          .sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, topK);
        if (possible.length === 0) return;
        const sample = sampler({ topK, topP: 1, temperature: 100, seed: 1 });
        const drawn = new Set(Array.from({ length: 400 }, () => sample(logits)));
        for (const id of drawn) assert(possible.includes(id), `${id} is not among ${possible}`);
        if (possible.length <= 4) assertEquals(drawn.size, possible.length);
      },
    ),
    { seed: 1, numRuns: 200 },
  );
});

Deno.test("sampler() makes repeated tokens less likely, whatever the sign of their logits", () => {
  const greedy = (logits: number[], history: number[], options: SamplerOptions): number =>
    sampler({ temperature: 0, ...options })(Float32Array.from(logits), history);
  assertEquals(greedy([2, 1.9], [0], { repeatPenalty: 1.5 }), 1);
  assertEquals(greedy([-1, -1.2], [0], { repeatPenalty: 1.5 }), 1);
  assertEquals(greedy([2, 1.9], [0], { repeatPenalty: 1 }), 0);
  assertEquals(greedy([2, 1.9], [0, 0, 0], { repeatPenalty: 1.04 }), 0); // once for each token
  assertEquals(greedy([2, 1.9], [0, 1], { repeatPenalty: 1.5, repeatWindow: 1 }), 0);
  assertEquals(greedy([2, 1.9], [0, 1], { repeatPenalty: 1.5, repeatWindow: 0 }), 0);
  assertEquals(greedy([2, 1.9], [0, ...new Array(64).fill(1)], { repeatPenalty: 1.5 }), 0);
  assertEquals(greedy([2, 1.9], [7], { repeatPenalty: 1.5 }), 0); // no such logit
  assertEquals(draw({ repeatPenalty: 100 }, Float32Array.of(5, 0.1), [0])[0]! > 0.4, true);
});

Deno.test("sampler() subtracts OpenAI's penalties for generated tokens, and for no other", () => {
  const greedy = (logits: number[], options: SamplerOptions, generated: number[]): number =>
    sampler({ temperature: 0, ...options })(Float32Array.from(logits), [2, 2, 2], 0, generated);
  // Once for a token that was there, however often; nothing for the prompt's.
  assertEquals(greedy([0, 2, 2.5], { presencePenalty: 1 }, []), 2);
  assertEquals(greedy([0, 2, 2.5], { presencePenalty: 0.4 }, [2, 2, 2]), 2);
  assertEquals(greedy([0, 2, 2.5], { presencePenalty: 0.6 }, [2]), 1);
  // For each time.
  assertEquals(greedy([0, 2, 2.5], { frequencyPenalty: 0.2 }, [2, 2]), 2);
  assertEquals(greedy([0, 2, 2.5], { frequencyPenalty: 0.2 }, [2, 2, 2]), 1);
  assertEquals(greedy([0, 2, 2.5], { frequencyPenalty: 0.2 }, [2, 1, 2, 2, 1]), 2);
  // Both: 2.5 - 3 · 0.25 - 0.5 = 1.25.
  const both = { presencePenalty: 0.5, frequencyPenalty: 0.25 };
  assertEquals(greedy([0, 1.24, 2.5], both, [2, 2, 2]), 2);
  assertEquals(greedy([0, 1.26, 2.5], both, [2, 2, 2]), 1);
  // Below 0 they favour what was there, and negative logits lose as much as positive ones.
  assertEquals(greedy([0, 2, 2.5], { presencePenalty: -0.6 }, [1]), 1);
  assertEquals(greedy([-3, -2, -1.5], { presencePenalty: 0.6 }, [2]), 1);
  assertEquals(greedy([0, 2, 2.5], { presencePenalty: 9 }, [7]), 2); // no such logit
});

Deno.test("sampler() adds logitBias, and -Infinity rules out", () => {
  const logits = Float32Array.of(0.1, 2, 0.3);
  const greedy = (logitBias: Record<number, number>, options: SamplerOptions = {}): number =>
    sampler({ temperature: 0, logitBias, ...options })(logits, [0]);
  assertEquals(greedy({}), 1);
  assertEquals(greedy({ 1: -1.6 }), 1);
  assertEquals(greedy({ 1: -1.8 }), 2);
  assertEquals(greedy({ 1: -Infinity }), 2);
  assertEquals(greedy({ 0: 2.5 }), 0);
  // The repeat penalty divides what the bias made: 2.6 / 2 < 2.
  assertEquals(greedy({ 0: 2.5 }, { repeatPenalty: 2 }), 1);
  assertEquals(draw({ logitBias: { 1: -Infinity, 3: -Infinity } }).map((it) => it > 0), [
    ...[true, false, true, false],
  ]);
  // Twice as likely: 0.1 · 2 of 1.1.
  assertAlmostEquals(draw({ logitBias: { 0: Math.LN2 } })[0]!, 0.2 / 1.1, NOISE);
  assertThrows(
    () => greedy({ 0: -Infinity, 1: -Infinity, 2: -Infinity }),
    ModelError,
    "every logit is -Infinity",
  );
  assertThrows(
    () => greedy({ 3: 1 }),
    InputError,
    "Cannot choose a token with a logitBias of id 3: expected ids from 0 to 2",
  );
  // A logit that is no number is noticed all the same.
  const broken = sampler({ logitBias: { 0: -Infinity } });
  assertThrows(() => broken(Float32Array.of(NaN, 1)), ModelError, "the logit of id 0 is NaN");
});

Deno.test("sampler() does not change the logits", () => {
  const logits = KNOWN.slice();
  sampler({ repeatPenalty: 2, topK: 2, minP: 0.5, seed: 1 })(logits, [0, 1, 2]);
  sampler({ logitBias: { 1: 3 }, presencePenalty: 1 })(logits, [0, 1, 2], 0, [1, 2]);
  assertEquals(logits, KNOWN);
});

Deno.test("sampler() takes the first of equals, and repeats itself with one seed", () => {
  assertEquals(sampler({ temperature: 0 })(Float32Array.of(1, 3, 3, 2)), 1);
  const series = (seed?: number): number[] => {
    const sample = sampler({ topP: 1, ...(seed === undefined ? {} : { seed }) });
    return Array.from({ length: 40 }, () => sample(KNOWN));
  };
  assertEquals(series(3), series(3));
  assert(series(3).join() !== series(4).join());
  assert(series().join() !== series().join());
  assertEquals(series(0), series(0));
  assertEquals(series(Number.MAX_SAFE_INTEGER), series(Number.MAX_SAFE_INTEGER));
});

Deno.test("sampler() never takes a word that is ruled out, and makes no choice from broken logits", () => {
  for (const options of [{ temperature: 0 }, { topK: 2 }, { topK: 0 }, { repeatPenalty: 2 }]) {
    const sample = sampler({ seed: 1, ...options });
    for (let i = 0; i < 20; i++) {
      assertEquals(sample(Float32Array.of(-Infinity, -Infinity, 1, -Infinity), [2]), 2);
    }
    for (const [logits, message] of BROKEN) {
      assertThrows(() => sample(Float32Array.from(logits), [0]), ModelError, message);
    }
    assertThrows(
      () => sample(new Float32Array(0)),
      InputError,
      "expected a Float32Array of logits",
    );
    assertThrows(() => sample([1, 2] as never), InputError, "expected a Float32Array of logits");
  }
});

const BROKEN: [logits: number[], message: string][] = [
  [[1, NaN, 3], "Cannot choose a token: the logit of id 1 is NaN"],
  [[1, 2, Infinity], "the logit of id 2 is Infinity, expected a finite number, or -Infinity"],
  [[-Infinity, NaN], "the logit of id 1 is NaN"],
  [[-Infinity, -Infinity], "every logit is -Infinity, so that every word is ruled out"],
];

const WRONG: SamplerOptions[] = [
  { temperature: -0.1 },
  { temperature: NaN },
  { temperature: Infinity },
  { topK: -1 },
  { topK: 2.5 },
  { topP: 1.01 },
  { topP: -0.5 },
  { minP: 2 },
  { repeatPenalty: 0 },
  { repeatWindow: 0.5 },
  { presencePenalty: NaN },
  { frequencyPenalty: 101 },
  { seed: -1 },
  { seed: 0.5 },
  { seed: "7" as unknown as number },
];

Deno.test("sampler() names a bias that is none", () => {
  const rows: unknown[] = [{ 1: NaN }, { 1: Infinity }, { 1: "2" }, { a: 1 }, { "-1": 1 }, [1], 3];
  for (const logitBias of rows) {
    assertThrows(
      () => sampler({ logitBias: logitBias as Record<number, number> }),
      InputError,
      "Cannot sample with logitBias",
    );
  }
});

Deno.test("sampler() names the option that is out of range", () => {
  for (const options of WRONG) {
    const [[name, value]] = Object.entries(options) as [[string, unknown]];
    assertThrows(
      () => sampler(options),
      InputError,
      `Cannot sample with ${name} ${typeof value === "string" ? `"${value}"` : value}: expected a`,
    );
  }
});
