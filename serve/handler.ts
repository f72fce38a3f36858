/**
 * A server of models as one function from a request to an answer, for `Deno.serve` or within another
 * server: OpenAI's and Ollama's routes for conversations, prompts and vectors, and what a machine asks of a
 * service.
 * Every request is answered exactly as asked, or refused with an error that says what, where and what to
 * do.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import type { Model } from "../mod.ts";
import { type Answer, dialectOf, errorResponse } from "./answer.ts";
import { bodyLimit, type Context, cors, Hono, type z } from "./deps.ts";
import { ApiError, apiErrorOf } from "./errors.ts";
import { readFields, readJson } from "./fields.ts";
import { checkHost, checkKey, checkOrigin, isAllowedOrigin } from "./guard.ts";
import { createMetrics } from "./metrics.ts";
import { type ServedModel, servedModels } from "./models.ts";
import { answerChat, CHAT_FIELDS } from "./openai/chat.ts";
import { answerCompletion, COMPLETION_FIELDS } from "./openai/completions.ts";
import { answerEmbeddings, EMBEDDING_FIELDS } from "./openai/embeddings.ts";
import { modelEntry, modelList } from "./openai/models.ts";
import { answerEmbed, EMBED_FIELDS } from "./ollama/embed.ts";
import { answerGenerate, GENERATE_FIELDS } from "./ollama/generate.ts";
import { answerOllamaChat, OLLAMA_CHAT_FIELDS } from "./ollama/chat.ts";
import { answerShow, OLLAMA_VERSION, SHOW_FIELDS, tagList } from "./ollama/models.ts";
import { ignoredOptions } from "./ollama/options.ts";
import { readServeOptions, type ServeOptions } from "./options.ts";
import { eventStream } from "./stream.ts";

export type { ServedRequest, ServeOptions } from "./options.ts";

/** What the log says of a client that did not wait for its answer; nobody else reads it. */
const GONE = new ApiError(499, "invalid_request_error", "Cannot answer: the client is gone");

/** Names the fields that had no effect. */
const IGNORED_HEADER = "x-sparrow-ignored";

/**
 * Makes the handler of models, by the names that requests call them. Each answers as many texts at once
 * as it was loaded with `sequences`; further ones wait, and a prompt that begins like the last text of an
 * idle sequence goes on from there. The models stay the caller's, who ends them.
 *
 * @throws InputError when there is no model, or an option is unknown or wrong
 *
 * @example
 * ```ts
 * import { loadModel } from "@sparrow/sparrow";
 * import { handler } from "@sparrow/sparrow/serve";
 *
 * await using model = await loadModel(undefined, { sequences: 4 });
 * const handle = handler({ poems: model });
 * const answer = await handle(
 *   new Request("http://localhost/v1/completions", {
 *     method: "POST",
 *     body: JSON.stringify({ model: "poems", prompt: "春眠不觉晓，", max_tokens: 8 }),
 *   }),
 * );
 * console.log((await answer.json()).choices[0].text);
 * ```
 */
export function handler(
  models: Readonly<Record<string, Model>>,
  given: ServeOptions = {},
): (request: Request) => Promise<Response> {
  const options = readServeOptions(given), { apiKeys, origins, hosts } = options;
  if (Object.keys(models).length === 0) {
    throw new InputError("Cannot serve without a model: expected at least one, by its name");
  }
  const metrics = createMetrics();
  const served = servedModels(models, options.queue, metrics.onResult);
  const app = new Hono();
  const failures = new WeakMap<Request, unknown>();

  app.use(async (c, next) => {
    const start = performance.now();
    await next();
    const { method, path } = c.req, { status } = c.res, error = failures.get(c.req.raw);
    const request = { method, path, status, ms: performance.now() - start };
    metrics.onRequest(request, routeOf(c));
    options.onRequest?.(error === undefined ? request : { ...request, error });
  });
  app.onError((error, c) => {
    failures.set(c.req.raw, error);
    return errorResponse(apiErrorOf(error), dialectOf(c.req.path));
  });
  app.use(checkHost(hosts));
  app.use(checkOrigin(origins));
  app.use(cors({
    origin: (origin, c) => isAllowedOrigin(origin, c.req.url, origins) ? origin : null,
    exposeHeaders: [IGNORED_HEADER, "retry-after"],
  }));
  app.use(checkKey(apiKeys));
  app.use(bodyLimit({
    maxSize: options.maxBodyBytes,
    onError: () => {
      throw new ApiError(
        413,
        "invalid_request_error",
        `Cannot answer: the body is larger than ${options.maxBodyBytes} bytes`,
        { code: "body_too_large" },
      );
    },
  }));

  const route = <S extends z.ZodRawShape & { model: z.ZodType<string | undefined> }>(
    schema: z.ZodObject<S>,
    answer: (
      model: ServedModel,
      fields: z.output<z.ZodObject<S>>,
      signal: AbortSignal,
    ) => Promise<Answer>,
  ) =>
  async (c: Context): Promise<Response> => {
    const body = await readJson(c.req.raw);
    const { fields, ignored: unused } = readFields(schema, body);
    const ignored = [...unused, ...ignoredOptions(body)];
    const model = served.find((fields as { model?: string }).model);
    const leaving = new AbortController(), leave = (): void => leaving.abort();
    const signals = [leaving.signal, AbortSignal.timeout(options.timeoutMs)];
    if (options.signal) signals.push(options.signal);
    const headers: Record<string, string> = ignored.length > 0
      ? { [IGNORED_HEADER]: ignored.join(", ") }
      : {};
    const onError = (error: unknown): void =>
      options.onRequest?.({
        ...{ method: "POST", path: c.req.path, ms: 0, error },
        status: apiErrorOf(error).status,
      });
    // Only until there is an answer: whether its pieces are read tells the stream.
    const { signal: client } = c.req.raw;
    client.addEventListener("abort", leave);
    if (client.aborted) leave();
    try {
      const answered = await answer(model, fields, AbortSignal.any(signals));
      if ("whole" in answered) return Response.json(answered.whole, { headers });
      const { stallMs } = options;
      const dialect = dialectOf(c.req.path);
      return await eventStream(answered.events, headers, { dialect, stallMs, onError, leave });
    } catch (error) {
      throw leaving.signal.aborted ? GONE : error;
    } finally {
      client.removeEventListener("abort", leave);
    }
  };

  app.get("/health", () => Response.json({ status: "ok" }));
  app.get("/ready", () => {
    options.signal?.throwIfAborted();
    return Response.json({ status: "ok" });
  });
  app.get("/metrics", async () =>
    new Response(await metrics.text(served), {
      headers: { "content-type": metrics.contentType },
    }));
  app.get("/v1/models", () => Response.json(modelList(served)));
  app.get(
    "/v1/models/:name{.+}",
    (c) => Response.json(modelEntry(served.find(c.req.param("name")), served.created)),
  );
  app.post("/v1/chat/completions", route(CHAT_FIELDS, answerChat));
  app.post("/v1/completions", route(COMPLETION_FIELDS, answerCompletion));
  app.post("/v1/embeddings", route(EMBEDDING_FIELDS, answerEmbeddings));
  app.get("/api/version", () => Response.json({ version: OLLAMA_VERSION }));
  app.get("/api/tags", () => Response.json(tagList(served)));
  app.get("/api/ps", () => Response.json(tagList(served)));
  app.post("/api/show", route(SHOW_FIELDS, (model) => answerShow(model, served.created)));
  app.post("/api/chat", route(OLLAMA_CHAT_FIELDS, answerOllamaChat));
  app.post("/api/generate", route(GENERATE_FIELDS, answerGenerate));
  app.post("/api/embed", route(EMBED_FIELDS, answerEmbed));
  app.notFound((c) => {
    const known = app.routes.filter(({ method }) => method !== "ALL");
    const methods = known.filter(({ path }) => path === c.req.path).map(({ method }) => method);
    if (methods.length > 0) {
      throw new ApiError(
        405,
        "invalid_request_error",
        `Cannot answer ${c.req.method} ${c.req.path}: expected ${methods.join(" or ")}`,
        { headers: { allow: methods.join(", ") } },
      );
    }
    const routes = known.map(({ method, path }) => `${method} ${path.replace(/:name.*/, "NAME")}`);
    throw new ApiError(
      404,
      "not_found_error",
      `Cannot answer ${c.req.method} ${c.req.path}: there is ${routes.join(", ")}`,
    );
  });
  return async (request) => await app.fetch(request);
}

/** The route that answered, for counting: never a path that a client made up. */
function routeOf(c: Context): string {
  const route = c.req.matchedRoutes.findLast(({ method }) => method !== "ALL");
  return route?.path ?? "none";
}
