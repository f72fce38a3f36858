/**
 * The file of `--calibration`: a text, JSON lines with a text each, or lists of token ids.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { CalibrationOption } from "../quantize/quantize_model.ts";
import { readPrompt } from "./prompt.ts";

/**
 * Reads it; what begins with `[` has token ids, what begins with an object of JSON or is called `.jsonl`
 * has texts, everything else is a text.
 *
 * @throws InputError when a line is not what the first one, or the file's name, promises
 */
export async function readCalibration(path: string): Promise<CalibrationOption> {
  const text = await readPrompt({ command: "quantize", text: undefined, file: path });
  const lines = text.split("\n").map((line, i) => ({ line: line.trim(), number: i + 1 }))
    .filter(({ line }) => line !== "");
  const first = lines[0]?.line ?? "";
  if (first.startsWith("[")) {
    return lines.map(({ line, number }) => {
      const ids = parsed(line);
      if (Array.isArray(ids)) return ids;
      throw wrong(path, number, line, "token ids between brackets, as in [1, 2, 3]");
    });
  }
  const isJson = /\.jsonl$/i.test(path) || first.startsWith("{") && parsed(first) !== undefined;
  if (!isJson) return { text };
  return {
    text: lines.map(({ line, number }) => {
      const found = parsed(line) as { text?: unknown } | null | undefined;
      if (typeof found?.text === "string") return found.text;
      throw wrong(path, number, line, 'an object with a text, as in {"text": "Once upon a time"}');
    }),
  };
}

/** A line's value; undefined where it is no JSON. */
function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function wrong(path: string, number: number, line: string, expected: string): InputError {
  return new InputError(
    `Cannot calibrate on ${quote(path)}: line ${number} is ${quote(line)}, expected ${expected}`,
  );
}
