// Compares llama.cpp with what write.ts beside it has kept for each file: ids of texts, and the next
// token at each place of a text. Where another token is likeliest, says by how much, and how far the
// log-probabilities of both are from those of the reference backend elsewhere in the same text: a
// difference that is no larger than that comes from rounding (of activations to bytes, which llama.cpp
// does where weights are quantized, and of keys and values to 16 bits), a larger one is a fault.
//
//   node read.mjs FOLDER

import fs from "node:fs";
import process from "node:process";

// Not a dependency of this repository.
const peer = process.env.NODE_LLAMA_CPP ?? "node-llama-cpp";
const { getLlama, LlamaLogLevel } = await import(peer);
const folder = process.argv[2];
const expected = JSON.parse(fs.readFileSync(`${folder}/expected.json`, "utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error });

/** Root of the mean square of differences of log-probabilities, of tokens that both have. */
function deviation(places, others) {
  let sum = 0, count = 0;
  for (const [i, place] of places.entries()) {
    const known = new Map(others[i]);
    for (const [id, value] of place) {
      if (!known.has(id)) continue;
      sum += (value - known.get(id)) ** 2;
      count++;
    }
  }
  return Math.sqrt(sum / count);
}

/** How many times the root of the mean square a difference of two values may be. */
const SPREAD = 3;

let faults = 0;
for (const { file, texts, prompt, written, likeliest } of expected) {
  const model = await llama.loadModel({ modelPath: `${folder}/${file}` });
  const cut = texts.filter(({ text, ids }) =>
    JSON.stringify(model.tokenize(text, false, "trimLeadingSpace")) !== JSON.stringify(ids) &&
    JSON.stringify(model.tokenize(text)) !== JSON.stringify(ids)
  );
  for (const { text, ids } of cut) {
    console.log(
      `  ${file}: ${JSON.stringify(text)} ours ${ids}, llama.cpp ${model.tokenize(text)}`,
    );
  }
  const context = await model.createContext({ contextSize: 256 });
  const ids = [...prompt, ...written];
  const results = await context.getSequence().controlledEvaluate(
    ids.map((id) => [id, { generateNext: { probabilities: true } }]),
  );
  const rows = results.map(({ next }) =>
    Array.from(next.probabilities).slice(0, 64).map(([id, it]) => [id, Math.log(it)])
  );
  const { reference, wasm } = likeliest;
  const [theirs, ours] = [deviation(reference, rows), deviation(reference, wasm)];
  const notes = [];
  // Both round activations to bytes: neither has a reason to be much further off than the other.
  if (theirs > 3 * ours + 0.03) {
    faults++;
    notes.push("FAULT: further off than rounding explains");
  }
  let equal = 0;
  for (let place = prompt.length - 1; place < ids.length; place++) {
    const own = reference[place], best = rows[place][0][0];
    if (own[0][0] === best) {
      equal++;
      continue;
    }
    const other = own.find(([id]) => id === best)?.[1] ?? -Infinity, margin = own[0][1] - other;
    const isTie = margin <= SPREAD * Math.SQRT2 * theirs;
    if (!isTie) faults++;
    notes.push(`${isTie ? "tie" : "FAULT"} at ${place}, by ${margin.toFixed(4)}`);
  }
  if (cut.length > 0) faults++;
  const count = ids.length - prompt.length + 1;
  console.log(
    `${file}: texts ${
      texts.length - cut.length
    } of ${texts.length}, tokens ${equal} of ${count}, ` +
      `deviation ${theirs.toFixed(4)} (ours ${ours.toFixed(4)})` +
      (notes.length > 0 ? `: ${notes.join("; ")}` : ""),
  );
  await context.dispose();
  await model.dispose();
}
console.log(`${expected.length} files, ${faults} faults`);
process.exit(faults === 0 ? 0 : 1);
