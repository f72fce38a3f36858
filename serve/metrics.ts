/**
 * What a server tells of itself, as Prometheus reads it.
 *
 * @module
 */

import type { GenerationResult } from "../mod.ts";
import { Counter, Gauge, Histogram, Registry } from "./deps.ts";
import type { ServedModels } from "./models.ts";
import type { ServedRequest } from "./options.ts";

/** Seconds that requests take until their answer begins, by powers of about three. */
const BUCKETS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100];

/** The metrics of one server. */
export interface Metrics {
  /** Counts a request. */
  onRequest(request: ServedRequest, route: string): void;
  /** Counts the tokens of a generation. */
  onResult(model: string, result: GenerationResult): void;
  /** All of them as text. */
  text(models: ServedModels): Promise<string>;
  /** The type of that text. */
  readonly contentType: string;
}

/** Metrics that begin at zero. */
export function createMetrics(): Metrics {
  const registry = new Registry(), registers = [registry];
  const requests = new Counter({
    name: "sparrow_requests_total",
    help: "Requests, by route and HTTP status",
    labelNames: ["route", "status"],
    registers,
  });
  const begun = new Histogram({
    name: "sparrow_answer_begins_seconds",
    help: "Time until an answer or the first piece of a stream, by route",
    labelNames: ["route"],
    buckets: BUCKETS,
    registers,
  });
  const tokens = new Counter({
    name: "sparrow_tokens_total",
    help:
      "Tokens, by model and kind: prompt (computed), cached (of a prompt, not computed), generated",
    labelNames: ["model", "kind"],
    registers,
  });
  const load = new Gauge({
    name: "sparrow_sequences",
    help: "Texts that run or wait, by model",
    labelNames: ["model", "state"],
    registers,
  });
  return {
    contentType: registry.contentType,
    onRequest({ status, ms }, route) {
      requests.inc({ route, status });
      begun.observe({ route }, ms / 1000);
    },
    onResult(model, { promptIds, reusedTokens, ids }) {
      tokens.inc({ model, kind: "prompt" }, promptIds.length - reusedTokens);
      tokens.inc({ model, kind: "cached" }, reusedTokens);
      tokens.inc({ model, kind: "generated" }, ids.length);
    },
    async text({ list }) {
      for (const { name, sessions: { counts } } of list) {
        load.set({ model: name, state: "running" }, counts.running);
        load.set({ model: name, state: "waiting" }, counts.waiting);
      }
      return await registry.metrics();
    },
  };
}
