/**
 * Sparrow: language models on Deno, from one import. WebAssembly SIMD kernels on every core, INT4
 * and INT8 weights, GGUF and safetensors files, no native add-on.
 *
 * @example
 * ```ts ignore
 * import { loadModel } from "@sparrow/sparrow";
 *
 * await using model = await loadModel("stories260K.gguf");
 * for await (const { text } of model.session().generate("Once upon a time")) {
 *   console.log(text);
 * }
 * ```
 *
 * @module
 */

export * from "./errors.ts";
export type {
  ChatCompletion,
  ChatOptions,
  Completion,
  Usage,
} from "./runtime/generation/complete.ts";
export { loadModel, type LoadProgress } from "./runtime/load.ts";
export type { LoadOptions, OpenedModel } from "./runtime/load_options.ts";
export { loadTokenizer, type LoadTokenizerOptions } from "./runtime/load_tokenizer.ts";
export type { HubOptions } from "./runtime/hub/options.ts";
export { Model } from "./runtime/model.ts";
export type { Encoding } from "./runtime/generation/read_texts.ts";
export type {
  Classification,
  ClassifyOptions,
  EmbedOptions,
  FilledMask,
  FillMaskOptions,
  LabelScore,
  MaskedWord,
  RankedText,
  RerankOptions,
  TextOrPair,
  TextReader,
} from "./runtime/tasks/text_reader.ts";
export type { Pooling } from "./runtime/tasks/pooling.ts";
export type { Prompt } from "./runtime/models/prompt.ts";
export type { Score, ScoreOptions } from "./runtime/generation/score.ts";
export type { CacheType } from "./kernels/op.ts";
export type { BackendName } from "./runtime/backends/backend.ts";
export type { ChatMessage, RenderOptions, TextPiece } from "./runtime/text/chat_template.ts";
export type { BackendOptions } from "./runtime/backends/create.ts";
export {
  type AdapterFacts,
  type BackendSupport,
  type ChosenVariants,
  detectBackends,
  type DetectOptions,
  type GpuSupport,
  type KernelTimes,
  type TimesCache,
  type VariantOptions,
  type Variants,
} from "./runtime/backends/detect.ts";
export type {
  GenerateOptions,
  GenerationResult,
  StopReason,
  Token,
} from "./runtime/generation/generate_options.ts";
export type { Allowance, Constraint } from "./runtime/generation/constraint.ts";
export type { TokenLogprob, TokenLogprobs } from "./runtime/generation/token_logprobs.ts";
export type { ModelConfig } from "./runtime/models/definition.ts";
export { type Sampler, sampler, type SamplerOptions } from "./runtime/generation/sampler.ts";
export type { RestoreOptions } from "./runtime/generation/saved_session.ts";
export { Session } from "./runtime/generation/session.ts";
export type {
  ChatPrompt,
  PrefillOptions,
  PromptProgress,
} from "./runtime/generation/text_session.ts";
export type {
  ByteDecoder,
  DecodeOptions,
  EncodeOptions,
  StreamOptions,
  SurroundedIds,
  TokenDecoder,
  Tokenizer,
} from "./runtime/text/tokenizer/tokenizer.ts";
export type { LookupTables } from "./runtime/engine/lookup_tables.ts";
export type { WeightsOption } from "./runtime/models/weights.ts";
export { type Layout, type LayoutName, LAYOUTS } from "./quant/formats.ts";
