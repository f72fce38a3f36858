/**
 * MT-DNN's answer networks, compared with what they give in torch (golden/make_answers.py).
 */

import { assertAlmostEquals, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type BackendName, InputError, loadModel, ModelError } from "../mod.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const TASKS = new URL("golden/tasks/", import.meta.url);

/** Bounds of numbers of size 1. */
const BACKENDS: readonly (readonly [BackendName, number])[] = [
  ["reference", 1e-5],
  ["wasm", 1e-4],
  ...(hasWebgpu ? [["webgpu", 1e-4] as const] : []),
];

/** A pair and the scores of each task, with the settings that differ from those of the checkpoint. */
interface Case {
  readonly settings: Record<string, unknown>;
  readonly input: [string, string];
  readonly scores: Readonly<Record<string, number[]>>;
}

async function casesOf(name: string): Promise<readonly Case[]> {
  return JSON.parse(await Deno.readTextFile(new URL(`${name}/expected.json`, TASKS))).cases;
}

/** A model of golden/tasks/, with other settings in its config.json; what it was warned of. */
async function load(
  name: string,
  backend: BackendName,
  settings: Record<string, unknown> = {},
): Promise<{ model: Awaited<ReturnType<typeof loadModel>>; warnings: string[] }> {
  const folder = new URL(`${name}/`, TASKS), warnings: string[] = [];
  const config = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
  const onWarning = (message: string): number => warnings.push(message);
  const copy = await Deno.makeTempDir({ prefix: "sparrow_" });
  try {
    for (const file of ["vocab.txt", "mt_dnn.pt"]) {
      await Deno.copyFile(new URL(file, folder), `${copy}/${file}`);
    }
    await Deno.writeTextFile(`${copy}/config.json`, JSON.stringify({ ...config, ...settings }));
    return { model: await loadModel(copy, { backend, onWarning }), warnings };
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
}

function assertNear(actual: readonly number[], wanted: readonly number[], bound: number): void {
  assertEquals(actual.length, wanted.length);
  wanted.forEach((value, i) => assertAlmostEquals(actual[i]!, value, bound));
}

/** Scores in the order of their labels. */
function inOrder(labels: readonly { label: string; score: number }[]): number[] {
  return labels.toSorted((a, b) => a.label < b.label ? -1 : 1).map(({ score }) => score);
}

for (const [backend, bound] of BACKENDS) {
  for (const name of ["mt-dnn-answers", "mt-dnn-simple", "mt-dnn-flatsim"]) {
    Deno.test(`${name} gives the scores of the original on ${backend}`, async () => {
      const groups = Map.groupBy(await casesOf(name), (it) => JSON.stringify(it.settings));
      for (const cases of groups.values()) {
        const { model, warnings } = await load(name, backend, cases[0]!.settings);
        await using _ = model;
        const isConstant = name === "mt-dnn-answers" && cases[0]!.settings.answer_mem_type !== 0;
        assertEquals(warnings.length, isConstant ? 2 : 0, warnings.join("\n"));
        for (const { input, scores } of cases) {
          for (const [task, wanted] of Object.entries(scores)) {
            const { labels, kind } = await model.classify(input, { task });
            assertNear(inOrder(labels), wanted, bound);
            assertEquals(kind === "regression", task === "stsb");
          }
        }
        if (name !== "mt-dnn-answers") continue;
        // Several texts that run together have the scores that each has alone.
        const [query, text] = cases[0]!.input, texts = [text, "a dog", text];
        const ranked = await model.rerank(query, texts, { task: "qnli" });
        for (const { index, score } of ranked) {
          if (index !== 1) assertAlmostEquals(score, cases[0]!.scores.qnli![0]!, bound);
        }
      }
    });
  }
}

Deno.test("what an answer network cannot do is refused by name", async () => {
  const { model, warnings } = await load("mt-dnn-answers", "reference");
  await using it = model;
  assertMatch(
    warnings[0]!,
    /task 2 of .* averages probabilities of one label, .* every score is 0/,
  );
  await assertRejects(
    () => it.classify("a dog ran", { task: "mnli" }),
    InputError,
    'with task "mnli"',
  );
  await assertRejects(() => it.classify(["a", "b"]), InputError, 'as with task "sst"');
  const refused: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ answer_num_turn: 0 }, "answer_num_turn 0, expected a whole number from 1 to 100"],
    [{ answer_num_turn: 1e9 }, "answer_num_turn 1000000000, expected a whole number"],
    [{ answer_att_type: "none" }, 'answer_att_type "none", expected "bilinear" or "simple"'],
    [{ answer_rnn_type: "lstm" }, 'answer_rnn_type "lstm", expected "gru"'],
    [{ answer_weight_norm_on: true }, "answer_weight_norm_on true, expected false"],
  ];
  for (const [settings, message] of refused) {
    const { model } = await load("mt-dnn-answers", "reference", settings);
    await using other = model;
    await assertRejects(() => other.classify(["a", "b"], { task: "mnli" }), ModelError, message);
    // The other tasks can be asked all the same.
    assertEquals((await other.classify("a dog ran", { task: "sst" })).labels.length, 2);
  }
  await assertRejects(
    () => load("mt-dnn-answers", "reference", { answer_merge_opt: 0 }),
    ModelError,
    '"scoring_list.1.classifier.proj.weight"',
  );
});
