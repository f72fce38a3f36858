/**
 * `loadModel`: from a path or URL to a model on a backend, and from a backend that fails to another.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import { type Candidates, candidatesFor } from "./backends/candidates.ts";
import { checkBackendOptions } from "./backends/create.ts";
import { readOptions } from "../options.ts";
import { checkEngine } from "./backends/engine_features.ts";
import { Engine, type EngineOptions } from "./engine/engine.ts";
import type { Takeover } from "./engine/running.ts";
import type { ModelFile } from "./files/model_file.ts";
import { findModel, type LoadProgress } from "./hub/find.ts";
import type { FoundModel } from "./hub/options.ts";
import { LOAD_RULES, type LoadOptions } from "./load_options.ts";
import { Model } from "./model.ts";
import { fingerprintOf } from "./engine/fingerprint.ts";
import { withTablesInFile } from "./engine/lookup_tables.ts";
import { programGraphs } from "./engine/record.ts";
import { checkMemory } from "./engine/check_memory.ts";
import { type ResolvedModel, resolveModel } from "./engine/resolve.ts";
import {
  type ModelText,
  readModelText,
  stopIdsOf,
  tokenizerMismatch,
  unusedTextSettings,
} from "./text/model_text.ts";
import { readTaskFacts, type TaskFacts } from "./tasks/facts.ts";
import { loadWeights } from "./engine/load_weights.ts";
import { TableRows } from "./engine/table_rows.ts";

export { DEFAULT_MODEL, openModel } from "./hub/find.ts";
export type { LoadProgress };

/**
 * Loads a model from a GGUF file or a directory of safetensors or torch files: a path, a `file:` or
 * `http(s):` URL, a Blob, or nothing for the model that comes with Sparrow; or from a hub, named as on the command
 * line: `hf:ORG/REPO[@REVISION][:FILE-or-QUANT-TAG]`.
 *
 * A model from a hub is downloaded, checked against the hub's hashes and kept where the program may
 * already read and write the folder of downloads (`HubOptions`); nothing asks for a permission.
 * Elsewhere it is read from the hub by ranges, each time, and only its size is checked. In a page, the
 * browser's Cache API keeps it.
 *
 * @throws InputError when an option is unknown or out of range
 * @throws SourceError when it cannot be read
 * @throws FormatError when the file is damaged
 * @throws ModelError when the model cannot run: architecture, tensors, types
 * @throws MemoryError when it does not fit in memory
 *
 * @example
 * ```ts ignore
 * import { loadModel } from "@sparrow/sparrow";
 *
 * await using model = await loadModel("stories260K.gguf", { threads: 2 });
 * const session = model.session();
 * for await (const { text } of session.generate("Once upon a time", { maxTokens: 50 })) {
 *   console.log(text);
 * }
 * ```
 *
 * @example A model from a hub
 * ```ts ignore
 * import { loadModel } from "@sparrow/sparrow";
 *
 * await using model = await loadModel("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0", {
 *   onProgress: ({ phase, loaded, total }) => console.log(phase, loaded / total),
 * });
 * ```
 */
export async function loadModel(
  source?: string | URL | Blob,
  given: LoadOptions = {},
): Promise<Model> {
  checkEngine();
  const options = readOptions("load", given, LOAD_RULES);
  options.signal?.throwIfAborted();
  checkBackendOptions(options);
  const { signal: _, ...lasting } = options;
  const found = await findModel(source, options);
  const { opened: read, candidates } = await openBoth(found, options);
  const place = tablePlacer(options, candidates), opened = place(read, options.onWarning);
  const { file, config, sizes, programs, weights } = opened, { contextLength } = sizes;
  let tables: TableRows | undefined;
  try {
    const { gpuLayers = 0 } = options;
    if (gpuLayers > config.layers) {
      throw new InputError(
        `Cannot load ${quote(file.name)} ` +
          `with gpuLayers ${quote(gpuLayers)}: it has ${config.layers} layers`,
      );
    }
    const graphs = programGraphs(programs, weights, sizes);
    const { onWarning = console.warn } = options;
    await checkMemory(
      file,
      graphs,
      { ...options, isHosted: isHosted(options, candidates) },
      onWarning,
    );
    // While weights are on their way the text is read here; its failure ends both.
    const failed = new AbortController();
    let reading: Promise<ReadText> | undefined;
    const readText = (): Promise<ReadText> => {
      reading ??= (async () => {
        const text = await readModelText(file);
        const told = await unusedTextSettings(file);
        if (text) told.push(...tokenizerMismatch(file.name, text.tokenizer, config.vocabSize));
        told.forEach((sentence) => onWarning(sentence));
        await options.onOpened?.({
          ...{ name: file.name, config, contextLength, tokenizer: text?.tokenizer },
          hasChatTemplate: (text?.chatTemplate ?? undefined) !== undefined,
          programs: (["encode", "decode"] as const).filter((it) => programs[it] !== undefined),
        });
        return { text, tasks: await readTaskFacts(file) };
      })();
      reading.catch((error) => failed.abort(error));
      return reading;
    };
    const reopen = reopener(found, lasting, place);
    tables = await TableRows.open(weights);
    const engine = await startEngine(opened, candidates, {
      ...options,
      engine: { name: file.name, ...sizes, graphs, tables },
      signal: AbortSignal.any([failed.signal, ...(options.signal ? [options.signal] : [])]),
      meanwhile: readText,
      reopen,
    });
    try {
      const { text, tasks } = await readText();
      return new Model(engine, text?.tokenizer, {
        name: file.name,
        chatTemplate: text?.chatTemplate,
        specialTokens: text?.specialTokens,
        stopIds: stopIdsOf(file, text?.tokenizer),
        tasks,
        fingerprint: fingerprintLater(reopen),
      });
    } catch (error) {
      await engine.dispose();
      throw error;
    }
  } catch (error) {
    tables?.close();
    throw error;
  } finally {
    file.close();
    await candidates.release();
  }
}

/**
 * Opens the files, and reads what they say while the backend is opened that the options name. A GPU is
 * looked for afterwards: some drivers write to stderr then, which would stand beside the message of a
 * file that is not sound.
 */
async function openBoth(
  found: FoundModel,
  options: LoadOptions,
): Promise<{ opened: ReadyModel; candidates: Candidates }> {
  const { backend = "auto", reproducible } = options;
  const file = await found.open({ signal: options.signal });
  const opening = resolved(file, options);
  if (backend === "auto" && !reproducible) await opening;
  const finding = candidatesFor(options, options.onWarning ?? console.warn);
  finding.then((candidates) => candidates.begin(), () => {}); // its failure is awaited below
  const [opened, candidates] = await Promise.allSettled([opening, finding]);
  if (opened.status === "rejected") {
    if (candidates.status === "fulfilled") await candidates.value.release();
    throw opened.reason;
  }
  if (candidates.status === "rejected") {
    opened.value.file.close();
    throw candidates.reason;
  }
  return { opened: opened.value, candidates: candidates.value };
}

// What lives as long as the model is made in functions of its own: what is made in `loadModel` would
// hold all that it knows, as a vocabulary's file.

/** Says which tables of a model stay in its file. */
type PlaceTables = (model: ReadyModel, warn?: (message: string) => void) => ReadyModel;

/** Goes by what was asked for and by the backend that the model begins on. */
function tablePlacer(options: LoadOptions, candidates: Candidates): PlaceTables {
  const { lookupTables, reproducible } = options;
  const choice = { lookupTables, reproducible, isHosted: isHosted(options, candidates) };
  return (model, warn = console.warn) =>
    withTablesInFile(model, choice, { name: model.file.name, warn });
}

/** Whether tokens are chosen on the processor: of a divided model, the head is there. */
function isHosted({ gpuLayers }: LoadOptions, candidates: Candidates): boolean {
  return candidates.name !== "webgpu" || gpuLayers !== undefined;
}

/** Opens the files again, which are closed by then, when loading has long ended. */
function reopener(
  found: FoundModel,
  options: LoadOptions,
  place: PlaceTables,
): () => Promise<ReadyModel> {
  const onWarning = (): void => {};
  return async () => place(await openResolved(found, { ...options, onWarning }), onWarning);
}

/** The fingerprint of the files, found when it is first asked for. */
function fingerprintLater(reopen: () => Promise<ReadyModel>): () => Promise<string> {
  return once(async () => {
    const model = await reopen();
    return await fingerprintOf(model, model.file).finally(() => model.file.close());
  });
}

/** How another backend takes over from one that fails. */
function takeoverOf(
  candidates: Candidates,
  reopen: () => Promise<ReadyModel>,
  tables: TableRows | undefined,
): Takeover {
  return {
    candidates,
    async load(backend, signal) {
      const { file, weights } = await reopen();
      try {
        await loadWeights(weights, backend, { signal });
        await tables?.unchanged();
      } finally {
        file.close();
      }
    },
  };
}

/** Asks once, and again after a failure. */
function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  return () => {
    answer ??= ask();
    answer.catch(() => answer = undefined);
    return answer;
  };
}

/** A model's files with what they say of it. */
interface ReadyModel extends ResolvedModel {
  readonly file: ModelFile;
}

/** What the files say beside the weights. */
interface ReadText {
  readonly text: ModelText | undefined;
  readonly tasks: TaskFacts;
}

async function openResolved(found: FoundModel, options: LoadOptions): Promise<ReadyModel> {
  return await resolved(await found.open({ signal: options.signal }), options);
}

async function resolved(file: ModelFile, options: LoadOptions): Promise<ReadyModel> {
  try {
    return { file, ...await resolveModel(file, options, options.onWarning ?? console.warn) };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** How an engine is started. */
interface StartOptions extends LoadOptions {
  readonly engine: EngineOptions;
  readonly signal: AbortSignal;
  /** What this thread does while weights are on their way; looks after its own failure. */
  meanwhile(): Promise<unknown>;
  reopen(): Promise<ReadyModel>;
}

/** Loads the weights on the first backend that works; where there is another, it can take over later. */
async function startEngine(
  { definition, config, weights }: ReadyModel,
  candidates: Candidates,
  options: StartOptions,
): Promise<Engine> {
  const { signal, onProgress, engine: sizes } = options;
  const takeover = takeoverOf(candidates, options.reopen, sizes.tables);
  return await candidates.use(async (backend) => {
    const engine = new Engine(definition, config, weights, backend, sizes, takeover);
    const loading = loadWeights(weights, backend, {
      signal,
      onProgress: (loaded, total) => onProgress?.({ phase: "weights", loaded, total }),
    });
    loading.catch(() => {}); // it is awaited below
    await options.meanwhile().catch(() => {});
    if (!signal.aborted) engine.prepare();
    await loading;
    return engine;
  }, signal);
}
