/**
 * Whatever sessions of one model do at the same time, each says what a fresh session says that is
 * given its tokens: random operations, on models that differ in what their prompts are made of. On the
 * reference every bit has to agree, since no number there depends on what runs together.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError, loadModel, type Model, type Prompt, type Session } from "../mod.ts";
import { FIXTURES, randomNumbers } from "./fixtures.ts";

/** What a session has been told: what began it, and the tokens behind that. */
interface Told {
  readonly opening: Prompt;
  readonly more: readonly number[];
}

/** A model, and what its prompts look like. */
interface Family {
  readonly name: string;
  /** A prompt made of some tokens. */
  prompt(ids: number[], pick: (n: number) => number): Prompt;
  /** Tokens that no text may have, because they begin an answer or ask for one. */
  readonly reserved?: readonly number[];
  /** Fewest tokens that `truncate` leaves. */
  least?(prompt: Prompt): number;
  /** Whether the tokens of a prompt run together, and give other numbers than one by one. */
  readonly isTogether?: boolean;
}

const target = (ids: number[], pick: (n: number) => number): Prompt => ({
  ids,
  decoderIds: [0, ...ids.toReversed().slice(0, pick(12))],
});

const BOS = 129, MASKS = [127, 126]; // of the fixture
const FAMILIES: readonly Family[] = [
  ...["qwen3", "mixtral", "mistral-window", "pangu-alpha"].map((name) => ({
    name,
    prompt: (ids: number[]) => ({ ids }),
  })),
  {
    name: "yuan1",
    prompt: (ids, pick) => pick(2) ? { ids, prefixLength: pick(ids.length + 1) } : { ids },
  },
  {
    name: "chatglm6b",
    prompt: (ids, pick) => ({ ids: ids.toSpliced(pick(ids.length), 0, MASKS[pick(2)]!, BOS) }),
    reserved: [BOS, ...MASKS],
    least: ({ ids }) => ids.indexOf(BOS) + 1,
  },
  { name: "t5-v1.1", prompt: target, least: () => 1 },
  { name: "switch", prompt: target, least: () => 1, isTogether: true },
];

/** Tokens of a session or of its decoder. */
const tokensOf = ({ ids, decoderIds }: Prompt): readonly number[] => decoderIds ?? ids;

/** A prompt with tokens behind it. */
function longer(prompt: Prompt, more: readonly number[]): Prompt {
  const { ids, decoderIds } = prompt;
  return decoderIds
    ? { ...prompt, decoderIds: [...decoderIds, ...more] }
    : { ...prompt, ids: [...ids, ...more] };
}

/** What is left of a session's tokens. */
function shorter({ opening, more }: Told, length: number): Told {
  const first = tokensOf(opening).slice(0, length);
  const { prefixLength } = opening;
  return {
    opening: {
      ...opening,
      ...(opening.decoderIds ? { decoderIds: first } : { ids: first }),
      ...(prefixLength !== undefined && { prefixLength: Math.min(prefixLength, length) }),
    },
    more: more.slice(0, Math.max(0, length - tokensOf(opening).length)),
  };
}

/** Random operations on sessions of one model, each held against fresh ones of another. */
class Trial {
  readonly #random: () => number;
  readonly #log: string[] = [];
  readonly #sessions: { session: Session; told: Told | undefined; isBusy: boolean }[];

  constructor(
    readonly family: Family,
    readonly model: Model,
    readonly plain: Model,
    readonly bound: number,
    seed: number,
  ) {
    this.#random = randomNumbers(seed);
    this.#sessions = Array.from({ length: 2 + this.#pick(3) }, () => ({
      ...{ session: model.session(), told: undefined, isBusy: false },
    }));
  }

  readonly #pick = (n: number): number => Math.floor(this.#random() * n);

  /** Tokens that often begin alike, in numbers around which runs are divided. */
  #ids(most: number): number[] {
    const { vocabSize } = this.model.config, random = randomNumbers(1 + this.#pick(2));
    const length = Math.min(most, [1, 2, 7, 8, 9, 15, 16, 17, 24][this.#pick(9)]!);
    const changed = this.#pick(3) === 0 ? this.#pick(length) : length;
    return Array.from({ length }, (_, i) => {
      const id = Math.floor((i < changed ? random() : this.#random()) * vocabSize);
      return this.family.reserved?.includes(id) ? 3 : id;
    });
  }

  #prompt(): Prompt {
    return this.family.prompt(this.#ids(24), this.#pick);
  }

  /** The logits of a fresh session with the same tokens. */
  async #expected({ opening, more }: Told): Promise<Float32Array> {
    using session = this.plain.session();
    if (!this.family.isTogether) return await session.prefill(longer(opening, more));
    let logits = await session.prefill(opening);
    for (const id of more) logits = await session.step(id);
    return logits;
  }

  #compare(actual: Float32Array, expected: Float32Array): void {
    assertEquals(actual.length, expected.length);
    actual.forEach((it, i) => assert(Math.abs(it - expected[i]!) <= this.bound, `logit ${i}`));
  }

  async run(steps: number): Promise<void> {
    for (let i = 0; i < steps; i++) {
      const some = this.#sessions.filter((_, k) => k === i % 2 || this.#pick(3) === 0);
      some.forEach((it) => it.isBusy = true);
      const done = await Promise.allSettled(
        some.map((it) => this.#act(it).finally(() => it.isBusy = false)),
      );
      const failed = done.find(({ status }) => status === "rejected") as PromiseRejectedResult;
      if (failed) {
        throw new Error(`${failed.reason}\n${this.#log.slice(-12).join("\n")}`, {
          cause: failed.reason,
        });
      }
    }
  }

  /** One operation on one session, and what it says then. */
  async #act(place: { session: Session; told: Told | undefined; isBusy: boolean }): Promise<void> {
    const { session, told } = place, act = this.#pick(9);
    const note = (what: string): void =>
      void this.#log.push(`${this.#sessions.indexOf(place as never)}: ${what}`);
    const room = this.model.contextLength - session.position;
    if (!told || act === 0) {
      const opening = this.#prompt();
      note(`begin ${JSON.stringify(opening)}`);
      session.reset();
      const logits = await session.prefill(opening);
      place.told = { opening, more: [] };
      this.#compare(logits, await this.#expected(place.told));
    } else if (act < 3) {
      const ids = this.#ids(Math.min(act === 1 ? 1 : 24, room));
      if (ids.length === 0) return;
      note(`append ${ids}`);
      const logits = act === 1 ? await session.step(ids[0]!) : await session.logits(ids);
      place.told = { ...told, more: [...told.more, ...ids] };
      if (act === 2) assertEquals(logits.length, ids.length * this.model.config.vocabSize);
      this.#compare(
        logits.subarray(-this.model.config.vocabSize),
        await this.#expected(place.told),
      );
    } else if (act === 3) {
      const least = this.family.least?.(told.opening) ?? 0;
      const length = least + this.#pick(Math.max(0, session.position - least) + 1);
      note(`truncate to ${length}`);
      session.truncate(length);
      place.told = length === 0 ? undefined : shorter(told, length);
    } else if (act === 4) {
      note("save and restore");
      const again = await this.model.restore(await session.save(), { share: this.#pick(2) === 1 });
      session.dispose();
      place.session = again;
    } else if (act === 5) {
      const opening = this.#pick(2) || this.family.isTogether
        ? this.#prompt()
        : longer(told.opening, told.more);
      if (tokensOf(opening).length + 3 > this.model.contextLength) return;
      const options = this.#pick(2) ? { temperature: 0 } : { seed: this.#pick(99), topK: 9 };
      note(`generate ${JSON.stringify({ ...opening, ...options })}`);
      const all = { ...options, stopIds: [], maxTokens: 3 };
      const { ids } = await session.complete(opening, all);
      if (this.bound === 0) assertEquals(ids, (await this.plain.complete(opening, all)).ids);
      place.told = { opening, more: ids.slice(0, -1) };
    } else if (act === 6) {
      const opening = this.#pick(2) ? this.#prompt() : undefined;
      const ids = this.#ids(Math.min(24, room)), reason = new Error("enough");
      if (ids.length === 0) return;
      note(`${JSON.stringify(opening ?? ids)}, aborted`);
      if (opening) session.reset();
      const stop = new AbortController();
      const running = session.prefill(opening ?? ids, { signal: stop.signal });
      for (let left = this.#pick(99); left > 0; left--) await undefined;
      stop.abort(reason);
      const isDone = await running.then(() => true, (error) => {
        assertEquals(error, reason);
        return false;
      });
      if (opening) place.told = isDone ? { opening, more: [] } : undefined;
      else if (isDone) place.told = { ...told, more: [...told.more, ...ids] };
    } else if (act === 7) {
      const opening = this.#prompt();
      note(`generate ${JSON.stringify(opening)}, left`);
      const options = { temperature: 0, stopIds: [], maxTokens: 9 };
      for await (const _ of session.generate(opening, options)) if (this.#pick(2)) break;
      const { length } = tokensOf(opening);
      place.told = { opening, more: session.history.slice(length) };
    } else {
      note("dispose");
      session.dispose();
      await assertRejects(() => session.step(1), InputError, "disposed");
      place.session = this.model.session();
      place.told = undefined;
    }
    const expected = place.told ? longer(place.told.opening, place.told.more) : { ids: [] };
    assertEquals(place.session.history, tokensOf(expected));
    assert(place.session.cachedTokens <= place.session.position);
  }
}

const load = (name: string, options: object): Promise<Model> =>
  loadModel(new URL(`golden/${name}/`, FIXTURES), { threads: 1, onWarning: () => {}, ...options });

for (const family of FAMILIES) {
  for (
    const { backend, bound } of [{ backend: "reference", bound: 0 }, {
      backend: "wasm",
      bound: 1e-4,
    }]
  ) {
    Deno.test(`${family.name} on ${backend}: sessions say what fresh ones say`, async () => {
      await using plain = await load(family.name, { backend });
      for (const seed of [1, 2, 3, 4]) {
        await using model = await load(family.name, { backend, sequences: seed });
        await new Trial(family, model, plain, bound, seed).run(25);
      }
    });
  }
}

Deno.test("ChatGLM's prefix is found again when a session is cut inside it", async () => {
  await using model = await load("chatglm6b", { backend: "reference" });
  using session = model.session(), fresh = model.session();
  await session.prefill([5, 6, 7, MASKS[0]!, 8, BOS, 9]);
  session.truncate(3);
  await assertRejects(() => session.step(9), InputError, "needs one of the mask tokens");
  assertEquals(session.position, 3);
  const rest = [4, MASKS[0]!, BOS, 9];
  assertEquals(await session.prefill(rest), await fresh.prefill([5, 6, 7, ...rest]));
});

Deno.test("a prompt that was given up leaves nothing of its source to the next one", async () => {
  for (const backend of ["reference", "wasm"]) {
    await using model = await load("t5-v1.1", { backend });
    const target = Array.from({ length: 12 }, (_, i) => i % 2);
    const prompts = [[3, 4, 5, 6, 7], [40, 41, 42]].map((ids) => ({ ids, decoderIds: target }));
    using fresh = model.session();
    const expected = await fresh.prefill(prompts[1]!);
    let given = 0;
    // Somewhere between these steps the encoder has run, and the decoder has not.
    for (let steps = 0; steps < 120; steps++) {
      using session = model.session();
      const stop = new AbortController();
      const first = session.prefill(prompts[0]!, { signal: stop.signal });
      for (let i = 0; i < steps; i++) await undefined;
      stop.abort(new Error("enough"));
      if (await first.then(() => true, () => false)) continue;
      given++;
      assertEquals(await session.prefill(prompts[1]!), expected);
    }
    assert(given > 0);
  }
});

Deno.test("tokens that come to a session which has been reset since begin it", async () => {
  await using model = await load("t5-v1.1", { backend: "reference" });
  using session = model.session(), fresh = model.session();
  await session.prefill([3, 4, 5]);
  const logits = session.prefill([40, 41]);
  session.reset();
  assertEquals(await logits, await fresh.prefill([40, 41]));
  assertEquals(session.history, fresh.history);
});

Deno.test("a session of Switch that was saved keeps what ran together", async () => {
  await using model = await load("switch", { backend: "reference", sequences: 1 });
  const ids = Array.from({ length: 20 }, (_, i) => i + 3);
  using session = model.session();
  await session.prefill({ ids, decoderIds: [0, 9, 8] });
  for (const id of [7, 7, 7, 7]) await session.step(id);
  const bytes = await session.save(), expected = await session.step(7);
  using again = await model.restore(bytes);
  await model.logits({ ids: [5, 6] }); // takes the rows
  assertEquals(again.cachedTokens, 0);
  assertEquals(await again.step(7), expected);
});
