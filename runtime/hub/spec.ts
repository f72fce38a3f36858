/**
 * Model specs: the one text that names a model, on the command line and in `loadModel`. Parsing
 * only: nothing here touches the network or the disk.
 *
 * @module
 */
import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { isSafePath } from "../files/safe_path.ts";
import { decoded } from "../files/source_file.ts";

/** The forms that {@linkcode parseModelSpec} accepts, as messages and help texts show them. */
const SPEC_FORM = "hf:ORG/REPO[@REVISION][:FILE-or-QUANT-TAG], an https: URL or a path";

/** A repository on a hub, optionally at a revision, optionally one GGUF file of it. */
export interface HubSpec {
  /** Tells the three kinds of spec apart. */
  readonly kind: "hub";
  /** `ORG/REPO`. */
  readonly repo: string;
  /** Branch, tag or commit; the hub's `main` when absent. */
  readonly revision?: string;
  /** File name, quantization tag, or `"safetensors"`. */
  readonly pick?: string;
}

/** One file behind a plain URL. */
export interface UrlSpec {
  /** Tells the three kinds of spec apart. */
  readonly kind: "url";
  /** The address, without fragment. */
  readonly url: URL;
}

/** A file or directory that is already here. */
export interface PathSpec {
  /** Tells the three kinds of spec apart. */
  readonly kind: "path";
  /** As written. */
  readonly path: string;
}

/** What a spec can name. */
export type ModelSpec = HubSpec | UrlSpec | PathSpec;

const REPO = /^\w[\w.-]*\/\w[\w.-]*$/;
// What `git check-ref-format` allows, less the characters that mean something here or to a disk.
const REVISION = /^\w[\w.+/-]*$/;

/**
 * Reads a model spec.
 *
 * @example
 * ```ts
 * import { parseModelSpec } from "./spec.ts";
 *
 * const spec = parseModelSpec("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0");
 * console.log(spec); // { kind: "hub", repo: "Qwen/Qwen3-0.6B-GGUF", pick: "Q8_0" }
 * ```
 *
 * @throws {InputError} when the text is none of the forms
 */
export function parseModelSpec(text: string): ModelSpec {
  if (typeof text !== "string" || text.trim() === "") throw badSpec(text, "it is empty");
  if (/^hf:/i.test(text)) return parseHubSpec(text);
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1].toLowerCase(); // two letters or more: "C:" is a disk
  if (scheme === undefined) return { kind: "path", path: text };
  if (!URL.canParse(text)) throw badSpec(text, "it is not a valid URL");
  const url = new URL(text);
  if (scheme === "file") {
    return { kind: "path", path: decoded(url.pathname).replace(/^\/([a-z]:)/i, "$1") };
  }
  if (scheme !== "https" && scheme !== "http") {
    throw badSpec(
      text,
      `${quote(`${scheme}:`)} is no known source (a path with a colon starts with "./")`,
    );
  }
  if (url.username || url.password) {
    throw badSpec(url.origin, "it carries a user name or password; give a token instead");
  }
  url.hash = "";
  return { kind: "url", url };
}

/** The spec as text again, fit for messages: a URL without its query, which may hold a secret. */
export function formatSpec(spec: ModelSpec): string {
  if (spec.kind === "path") return spec.path;
  if (spec.kind === "url") return showUrl(spec.url);
  const revision = spec.revision === undefined ? "" : `@${spec.revision}`;
  return `hf:${spec.repo}${revision}${spec.pick === undefined ? "" : `:${spec.pick}`}`;
}

/** A URL without credentials, query and fragment: those may be signatures or tokens. */
export function showUrl(url: URL): string {
  return url.origin + url.pathname;
}

function parseHubSpec(text: string): HubSpec {
  const [, repo, revision, pick] = /^hf:(?:\/\/)?([^@:]*)(?:@([^:]*))?(?::(.*))?$/i
    .exec(text) ?? [];
  if (repo === undefined || !REPO.test(repo) || repo.includes("..") || !isSafePath(repo)) {
    throw badSpec(text, `found ${quote(repo ?? "")} where ORG/REPO belongs`);
  }
  if (revision !== undefined && !(REVISION.test(revision) && isSafePath(revision))) {
    throw badSpec(text, `found ${quote(revision)} where a branch, tag or commit belongs`);
  }
  if (pick !== undefined && !isSafePath(pick)) {
    throw badSpec(text, `found ${quote(pick)} where a file or quantization tag belongs`);
  }
  return {
    kind: "hub",
    repo,
    ...(revision !== undefined && { revision }),
    ...(pick !== undefined && { pick }),
  };
}

function badSpec(text: string, found: string): InputError {
  return new InputError(`Cannot use model ${quote(text)}: ${found}; write ${SPEC_FORM}`);
}
