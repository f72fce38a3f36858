/**
 * `@huggingface/tokenizers` for the tests: a second opinion on encoding.
 *
 * @module
 */

export * from "npm:@huggingface/tokenizers@0.2.0";
