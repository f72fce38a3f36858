/** What is said of memory before a model is loaded, and which options are advised. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { MemoryError } from "../errors.ts";
import { SHAPES } from "../cli/shapes.ts";
import { checkMemory } from "../runtime/engine/check_memory.ts";
import { type TableChoice, withTablesInFile } from "../runtime/engine/lookup_tables.ts";
import { paperModel } from "../runtime/engine/paper_model.ts";
import { programGraphs } from "../runtime/engine/record.ts";
import { resolveModel, type ResolveOptions } from "../runtime/engine/resolve.ts";

/** Checks a shape against so many bytes, and returns what was told. */
async function told(
  name: string,
  available: number,
  given: ResolveOptions & Partial<TableChoice> = {},
): Promise<string[]> {
  const file = await paperModel(SHAPES[name]!.config, name);
  const options = { isHosted: true, contextLength: 512, ...given };
  const model = withTablesInFile(await resolveModel(file, options, () => {}), options);
  const graphs = programGraphs(model.programs, model.weights, model.sizes), told: string[] = [];
  await checkMemory(file, graphs, options, (message) => told.push(message), available);
  return told;
}

Deno.test("what does not fit is told with the options that are enough and round least", async () => {
  for (
    const [available, given, advice] of [
      [5e9, { lookupTables: "memory" }, `use lookupTables "file"`],
      [4.5e9, {}, `use wordTables "int8"`],
      [4.4e9, { lookupTables: "memory" }, `use lookupTables "file" and use wordTables "int8"`],
      [4e9, {}, `use wordTables "int8" and use cacheType "int8"`],
      [5e9, { contextLength: 2048 }, `use cacheType "int8"`],
      [3.8e9, {}, `use weights "int4" and use wordTables "int4" and use cacheType "int8"`],
      [1e9, {}, `use weights "int4", a shorter contextLength or fewer sequences`],
    ] as const
  ) {
    const load = (): Promise<string[]> => told("chatglm-6b-int4", available, given);
    const { message } = await assertRejects(load, MemoryError);
    assert(message.endsWith(`are available; ${advice}`), message);
  }
});

Deno.test("what takes most of the free memory is told with what options save", async () => {
  const [message, ...others] = await told("chatglm-6b-int4", 6.5e9, { lookupTables: "memory" });
  assertEquals(others, []);
  assertStringIncludes(
    message!,
    `Weights and caches of "chatglm-6b-int4" take 5.79 GB of the 6.5 GB`,
  );
  assertStringIncludes(
    message!,
    `: with lookupTables "file" 1.07 GB less, with wordTables "int8" 1 GB`,
  );
  assert(!message!.includes(`weights "int8"`), message); // which would take more
  assertEquals(await told("chatglm-6b-int4", 20e9), []);
  // Nobody waits for what is small, and a GPU has memory of its own.
  assertEquals(await told("t5-small", 160e6, { weights: "int8" }), []);
  assertEquals(await told("chatglm-6b-int4", 6.5e9, { isHosted: false }), []);
});
