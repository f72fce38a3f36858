/**
 * OpenAI's own client for the tests of the server.
 *
 * @module
 */

export { default } from "npm:openai@7.59.0";
export * from "npm:openai@7.59.0";
