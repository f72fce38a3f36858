/** Backends that are begun while files are opened: used where they are wanted, disposed of where not. */

import { assertEquals, assertRejects } from "@std/assert";
import { InputError, loadModel } from "../mod.ts";
import { candidatesFor } from "../runtime/backends/candidates.ts";
import { FIXTURES } from "./fixtures.ts";

Deno.test("a backend that was begun is the one that is used, or is disposed of", async () => {
  const candidates = await candidatesFor({ backend: "wasm", threads: 1 }, () => {});
  candidates.begin();
  await candidates.release();
  await candidates.release();
  candidates.begin();
  const backend = await candidates.use((backend) => Promise.resolve(backend));
  assertEquals([backend.name, backend.threads], ["wasm", 1]);
  await backend.dispose();
});

Deno.test("a model that cannot be loaded leaves no backend behind", async () => {
  const source = new URL("models/stories260K/stories260K.gguf", FIXTURES);
  const options = { backend: "wasm", threads: 2, contextLength: 2 ** 30 } as const;
  await assertRejects(() => loadModel(source, { ...options, onWarning() {} }));
  await assertRejects(
    () => loadModel(new URL("nothing.gguf", FIXTURES), { backend: "wasm", threads: 2 }),
  );
  const given = { backend: "webgpu", reproducible: true } as const;
  await assertRejects(() => loadModel(source, given), InputError);
});
