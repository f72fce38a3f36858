// Makes tests/golden/llama_cpp_convert.json: what llama.cpp makes of the folders in tests/convert_models.ts
// once they are converted: tokens of texts, tokens that it finds most likely one after another, and the
// probabilities of the first of these.
//
//   deno eval 'import { MODELS, TEXTS, GENERATED, folderFiles } from "./tests/convert_models.ts";
//     import { quantizeModel } from "./quantize/quantize_model.ts";
//     import { withFolder } from "./tests/tiny_model.ts";
//     const names = Object.keys(MODELS);
//     for (const [i, name] of names.entries()) await withFolder(await folderFiles(name), async (path) =>
//       void await quantizeModel(path, `FOLDER/${i}.gguf`, { type: "F32", force: true }));
//     Deno.writeTextFileSync("FOLDER/models.json", JSON.stringify({ names, TEXTS, GENERATED }));'
//   npm install node-llama-cpp && node make_llama_cpp_convert.mjs FOLDER > llama_cpp_convert.json

import fs from "node:fs";
import process from "node:process";

// Not a dependency of this repository.
const peer = "node-llama-cpp";
const { getLlama, LlamaLogLevel } = await import(peer);
const folder = process.argv[2];
const { names, TEXTS, GENERATED } = JSON.parse(fs.readFileSync(`${folder}/models.json`, "utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.disabled });
const lines = [];
for (const [i, name] of names.entries()) {
  const model = await llama.loadModel({ modelPath: `${folder}/${i}.gguf` });
  const tokens = TEXTS.map((text) => Array.from(model.tokenize(text, false)));
  const context = await model.createContext({ contextSize: 256 });
  const sequence = context.getSequence();
  const generated = [], rows = [];
  for (let input = tokens[0]; generated.length < GENERATED; input = generated.slice(-1)) {
    const steps = input.map((id, at) =>
      at < input.length - 1 ? id : [id, { generateNext: { probabilities: true } }]
    );
    const results = await sequence.controlledEvaluate(steps);
    const best = Array.from(results.at(-1).next.probabilities).slice(0, 5);
    generated.push(best[0][0]);
    rows.push(best.map(([id, probability]) => [id, Number(probability.toFixed(4))]));
  }
  const { bos, eos, shouldPrependBosToken, shouldAppendEosToken } = model.tokens;
  const around = { bos, eos, addBos: shouldPrependBosToken, addEos: shouldAppendEosToken };
  lines.push(JSON.stringify({ name, ...around, tokens, generated, rows: rows.slice(0, 2) }));
  await context.dispose();
  await model.dispose();
}
const release = JSON.parse(
  fs.readFileSync("node_modules/node-llama-cpp/llama/llama.cpp.info.json", "utf8"),
).tag;
console.log(`{"reference": "llama.cpp ${release}", "models": [\n${lines.join(",\n")}\n]}`);
process.exit(0);
