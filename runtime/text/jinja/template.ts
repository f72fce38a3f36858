/**
 * Jinja for chat templates: compiles a template and renders it as jinja2 3.1 does in the environment
 * that transformers gives to chat templates: immutable sandbox, `trim_blocks`, `lstrip_blocks`, loop controls,
 * `generation` tags, its `tojson`. What it makes knows who wrote it, and all work is bounded.
 *
 * @module
 */

import { Budget, TemplateError, TemplateLimit, TemplateRefusal } from "./budget.ts";
import { quote } from "../../../escape.ts";
import { Scope } from "./evaluate.ts";
import { LIST_FILTERS } from "./filters_lists.ts";
import { TEXT_FILTERS } from "./filters_text.ts";
import { globalsOf } from "./globals.ts";
import { Interpreter } from "./interpreter.ts";
import { parseTemplate } from "./parser.ts";
import type { Filter, Run, Test } from "./run.ts";
import { isNameIn, TESTS } from "./tests.ts";
import type { Text } from "./text.ts";
import type { Value } from "./values.ts";

const FILTERS: ReadonlyMap<string, Filter> = new Map([...TEXT_FILTERS, ...LIST_FILTERS]);
const FILTER_NAMES: ReadonlySet<string> = new Set(FILTERS.keys());
const TEST_NAMES: ReadonlySet<string> = new Set([...TESTS.keys(), "filter", "test"]);
const ALL_TESTS: ReadonlyMap<string, Test> = new Map([
  ...TESTS,
  ["filter", isNameIn(FILTER_NAMES)],
  ["test", isNameIn(TEST_NAMES)],
]);

/** A template that can be rendered. */
export interface Template {
  /** Length of its source in UTF-16 units. */
  readonly length: number;
  /** Whether a word stands in it in quotes, as 'user'. */
  names(word: string): boolean;
  /**
   * The text for some variables.
   *
   * @throws TemplateError when the template fails
   * @throws TemplateRefusal when it calls `raise_exception`
   * @throws TemplateLimit when it needs more than the budget
   */
  render(variables: ReadonlyMap<string, Value>, budget: Budget, now: Date): Text;
}

/**
 * Compiles a template.
 *
 * @param timeMs longest time that it may take
 * @throws TemplateError where the source is wrong; the message begins with the line
 * @throws TemplateLimit when it takes longer
 */
export function compileTemplate(source: string, timeMs: number): Template {
  const limits = { timeMs, text: Infinity, items: Infinity };
  const known = { filters: FILTER_NAMES, tests: TEST_NAMES };
  const body = guarded(() => parseTemplate(source, known, new Budget(limits)));
  return {
    length: source.length,
    names: (word) => /^\w{1,64}$/.test(word) && new RegExp(`(['"])${word}\\1`).test(source),
    render(variables, budget, now) {
      const run: Run = {
        budget,
        now,
        filter(name, value, call) {
          const filter = FILTERS.get(name);
          if (!filter) throw new TemplateError(`there is no filter named ${quote(name)}`);
          budget.step();
          return filter(run, value, call);
        },
        test(name, value, call) {
          const test = ALL_TESTS.get(name);
          if (!test) throw new TemplateError(`there is no test named ${quote(name)}`);
          budget.step();
          return test(run, value, call);
        },
      };
      const root = new Scope();
      for (const [name, value] of globalsOf(run)) root.set(name, value);
      for (const [name, value] of variables) root.set(name, value);
      const interpreter = new Interpreter(run, new Scope(root));
      return guarded(() => interpreter.render(body), () => interpreter.line);
    },
  };
}

/** Runs something, and makes of the engine's own limits an error of the template. */
function guarded<T>(task: () => T, line?: () => number): T {
  try {
    return task();
  } catch (error) {
    if (error instanceof TemplateRefusal || error instanceof TemplateLimit) throw error;
    const place = line ? `line ${line()}: ` : "";
    if (error instanceof TemplateError) throw new TemplateError(place + error.message);
    // Only the stack and the length of texts can be exceeded here.
    if (error instanceof RangeError) {
      throw new TemplateError(`${place}it needs too much: ${error.message}`);
    }
    throw error;
  }
}
