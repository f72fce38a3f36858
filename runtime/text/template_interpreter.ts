/**
 * Jinja for templates that nobody vouches for: the interpreter of `@huggingface/jinja` under a clock
 * and with a bound on what it makes, and the functions that chat templates expect around them.
 * Not a template language of its own.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import type { JinjaLibrary } from "../deps.ts";

// What one rendering may make in all, so that a template cannot fill the memory in its time.
const MAX_CHARACTERS = 1 << 28;
const MAX_ITEMS = 1 << 26;
const MAX_RANGE = 1 << 20;

/** The interpreter of the library. */
export type Interpreter = InstanceType<JinjaLibrary["Interpreter"]>;
/** Where a template finds its variables. */
export type Scope = InstanceType<JinjaLibrary["Environment"]>;
type Evaluate = Interpreter["evaluate"];
type Value = ReturnType<Evaluate>;

/** What is read of the library's syntax tree, whose types it does not export. */
interface CallNode {
  readonly type: string;
  readonly callee?: {
    readonly type: string;
    readonly object: Parameters<Evaluate>[0];
    readonly property: { readonly value?: unknown };
    readonly computed: boolean;
  };
  readonly args?: readonly Parameters<Evaluate>[0][];
}

/**
 * An interpreter that stops when time is up or when it has made too much. Every expression and
 * statement goes through `evaluate`, so a loop cannot escape the clock.
 */
export function boundedInterpreter(
  library: JinjaLibrary,
  scope: Scope,
  timeLimitMs: number,
): Interpreter {
  const end = performance.now() + timeLimitMs;
  let steps = 0;
  let characters = 0;
  let items = 0;

  function stop(why: string): never {
    throw new InputError(
      `Cannot format a conversation: the chat template ${why}; ` +
        `shorten the conversation or pass another template`,
    );
  }

  class BoundedInterpreter extends library.Interpreter {
    override evaluate(...args: Parameters<Evaluate>): Value {
      const isLoop = args[0]?.type === "For";
      if ((isLoop || ++steps % 256 === 0) && performance.now() > end) {
        stop(`ran longer than ${timeLimitMs} ms`);
      }
      const result = strippedCall(this, ...args) ?? super.evaluate(...args);
      const { value } = result;
      if (typeof value === "string") characters += value.length;
      else if (Array.isArray(value)) items += value.length;
      if (characters > MAX_CHARACTERS) stop(`made more than ${MAX_CHARACTERS} characters`);
      if (items > MAX_ITEMS) stop(`made more than ${MAX_ITEMS} list items`);
      return result;
    }
  }
  return new BoundedInterpreter(scope);
}

/**
 * `text.strip(characters)`, `lstrip` and `rstrip`: the library ignores the argument and strips white
 * space, which loses a message's indentation in Qwen's templates. Undefined for any other node.
 */
function strippedCall(
  interpreter: Interpreter,
  node: Parameters<Evaluate>[0],
  scope: Parameters<Evaluate>[1],
): Value | undefined {
  const { type, callee, args } = (node ?? {}) as CallNode;
  if (type !== "CallExpression" || callee?.type !== "MemberExpression" || args?.length !== 1) {
    return;
  }
  const method = callee.computed ? undefined : callee.property.value;
  if (method !== "strip" && method !== "lstrip" && method !== "rstrip") return;
  const target = interpreter.evaluate(callee.object, scope);
  const set = interpreter.evaluate(args[0], scope);
  if (typeof target.value !== "string" || typeof set.value !== "string") return;
  const characters = new Set(set.value);
  const text = [...target.value];
  let [start, end] = [0, text.length];
  if (method !== "rstrip") { while (start < end && characters.has(text[start])) start++; }
  if (method !== "lstrip") { while (end > start && characters.has(text[end - 1])) end--; }
  const StringValue = target.constructor as new (value: string) => Value;
  return new StringValue(text.slice(start, end).join(""));
}

/** Python's `range`, which a template may not use to fill the memory. */
export function boundedRange(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined || stop === null ? [0, start] : [start, stop];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= MAX_RANGE)) {
    throw new InputError(
      `Cannot format a conversation: the chat template asks for a range of ${count} numbers, ` +
        `more than ${MAX_RANGE}; pass another template`,
    );
  }
  return Array.from({ length: count }, (_, i) => from + i * step);
}

const MONTHS =
  "January February March April May June July August September October November December"
    .split(" ");
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/**
 * Python's `strftime` in the C locale, for the parts that templates use. Names are English whatever the
 * user's locale, because that is what models were trained on.
 */
export function formatTime(time: Date, format: string): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const parts: Record<string, () => string> = {
    Y: () => String(time.getFullYear()),
    y: () => two(time.getFullYear() % 100),
    m: () => two(time.getMonth() + 1),
    B: () => MONTHS[time.getMonth()],
    b: () => MONTHS[time.getMonth()].slice(0, 3),
    d: () => two(time.getDate()),
    e: () => String(time.getDate()).padStart(2),
    A: () => DAYS[time.getDay()],
    a: () => DAYS[time.getDay()].slice(0, 3),
    H: () => two(time.getHours()),
    I: () => two(time.getHours() % 12 || 12),
    p: () => time.getHours() < 12 ? "AM" : "PM",
    M: () => two(time.getMinutes()),
    S: () => two(time.getSeconds()),
    "%": () => "%",
  };
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, minus: string, letter: string) => {
    const text = parts[letter]?.();
    if (text === undefined) return whole;
    return minus ? text.replace(/^[0 ](?=.)/, "") : text;
  });
}
