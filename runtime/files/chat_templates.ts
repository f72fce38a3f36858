/**
 * Chat templates that lie beside a model in files of their own: `chat_template.jinja`, further ones by
 * name in `chat_templates/`, and `chat_template.json` of older processors.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { type Folder, openIfThere } from "./folder.ts";
import { readOptionalJson } from "./json.ts";
import { NotFoundError } from "./source.ts";

/** Bytes; templates have a hundredth of it. */
const FILE_LIMIT = 4 << 20;
/** What is tried where a server's folder cannot be listed: the names that published models use. */
const USUAL_NAMES = ["tool_use", "rag"];

/** A template with its name; the main one is "default". */
export interface NamedTemplate {
  /** As `tokenizer_config.json` calls it. */
  readonly name: string;
  /** Its source. */
  readonly template: string;
}

/** The chat templates of a folder. */
export interface FolderTemplates {
  /** From `.jinja` files; they stand before tokenizer_config.json. Empty where there are none. */
  readonly files: readonly NamedTemplate[];
  /** What `chat_template.json` has, for models that have no other. */
  readonly legacy: unknown;
}

/**
 * Reads the chat templates of a folder.
 *
 * @throws FormatError when one is no text, or too long
 */
export async function readChatTemplates(folder: Folder): Promise<FolderTemplates> {
  const files: NamedTemplate[] = [];
  const add = async (from: Folder, file: string, name: string): Promise<boolean> => {
    const template = await readText(from, file);
    if (template !== undefined) files.push({ name, template });
    return template !== undefined;
  };
  const hasMain = await add(folder, "chat_template.jinja", "default");
  const named = folder.subfolder("chat_templates");
  for (const file of await listed(named, hasMain)) {
    await add(named, file, file.replace(/\.jinja$/, ""));
  }
  const legacy = (await readOptionalJson(folder, "chat_template.json"))?.chat_template;
  return { files, legacy };
}

async function listed(folder: Folder, hasMain: boolean): Promise<readonly string[]> {
  try {
    const names = await folder.list();
    if (names) return names.filter((name) => name.endsWith(".jinja"));
  } catch (error) {
    if (error instanceof NotFoundError) return [];
    throw error;
  }
  // One that is saved without the main file does not occur: it costs nothing not to ask for it.
  return hasMain ? USUAL_NAMES.map((name) => `${name}.jinja`) : [];
}

async function readText(folder: Folder, name: string): Promise<string | undefined> {
  const source = await openIfThere(folder, name);
  if (!source) return undefined;
  try {
    if (source.size > FILE_LIMIT) {
      throw new FormatError(
        `Cannot read chat template ${quote(source.name)}: it has ${source.size} bytes, ` +
          `expected at most ${FILE_LIMIT}`,
      );
    }
    const bytes = await source.read(0, source.size);
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new FormatError(
      `Cannot read chat template ${quote(source.name)}: it is not UTF-8 text`,
    );
  } finally {
    source.close();
  }
}
