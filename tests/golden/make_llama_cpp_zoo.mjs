// Makes tests/golden/llama_cpp_zoo.json: what llama.cpp makes of the files in tests/zoo_gguf.ts: tokens of
// texts, distributions and greedy texts of a decoder, vectors of an encoder. Its GELU is a table in 16
// bits and it keeps keys and values in 16 bits, so that its numbers are good to about three digits.
//
//   deno eval 'import { QUERY, TEXTS, ZOO, zooContents } from "./tests/zoo_gguf.ts";
//     import { ggufBytes } from "./tests/fixtures.ts";
//     for (const [i, it] of Object.values(ZOO).entries()) Deno.writeFileSync(`FOLDER/${i}.gguf`, await ggufBytes(zooContents(...it)));
//     Deno.writeTextFileSync("FOLDER/zoo.json", JSON.stringify({ QUERY, TEXTS, ZOO }));'
//   npm install node-llama-cpp && node make_llama_cpp_zoo.mjs FOLDER > llama_cpp_zoo.json

import fs from "node:fs";
import process from "node:process";

// Not a dependency of this repository.
const peer = "node-llama-cpp";
const { getLlama, LlamaLogLevel } = await import(peer);
const folder = process.argv[2];
const { QUERY, TEXTS, ZOO } = JSON.parse(fs.readFileSync(`${folder}/zoo.json`, "utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.disabled });
const rounded = (value) => Number(value.toPrecision(5));

/** Of some places the most likely tokens and their probabilities, and the likeliest text. */
async function decoder(model) {
  const context = await model.createContext({ contextSize: 256 });
  const ids = Array.from({ length: 24 }, (_, i) => (i * 7 + 3) % 40), places = [0, 11, 23];
  const sequence = context.getSequence();
  const results = await sequence.controlledEvaluate(
    ids.map((id) => [id, { generateNext: { probabilities: true } }]),
  );
  const rows = places.map((place) =>
    Array.from(results[place].next.probabilities).slice(0, 5)
      .map(([id, probability]) => [id, rounded(probability)])
  );
  const greedy = [];
  await sequence.clearHistory();
  for await (const id of sequence.evaluate([1], { temperature: 0 })) {
    greedy.push(id);
    if (greedy.length === 12) break;
  }
  await context.dispose();
  return { ids, places, rows, greedy };
}

/** The vector of a text, of length 1. */
async function encoder(model, isBert) {
  const context = await model.createEmbeddingContext({ contextSize: 256 });
  const middle = [9, 14, 21, 33, 8, 17, 25, 11, 30, 12, 13, 29];
  // The binding knows no begin token that spells something.
  const { bos, eos } = model.tokens;
  const ids = !isBert ? [...middle, 1] : eos === null ? [2, ...middle, 3] : [bos ?? 257, ...middle, eos];
  const { vector } = await context.getEmbeddingFor(ids);
  const length = Math.hypot(...vector);
  await context.dispose();
  return { ids, vector: vector.map((it) => rounded(it / length)) };
}

/** How well texts answer a query, from 0 to 1. */
async function ranker(model) {
  const context = await model.createRankingContext({ contextSize: 256 });
  const ranks = [];
  // The binding leaves out the end where a file names no end token.
  const query = model.tokenize(QUERY[0]), end = model.tokens.eos === null ? [model.tokens.sep] : [];
  for (const it of QUERY[1]) {
    ranks.push(rounded(await context.rank(query, [...model.tokenize(it), ...end])));
  }
  await context.dispose();
  return { ranks };
}

const lines = [];
for (const [i, [name, [architecture, { scores }]]] of Object.entries(ZOO).entries()) {
  const model = await llama.loadModel({ modelPath: `${folder}/${i}.gguf` });
  const tokens = TEXTS.map((it) => Array.from(model.tokenize(it)));
  const result = scores
    ? await ranker(model)
    : architecture === "gpt2"
    ? await decoder(model)
    : architecture === "t5"
    ? {}
    : await encoder(model, architecture !== "t5encoder");
  lines.push(JSON.stringify({ name, tokens, ...result }));
  await model.dispose();
}
const release = JSON.parse(
  fs.readFileSync("node_modules/node-llama-cpp/llama/llama.cpp.info.json", "utf8"),
).tag;
console.log(`{"reference": "llama.cpp ${release}", "models": [\n${lines.join(",\n")}\n]}`);
process.exit(0);
