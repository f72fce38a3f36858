// Makes tests/golden/llama_cpp.json: what llama.cpp makes of the settings in tests/gguf_settings.ts. It keeps
// keys and values in 16 bits, so that its numbers are good to about three digits.
//
//   deno eval 'import { IDS, PLACES, MODELS, contentsOf } from "./tests/gguf_settings.ts";
//     import { ggufBytes } from "./tests/fixtures.ts";
//     for (const [i, [a, s]] of MODELS.entries()) Deno.writeFileSync(`FOLDER/${i}.gguf`, await ggufBytes(contentsOf(a, s)));
//     Deno.writeTextFileSync("FOLDER/models.json", JSON.stringify({ IDS, PLACES, MODELS }));'
//   npm install node-llama-cpp && node make_llama_cpp.mjs FOLDER > llama_cpp.json
//
// The same with tests/glm_gguf.ts in the place of tests/gguf_settings.ts makes tests/golden/llama_cpp_glm.json.

import fs from "node:fs";
import process from "node:process";

// Not a dependency of this repository.
const peer = "node-llama-cpp";
const { getLlama, LlamaLogLevel } = await import(peer);
const folder = process.argv[2];
const { IDS, PLACES, MODELS } = JSON.parse(fs.readFileSync(`${folder}/models.json`, "utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.disabled });
const lines = [];
for (const [i, [architecture, name]] of MODELS.entries()) {
  const model = await llama.loadModel({ modelPath: `${folder}/${i}.gguf` });
  const context = await model.createContext({ contextSize: 256 });
  const tokens = IDS.map((id) => [id, { generateNext: { probabilities: true } }]);
  const results = await context.getSequence().controlledEvaluate(tokens);
  // The five most likely tokens and their probabilities.
  const rows = PLACES.map((place) =>
    Array.from(results[place].next.probabilities).slice(0, 5)
      .map(([id, probability]) => [id, Number(probability.toFixed(4))])
  );
  lines.push(JSON.stringify({ architecture, name, rows }));
  await context.dispose();
  await model.dispose();
}
const release = JSON.parse(
  fs.readFileSync("node_modules/node-llama-cpp/llama/llama.cpp.info.json", "utf8"),
).tag;
console.log(`{"reference": "llama.cpp ${release}", "models": [\n${lines.join(",\n")}\n]}`);
process.exit(0);
