/** Quantizing that ends early: what is left, what goes on from it, and what is refused. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { draftNames, openDraft } from "../quantize/draft.ts";
import { quantizeModel, type QuantizeOptions } from "../quantize/quantize_model.ts";
import { FIXTURES } from "./fixtures.ts";
import { inFolder } from "./tiny_model.ts";

const STORIES = new URL("models/stories260K/stories260K.gguf", FIXTURES);

function namesIn(path: string): string[] {
  return Array.from(Deno.readDirSync(path), (it) => it.name).sort();
}

/** Options under which a few layers are rounded on a few texts. */
const OPTIONS: QuantizeOptions = {
  ...{ tokens: 60, threads: 1, verify: false, type: "Q4_0" },
  calibration: [Array.from({ length: 60 }, (_, i) => (7 * i) % 512)],
};

/** A call that a signal ends once so many steps of quantizing are done. */
async function ended(path: string, steps: number, options: QuantizeOptions): Promise<void> {
  const stop = new AbortController(), reason = new Error("ended");
  const made = quantizeModel(STORIES, path, {
    ...{ ...OPTIONS, ...options, signal: stop.signal },
    onProgress: ({ phase, done }) => {
      if (phase === "quantize" && done === steps) stop.abort(reason);
    },
  });
  assertEquals(await made.catch((error) => error), reason);
}

Deno.test("quantizeModel resumes after any layer, and makes the same file", async () => {
  await inFolder(async (path) => {
    const told: string[] = [];
    const onWarning = (text: string) => void told.push(text);
    await quantizeModel(STORIES, path("whole.gguf"), { ...OPTIONS, saveImatrix: path("i.gguf") });
    const whole = Deno.readFileSync(path("whole.gguf")), sums = Deno.readFileSync(path("i.gguf"));
    for (const steps of [1, 4]) {
      await ended(path("q.gguf"), steps, { resume: true, onWarning });
      assertEquals(namesIn(path("")), [
        "i.gguf",
        "q.gguf.part",
        "q.gguf.part.journal",
        "whole.gguf",
      ]);
      // A line that the end of the process has cut off.
      const [, journal] = draftNames(path("q.gguf"));
      Deno.writeTextFileSync(journal, '{"whole":["output.wei', { append: true });
      const layers: string[] = [];
      const options = { ...OPTIONS, resume: true, saveImatrix: path("i2.gguf"), onWarning };
      await quantizeModel(STORIES, path("q.gguf"), {
        ...options,
        onProgress: ({ name }) => void layers.push(name),
      });
      assertEquals(Deno.readFileSync(path("q.gguf")), whole, `after ${steps}`);
      assertEquals(Deno.readFileSync(path("i2.gguf")), sums);
      for (const name of ["q.gguf", "i2.gguf"]) Deno.removeSync(path(name));
    }
    assertEquals(namesIn(path("")), ["i.gguf", "whole.gguf"]);
    assertEquals(told.filter((it) => it.includes("to go on with: it is begun")).length, 2);
    assertEquals(told.length, 2);
  });
});

Deno.test("quantizeModel: a draft of other options is refused by name, or begun anew", async () => {
  await inFolder(async (path) => {
    const told: string[] = [];
    const onWarning = (text: string) => void told.push(text);
    await ended(path("q.gguf"), 2, { resume: true, onWarning });
    const refused = (options: QuantizeOptions, message: string): Promise<unknown> =>
      assertRejects(
        () => quantizeModel(STORIES, path("q.gguf"), { ...OPTIONS, resume: true, ...options }),
        InputError,
        message,
      );
    await refused({ type: "Q4_1" }, 'begun with type "Q4_0", found "Q4_1"');
    await refused({ method: "awq" }, 'begun with method "gptq", found "awq"');
    await refused({ seed: 8 }, 'begun with seed "none", found "8"');
    await refused({ tokens: 59 }, 'begun with tokens "60", found "59"');
    await refused({ calibration: [[1, 2]] }, "begun with calibration");
    await refused({ tensors: [{ pattern: /ffn_up/, type: "Q8_0" }] }, "begun with tensors");
    const other = path("other.gguf");
    Deno.copyFileSync(STORIES, other);
    await assertRejects(
      () => quantizeModel(other, path("q.gguf"), { ...OPTIONS, resume: true }),
      InputError,
      "begun with source",
    );
    Deno.removeSync(other);
    assertEquals(namesIn(path("")), ["q.gguf.part", "q.gguf.part.journal"]);
    // Without resume it is begun anew, which is said, and ended early it leaves nothing.
    told.length = 0;
    await ended(path("q.gguf"), 1, { onWarning });
    assertEquals(told.length, 1);
    assert(told[0]!.includes("was begun anew; resume (--resume) would have gone on"), told[0]);
    assertEquals(namesIn(path("")), []);
  });
});

Deno.test("openDraft: one process at a time; fields of another size move the tensors", async () => {
  await inFolder(async (path) => {
    const plan = {
      ...{ path: path("a.gguf"), terms: { type: "F32" }, resume: false },
      fields: [["name", { type: "string", value: "a" }]] as const,
      tensors: [{ name: "x", shape: [4], type: "F32" }, { name: "y", shape: [2], type: "F32" }],
    };
    const draft = await openDraft(plan);
    await assertRejects(() => openDraft(plan), InputError, "another process is writing");
    const x = Float32Array.of(1, 2, 3, 4), y = Float32Array.of(5, 6);
    draft.write("y", new Uint8Array(y.buffer));
    draft.write("x", new Uint8Array(x.buffer, 8), 8);
    draft.write("x", new Uint8Array(x.buffer, 0, 8));
    draft.complete(["x", "y"]);
    const value = "long ".repeat(100);
    const bytes = await draft.finish([["name", { type: "string", value }]]);
    assertEquals(namesIn(path("")), ["a.gguf"]);
    const file = Deno.readFileSync(path("a.gguf"));
    assertEquals(file.length, bytes);
    assertEquals(new Float32Array(file.slice(-64, -48).buffer), x);
    assertEquals(new Float32Array(file.slice(-32, -24).buffer), y);
  });
});

Deno.test("quantizeModel refuses to write over its source, by any name", async () => {
  await inFolder(async (path) => {
    const source = path("source.gguf");
    Deno.copyFileSync(STORIES, source);
    Deno.linkSync(source, path("hard.gguf"));
    Deno.symlinkSync(source, path("soft.gguf"));
    const options = { method: "nearest", force: true } as const;
    for (
      const name of [
        "source.gguf",
        "hard.gguf",
        "soft.gguf",
        "../" + source.split("/").at(-2) + "/source.gguf",
      ]
    ) {
      await assertRejects(
        () => quantizeModel(source, path(name), options),
        InputError,
        "it is the model that is read",
      );
    }
    const saved = { method: "importance", saveImatrix: source, force: true } as const;
    await assertRejects(() => quantizeModel(source, path("q.gguf"), saved), InputError, "is read");
    assertEquals(Deno.readFileSync(source), Deno.readFileSync(STORIES));
  });
});

Deno.test("quantize: killed at any moment, its destination is whole or absent, and it resumes", async () => {
  await inFolder(async (path) => {
    const program = path("run.ts"), out = path("q.gguf");
    const module = new URL("../quantize/quantize_model.ts", import.meta.url).href;
    // Kills itself as kill -9 would, when a layer is begun.
    Deno.writeTextFileSync(
      program,
      `import { quantizeModel } from ${JSON.stringify(module)};
      const [source, out, layer] = Deno.args;
      await quantizeModel(source, out, { ...${JSON.stringify(OPTIONS)}, resume: true,
        onWarning() {},
        onProgress({ name }) { if (name.startsWith(layer)) Deno.kill(Deno.pid, "SIGKILL"); } });`,
    );
    const run = async (layer: string): Promise<number> => {
      const args = ["run", "-A", "--no-lock", "--no-check", program, STORIES.pathname, out, layer];
      return (await new Deno.Command(Deno.execPath(), { args }).output()).code;
    };
    for (const layer of ["layer 2"]) {
      assertEquals(await run(layer), 137);
      assert(!namesIn(path("")).includes("q.gguf"));
    }
    assertEquals(await run("no layer"), 0);
    await quantizeModel(STORIES, path("whole.gguf"), OPTIONS);
    assertEquals(Deno.readFileSync(out), Deno.readFileSync(path("whole.gguf")));
    assertEquals(namesIn(path("")), ["q.gguf", "run.ts", "whole.gguf"]);
  });
});
