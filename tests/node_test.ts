/** The bundle in Node, which imports it and says why it runs no models. Skipped where there is no Node. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { DEV_TASKS } from "../tools/dev.ts";
import { skipUnless } from "./skips.ts";

const ROOT = new URL("../", import.meta.url);
const hasNode = await new Deno.Command("node", { args: ["--version"] }).output()
  .then(({ success }) => success, () => false);

Deno.test({
  name: "Node imports the bundle, and is told what it lacks to run models",
  ignore: skipUnless(hasNode, "there is no Node here"),
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "sparrow_" });
    try {
      const step = DEV_TASKS.bundle!.steps[0]!.replace("dist/sparrow.js", `${folder}/sparrow.mjs`);
      const bundle = await new Deno.Command(Deno.execPath(), { args: step.split(" "), cwd: ROOT })
        .output();
      assertEquals(bundle.code, 0, new TextDecoder().decode(bundle.stderr));
      const model = new URL("models/stories260K/stories260K.gguf", import.meta.url).pathname;
      await Deno.writeTextFile(
        `${folder}/main.mjs`,
        `import { readFile } from "node:fs/promises";
        import { detectBackends, loadModel, sampler } from "./sparrow.mjs";
        console.log(sampler({ temperature: 0 })(Float32Array.of(1, 3, 2)));
        const weights = new Blob([await readFile(${JSON.stringify(model)})]);
        await loadModel(weights).catch((error) => console.log(error.name + ": " + error.message));
        console.log(JSON.stringify(await detectBackends()));`,
      );
      const { code, stdout, stderr } = await new Deno.Command("node", {
        args: [`${folder}/main.mjs`],
        signal: AbortSignal.timeout(60_000),
      }).output();
      assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
      const [chosen, refusal, found] = new TextDecoder().decode(stdout).trim().split("\n");
      assertEquals(chosen, "1");
      assertStringIncludes(refusal!, "BackendError: Cannot ");
      assertStringIncludes(refusal!, "use Deno");
      const { wasm, webgpu, reference } = JSON.parse(found!);
      assertEquals([wasm, webgpu, reference], [
        false,
        false,
        !refusal!.includes("engine: it has no"),
      ]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
