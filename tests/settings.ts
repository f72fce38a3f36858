/**
 * Tiny models of every architecture under many configurations, with the logits that the original
 * implementation gives (tests/golden/make_settings.py made them).
 *
 * @module
 */

import { loadModel, type LoadOptions, type Model } from "../mod.ts";
import { withFolder } from "./tiny_model.ts";

/** One configuration of an architecture's model. */
export interface Setting {
  readonly architecture: string;
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Logits of some tokens, by their place. */
  readonly logits: Readonly<Record<string, readonly number[]>>;
}

const FOLDER = new URL("golden/settings/", import.meta.url);

/** The text that all logits are for, and the settings. */
export const { ids: IDS, cases: SETTINGS }: { ids: number[]; cases: Setting[] } = JSON.parse(
  Deno.readTextFileSync(new URL("cases.json", FOLDER)),
);

/** The setting of such a name. */
export function setting(architecture: string, name: string): Setting {
  return SETTINGS.find((it) => it.architecture === architecture && it.name === name)!;
}

/** Weights of an architecture's model, as a safetensors file. */
export function weightsOf(architecture: string): Uint8Array {
  return Deno.readFileSync(new URL(`${architecture}.safetensors`, FOLDER));
}

/** Loads a setting's model and hands it on, with the warnings so far. */
export async function withSetting(
  { architecture, config }: Pick<Setting, "architecture" | "config">,
  options: LoadOptions,
  body: (model: Model, warnings: readonly string[]) => Promise<void>,
  weights: Uint8Array = weightsOf(architecture),
): Promise<void> {
  const files = { "config.json": JSON.stringify(config), "model.safetensors": weights };
  await withFolder(files, async (path) => {
    const warnings: string[] = [];
    const onWarning = (message: string): void => void warnings.push(message.replaceAll(path, ""));
    await using model = await loadModel(path, { threads: 1, onWarning, ...options });
    await body(model, warnings);
  });
}

/** How far logits of all tokens are from what they shall be. */
export function distance(logits: Float32Array, expected: Setting["logits"]): number {
  const vocab = logits.length / IDS.length;
  let max = 0;
  for (const [place, row] of Object.entries(expected)) {
    row.forEach((value, i) => {
      const off = Math.abs(logits[Number(place) * vocab + i]! - value);
      max = off <= max ? max : off; // NaN counts as the largest
    });
  }
  return max;
}
