/**
 * Whether two models read the same tokens, so that their predictions can be compared.
 *
 * @module
 */

import { InputError, SparrowError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { Model } from "../runtime/model.ts";

/**
 * Refuses models whose tokens are not the same.
 *
 * @throws InputError when there are more of one's than of the other's, or one has another spelling
 */
export function checkVocabularies(base: Model, model: Model): void {
  const { vocabSize } = base.config;
  const fail = (found: string): never => {
    throw new InputError(
      `Cannot compare ${quote(base.name)} with ${quote(model.name)}: ${found}, expected the same`,
    );
  };
  if (model.config.vocabSize !== vocabSize) {
    fail(`they have vocabularies of ${vocabSize} and ${model.config.vocabSize} tokens`);
  }
  if (!base.hasTokenizer || !model.hasTokenizer) return; // a model may come without its own
  for (let id = 0; id < vocabSize; id++) {
    const [a, b] = [base.tokenizer.idToToken(id), model.tokenizer.idToToken(id)];
    // Rows that no token has are named in some files, and not in others.
    if (a === undefined || b === undefined || a === b) continue;
    fail(`token ${id} is ${quote(a)} in one and ${quote(b)} in the other`);
  }
}

/** A text with what tokenizers disagree on: capitals, digits, blanks, lines, letters of several scripts. */
const SAMPLE = "The 1234 birds'  nest:\n\n\tsparrows—麻雀, Спички… don’t!  42\n";

/** A conversation that chat templates write. */
const CONVERSATION = [
  { role: "user", content: "Who are you?" },
  { role: "assistant", content: "A sparrow." },
  { role: "user", content: "And who am I?" },
];

/** What differs between models of one vocabulary, in sentences; their predictions can be compared still. */
export async function differences(base: Model, model: Model): Promise<string[]> {
  const found: string[] = [];
  const names = `${quote(base.name)} and ${quote(model.name)}`;
  if (base.hasTokenizer && model.hasTokenizer) {
    const [a, b] = [base, model].map(({ tokenizer }) => ({
      around: tokenizer.encode("").join(),
      inside: tokenizer.encode(SAMPLE, { addSpecial: false }).join(),
    }));
    if (a!.around !== b!.around) {
      found.push(
        `${names} begin or end texts with other tokens: [${a!.around}] and [${b!.around}]; ` +
          `the first's are read`,
      );
    }
    if (a!.inside !== b!.inside) {
      found.push(`${names} cut texts into other tokens; the first's are read`);
    }
  }
  const [one, other] = [await promptOf(base), await promptOf(model)];
  if (one !== other) found.push(`${names} have chat templates that write other prompts`);
  return found;
}

/** What a template makes of the conversation; what it says where it refuses it. */
async function promptOf(model: Model): Promise<string> {
  if (!model.hasChatTemplate || !model.hasTokenizer) return "none";
  try {
    return (await model.chatPrompt(CONVERSATION)).join();
  } catch (error) {
    if (!(error instanceof SparrowError)) throw error;
    return "refused";
  }
}
